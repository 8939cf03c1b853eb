//! `y = x Wᵀ` with W in eight bits, by AVX-512 VNNI.
//!
//! W is kept as ONNX Runtime's `MatMulNBits` has it (unsigned bytes around 128, a scale for each 32 along a row), in tiles
//! of 16 outputs so that one vector holds one output in each lane. x is quantised to signed bytes, a scale for each 32, as
//! `accuracy_level` 4 asks. Products are summed in integers within a block and in floats over the blocks, in one order,
//! however many rows there are: a row's result does not depend on the rows beside it.

use std::arch::x86_64::{
    __m512, __m512i, _mm_storeu_si128, _mm512_abs_ps, _mm512_add_epi32, _mm512_cvtepi32_epi8,
    _mm512_cvtepi32_ps, _mm512_cvtps_epi32, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_add_epi32, _mm512_reduce_max_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
};

/// Numbers that share a scale.
pub(crate) const BLOCK: usize = 32;
/// Outputs of a tile: lanes of a vector.
pub(crate) const LANES: usize = 16;
/// Rows of x that a tile of W is multiplied with at once; their sums and a tile's weights fit the registers.
pub(crate) const ROWS: usize = 8;
/// Fours of bytes in a block: what one instruction multiplies.
const FOURS: usize = BLOCK / 4;
/// Bytes of a tile's block: a scale for each lane, then four bytes of each lane, and again.
const STRIDE: usize = LANES * size_of::<f32>() + BLOCK * LANES;

/// The weight matrix W, packed for the kernel.
pub(crate) struct Weights {
    /// `[tiles][blocks]` of [`STRIDE`] bytes.
    bytes: Vec<u8>,
    /// Columns of y.
    pub(crate) outputs: usize,
    /// Columns of x.
    pub(crate) inputs: usize,
}

impl Weights {
    /// Packs `quantised` `[N, K]` and `scales` `[N, K / 32]`; `order` lists the rows, and its length is what `outputs`
    /// becomes.
    pub(crate) fn pack(quantised: &[u8], scales: &[f32], inputs: usize, order: &[usize]) -> Self {
        let (blocks, tiles) = (inputs / BLOCK, order.len().div_ceil(LANES));
        let mut bytes = vec![0; tiles * blocks * STRIDE];
        for (at, row) in order.iter().copied().enumerate() {
            let (tile, lane) = (at / LANES, at % LANES);
            for block in 0..blocks {
                let (head, body) = bytes[(tile * blocks + block) * STRIDE..][..STRIDE]
                    .split_at_mut(LANES * size_of::<f32>());
                head[lane * 4..][..4].copy_from_slice(&scales[row * blocks + block].to_ne_bytes());
                let from = &quantised[row * inputs + block * BLOCK..][..BLOCK];
                for (four, from) in from.chunks_exact(4).enumerate() {
                    body[(four * LANES + lane) * 4..][..4].copy_from_slice(from);
                }
            }
        }
        Self { bytes, outputs: order.len(), inputs }
    }

    const fn blocks(&self) -> usize {
        self.inputs / BLOCK
    }
}

/// Rows of x, quantised, in groups of [`ROWS`].
#[derive(Default)]
pub(crate) struct Quantised {
    /// Per group `[blocks][FOURS][rows]` of four bytes.
    fours: Vec<i32>,
    /// Per group `[blocks][rows]`.
    scales: Vec<f32>,
    /// Likewise: what the 128 that W's bytes lie too high adds to the block's sum, negative.
    offsets: Vec<i32>,
    rows: usize,
}

impl Quantised {
    /// Quantises `x` `[rows, inputs]`.
    ///
    /// # Safety
    /// The processor has what [`crate::available`] asks for.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(crate) unsafe fn fill(&mut self, x: &[f32], inputs: usize) {
        let (rows, blocks) = (x.len() / inputs, inputs / BLOCK);
        self.rows = rows;
        self.fours.resize(rows * inputs / 4, 0);
        self.scales.resize(rows * blocks, 0.0);
        self.offsets.resize(rows * blocks, 0);
        for (at, row) in x.chunks_exact(inputs).enumerate() {
            let group = at / ROWS;
            let (lane, width) = (at % ROWS, ROWS.min(rows - group * ROWS));
            let (fours, scales) = (group * ROWS * inputs / 4, group * ROWS * blocks);
            for (block, values) in row.chunks_exact(BLOCK).enumerate() {
                // SAFETY: 32 floats are read, in bounds.
                let (low, high) = unsafe {
                    (_mm512_loadu_ps(values.as_ptr()), _mm512_loadu_ps(values.as_ptr().add(LANES)))
                };
                let peak = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
                let scale = peak / 127.0;
                let inverse = _mm512_set1_ps(if scale > 0.0 { 1.0 / scale } else { 0.0 });
                let low = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
                let high = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
                let mut bytes = [0_i32; FOURS];
                // SAFETY: two times 16 bytes are written, into 32.
                unsafe {
                    _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(low));
                    _mm_storeu_si128(bytes.as_mut_ptr().add(FOURS / 2).cast(), _mm512_cvtepi32_epi8(high));
                }
                for (four, bytes) in bytes.into_iter().enumerate() {
                    self.fours[fours + (block * FOURS + four) * width + lane] = bytes;
                }
                self.scales[scales + block * width + lane] = scale;
                self.offsets[scales + block * width + lane] =
                    -128 * _mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
            }
        }
    }

    /// Groups of rows.
    pub(crate) const fn groups(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// The rows of a group.
    pub(crate) fn width(&self, group: usize) -> usize {
        ROWS.min(self.rows - group * ROWS)
    }
}

/// Sixteen outputs of each row of a group: `R` is its width.
///
/// # Safety
/// The processor has what [`crate::available`] asks for; `x` was filled with W's number of inputs.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(crate) unsafe fn multiply<const R: usize>(
    x: &Quantised,
    group: usize,
    weights: &Weights,
    tile: usize,
) -> [__m512; R] {
    let blocks = weights.blocks();
    let bytes = &weights.bytes[tile * blocks * STRIDE..][..blocks * STRIDE];
    let fours = &x.fours[group * ROWS * weights.inputs / 4..][..R * weights.inputs / 4];
    let scales = &x.scales[group * ROWS * blocks..][..R * blocks];
    let offsets = &x.offsets[group * ROWS * blocks..][..R * blocks];
    let mut sums = [_mm512_setzero_ps(); R];
    for block in 0..blocks {
        // SAFETY: each pointer stays inside the slices above: `block` below `blocks`, `four` below FOURS, row below R.
        unsafe {
            let bytes = bytes.as_ptr().add(block * STRIDE);
            let fours = fours.as_ptr().add(block * FOURS * R);
            let mut even = [_mm512_setzero_si512(); R];
            let mut odd = [_mm512_setzero_si512(); R];
            for (row, sum) in even.iter_mut().enumerate() {
                *sum = _mm512_set1_epi32(*offsets.as_ptr().add(block * R + row));
            }
            for four in 0..FOURS {
                let w: __m512i = _mm512_loadu_si512(bytes.add(64 + four * 64).cast());
                for row in 0..R {
                    let a = _mm512_set1_epi32(*fours.add(four * R + row));
                    // Few rows are few chains of dependent instructions: two for each keep the unit busy.
                    if R <= 4 && four % 2 == 1 {
                        odd[row] = _mm512_dpbusd_epi32(odd[row], w, a);
                    } else {
                        even[row] = _mm512_dpbusd_epi32(even[row], w, a);
                    }
                }
            }
            let scale = _mm512_loadu_ps(bytes.cast());
            for row in 0..R {
                let sum = if R <= 4 { _mm512_add_epi32(even[row], odd[row]) } else { even[row] };
                let own = _mm512_set1_ps(*scales.as_ptr().add(block * R + row));
                sums[row] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(scale, own), sums[row]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::arch::x86_64::_mm512_storeu_ps;

    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    const INPUTS: usize = 96;
    const OUTPUTS: usize = 37;

    /// What the vectors compute, one number at a time.
    fn plainly(x: &[f32], quantised: &[u8], scales: &[f32]) -> Vec<f32> {
        let product = |(x, (w, scale)): (&[f32], (&[u8], &f32))| {
            let peak = x.iter().fold(0.0_f32, |peak, x| peak.max(x.abs()));
            let own = peak / 127.0;
            let inverse = if own > 0.0 { 1.0 / own } else { 0.0 };
            let pairs = x.iter().zip(w);
            let sum: i32 =
                pairs.map(|(x, w)| (x * inverse).round_ties_even() as i32 * (i32::from(*w) - 128)).sum();
            f64::from(sum) * f64::from(own) * f64::from(*scale)
        };
        let rows = quantised.chunks_exact(INPUTS).zip(scales.chunks_exact(INPUTS / BLOCK));
        let blocks = |(w, scales): (&[u8], &[f32])| {
            let blocks = w.chunks_exact(BLOCK).zip(scales);
            x.chunks_exact(BLOCK).zip(blocks).map(product).sum::<f64>() as f32
        };
        rows.map(blocks).collect()
    }

    #[test]
    fn every_number_of_rows_gives_each_row_what_plain_arithmetic_gives() {
        if !crate::available() {
            eprintln!("SKIPPED: this processor has no AVX-512 VNNI");
            return;
        }
        let mut rng = StdRng::seed_from_u64(1);
        let quantised: Vec<u8> = (0..INPUTS * OUTPUTS).map(|_| rng.random()).collect();
        let scales: Vec<f32> =
            (0..OUTPUTS * INPUTS / BLOCK).map(|_| rng.random_range(-0.1_f32..0.1)).collect();
        let weights = Weights::pack(&quantised, &scales, INPUTS, &(0..OUTPUTS).collect::<Vec<_>>());
        let mut x: Vec<f32> = (0..19 * INPUTS).map(|_| rng.random_range(-3.0_f32..3.0)).collect();
        x[..BLOCK].fill(0.0);
        let expected: Vec<Vec<f32>> =
            x.chunks_exact(INPUTS).map(|row| plainly(row, &quantised, &scales)).collect();
        let mut alone: Vec<Vec<f32>> = Vec::new();
        for rows in 1..=19 {
            let mut quantised = Quantised::default();
            // SAFETY: the processor was asked.
            unsafe { quantised.fill(&x[..rows * INPUTS], INPUTS) };
            let mut y = vec![vec![0.0_f32; OUTPUTS.next_multiple_of(LANES)]; rows];
            for group in 0..quantised.groups() {
                for tile in 0..OUTPUTS.div_ceil(LANES) {
                    macro_rules! of_width {
                        ($($width:literal)*) => {
                            match quantised.width(group) {
                                $($width => {
                                    // SAFETY: as above.
                                    let sums = unsafe { multiply::<$width>(&quantised, group, &weights, tile) };
                                    for (row, sum) in sums.into_iter().enumerate() {
                                        let into = &mut y[group * ROWS + row][tile * LANES..][..LANES];
                                        // SAFETY: sixteen floats.
                                        unsafe { _mm512_storeu_ps(into.as_mut_ptr(), sum) };
                                    }
                                })*
                                _ => unreachable!("a group has one to eight rows"),
                            }
                        };
                    }
                    of_width!(1 2 3 4 5 6 7 8);
                }
            }
            for (row, (y, expected)) in y.iter().zip(&expected).enumerate() {
                for (y, expected) in y.iter().zip(expected) {
                    assert!((y - expected).abs() < 1e-3, "row {row} of {rows}: {y}, expected {expected}");
                }
            }
            alone.extend(y.last().cloned());
            assert_eq!(y, alone, "a row among {rows} is the same, to the last bit, as among fewer");
        }
    }
}
