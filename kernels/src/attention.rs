//! Grouped-query attention over a cache that is written in place, as ONNX Runtime's `GroupQueryAttention` defines it:
//! packed projections, rotary embedding, causal.
//!
//! Each query's sums are made in one order whatever else is computed with it: in a prompt's chunk or alone, in a batch or
//! not, its result is the same to the last bit.

use std::{
    arch::x86_64::{
        __m512, _mm_add_ps, _mm_storeu_ps, _mm256_add_ps, _mm256_castps256_ps128, _mm256_extractf128_ps,
        _mm512_add_ps, _mm512_castpd_ps, _mm512_castps_pd, _mm512_castps512_ps256, _mm512_extractf32x8_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_mov_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
        _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_storeu_ps, _mm512_sub_ps, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
        _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    },
    cell::RefCell,
};

use ort::{
    Error,
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::TensorElementType,
};

use super::{float::exp, int8::LANES, shared::SharedMut};

/// The operator.
pub(crate) struct Attention {
    pub(crate) threads: usize,
}

impl Attention {
    pub(crate) const NAME: &str = "CachedAttention";
    pub(crate) const HEADS: &str = "num_heads";
    pub(crate) const KV_HEADS: &str = "kv_num_heads";
    pub(crate) const INTERLEAVED: &str = "rotary_interleaved";
    pub(crate) const SCALE: &str = "scale";
}

impl Operator for Attention {
    type Kernel<'a> = AttentionKernel;

    fn name(&self) -> &str {
        Self::NAME
    }

    /// Packed projections float `[B, S, (heads + 2 kv_heads) D]`; past keys and values float `[B, kv_heads, context, D]`;
    /// lengths with the new tokens, less one, int32 `[B]`; cosines and sines float `[context, D / 2]`.
    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        use TensorElementType::{Float32, Int32};
        [Float32, Float32, Float32, Int32, Float32, Float32].map(OperatorInput::required)
    }

    /// Attended float `[B, S, heads D]`; present keys and values, in the memory of the past ones.
    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [TensorElementType::Float32; 3].map(OperatorOutput::required)
    }

    fn create_kernel(&self, context: &KernelContext<'_>) -> ort::Result<AttentionKernel> {
        let missing = |name: &str| Error::new(format!("no attribute {name}"));
        let number = |name: &str| {
            context.get::<i64>(name).and_then(|n| usize::try_from(n).ok()).ok_or_else(|| missing(name))
        };
        Ok(AttentionKernel {
            heads: number(Self::HEADS)?,
            kv_heads: number(Self::KV_HEADS)?,
            interleaved: number(Self::INTERLEAVED)? != 0,
            scale: context.get::<f32>(Self::SCALE).ok_or_else(|| missing(Self::SCALE))?,
            threads: self.threads,
            queries: Vec::new(),
        })
    }
}

pub(crate) struct AttentionKernel {
    heads: usize,
    kv_heads: usize,
    interleaved: bool,
    scale: f32,
    threads: usize,
    /// Turned by their positions, and scaled: `[B, S, heads, D]`.
    queries: Vec<f32>,
}

impl Kernel for AttentionKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let input = |at| context.input(at)?.ok_or_else(|| Error::new("an input is missing"));
        let (packed, past_keys, past_values) = (input(0)?, input(1)?, input(2)?);
        let (lengths, cosines, sines) = (input(3)?, input(4)?, input(5)?);
        let (shape, packed) = packed.try_extract_tensor::<f32>()?;
        let (cache, past_keys) = past_keys.try_extract_tensor::<f32>()?;
        let (_, past_values) = past_values.try_extract_tensor::<f32>()?;
        let (_, lengths) = lengths.try_extract_tensor::<i32>()?;
        let (table, cosines) = cosines.try_extract_tensor::<f32>()?;
        let (_, sines) = sines.try_extract_tensor::<f32>()?;
        let (&[rows, tokens, width], &[slots, kv_heads, context_length, size]) = (&shape[..], &cache[..])
        else {
            return Err(Error::new("projections of three dimensions and a cache of four were expected"));
        };
        let [rows, tokens, width, slots, kv_heads, length, size] =
            [rows, tokens, width, slots, kv_heads, context_length, size].map(|dim| dim as usize);
        let fits = kv_heads == self.kv_heads
            && slots == rows
            && width == (self.heads + 2 * kv_heads) * size
            && size % LANES == 0
            && lengths.len() == rows
            && table.len() == 2
            && table[1] as usize == size / 2;
        if !fits {
            return Err(Error::new(format!("shapes that do not agree: {shape:?} and {cache:?}")));
        }
        let mut pasts = Vec::with_capacity(rows);
        for last in lengths {
            let past = usize::try_from(*last + 1).ok().and_then(|length| length.checked_sub(tokens));
            match past {
                Some(past) if past + tokens <= length.min(table[0] as usize) => pasts.push(past),
                _ => return Err(Error::new(format!("a length of {last} + 1 does not fit the cache"))),
            }
        }
        let mut attended = context.output(0, [shape[0], shape[1], (self.heads * size) as i64])?;
        let mut keys = context.output(1, cache.to_vec())?;
        let mut values = context.output(2, cache.to_vec())?;
        let (Some(attended), Some(keys), Some(values)) = (&mut attended, &mut keys, &mut values) else {
            return Err(Error::new("an output is missing"));
        };
        let (_, attended) = attended.try_extract_tensor_mut::<f32>()?;
        let (_, keys) = keys.try_extract_tensor_mut::<f32>()?;
        let (_, values) = values.try_extract_tensor_mut::<f32>()?;
        // The caller binds one memory as past and present. Whoever does not gets a copy.
        if !std::ptr::eq(keys.as_ptr(), past_keys.as_ptr()) {
            keys.copy_from_slice(past_keys);
        }
        if !std::ptr::eq(values.as_ptr(), past_values.as_ptr()) {
            values.copy_from_slice(past_values);
        }
        let Self { heads, kv_heads, interleaved, scale, threads, queries } = self;
        let (heads, kv_heads, group) = (*heads, *kv_heads, *heads / *kv_heads);
        queries.resize(rows * tokens * heads * size, 0.0);
        let place =
            |row: usize, head: usize, position: usize| ((row * kv_heads + head) * length + position) * size;

        {
            let queries = SharedMut::new(queries);
            let (keys, values) = (SharedMut::new(keys), SharedMut::new(values));
            let turn = |at: usize| {
                let (row, token) = (at / tokens, at % tokens);
                let position = pasts[row] + token;
                let half = size / 2;
                let (cosines, sines) =
                    (&cosines[position * half..][..half], &sines[position * half..][..half]);
                let from = |head: usize| &packed[at * width + head * size..][..size];
                // SAFETY: each token has its own part of the queries and its own place in the cache.
                let part = |into: &SharedMut<'_, f32>, offset| unsafe {
                    std::slice::from_raw_parts_mut(into.at(offset, size), size)
                };
                for head in 0..heads {
                    let into = part(&queries, (at * heads + head) * size);
                    rotate(from(head), into, cosines, sines, *interleaved, *scale);
                }
                for head in 0..kv_heads {
                    let into = part(&keys, place(row, head, position));
                    rotate(from(heads + head), into, cosines, sines, *interleaved, 1.0);
                    part(&values, place(row, head, position)).copy_from_slice(from(heads + kv_heads + head));
                }
            };
            if rows * tokens <= TURNED_AT_ONCE {
                (0..rows * tokens).for_each(turn);
            } else {
                context.par_for(rows * tokens, 0, turn)?;
            }
        }

        // A query head alone where there is little to do, so that there is something for every thread; else all heads that
        // share keys together, for some tokens, so that keys are read once.
        let together = if tokens == 1 && rows * kv_heads < 4 * *threads { 1 } else { group };
        let tiles = tokens.div_ceil(TOKENS);
        let per_token = heads / together;
        let attended = SharedMut::new(attended);
        let (keys, values, queries) = (&*keys, &*values, &*queries);
        context.par_for(rows * per_token * tiles, 0, |task| {
            let (row, rest) = (task / (per_token * tiles), task % (per_token * tiles));
            let (first, tile) = (rest / tiles * together, rest % tiles);
            let from = tile * TOKENS..((tile + 1) * TOKENS).min(tokens);
            let base = place(row, first / group, 0);
            let (keys, values) = (&keys[base..][..length * size], &values[base..][..length * size]);
            let asked = from.flat_map(|token| (first..first + together).map(move |head| (token, head)));
            let asked = asked.map(|(token, head)| Query {
                offset: ((row * tokens + token) * heads + head) * size,
                sees: pasts[row] + token + 1,
            });
            // SAFETY: the operator exists only where the processor has what it takes; each query has its own part of
            // the output.
            unsafe { attend(asked, queries, keys, values, size, attended) };
        })
    }
}

/// One query: where it is, and its answer will be, and how many keys it sees.
#[derive(Clone, Copy)]
struct Query {
    offset: usize,
    sees: usize,
}

/// Turns a head by its token's position, and scales it.
fn rotate(from: &[f32], into: &mut [f32], cosines: &[f32], sines: &[f32], interleaved: bool, scale: f32) {
    if interleaved {
        let pairs = from.chunks_exact(2).zip(into.chunks_exact_mut(2));
        for ((from, into), (cosine, sine)) in pairs.zip(cosines.iter().zip(sines)) {
            into[0] = (from[0] * cosine - from[1] * sine) * scale;
            into[1] = (from[0] * sine + from[1] * cosine) * scale;
        }
    } else {
        let half = from.len() / 2;
        for at in 0..half {
            into[at] = (from[at] * cosines[at] - from[at + half] * sines[at]) * scale;
            into[at + half] = (from[at] * sines[at] + from[at + half] * cosines[at]) * scale;
        }
    }
}

thread_local! {
    /// Scores of the queries that a thread has at hand. ONNX Runtime's threads live as long as the session.
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// # Safety
/// The processor has AVX-512 F and DQ, `size` is a multiple of 16, and nobody else uses the queries' parts of `out`.
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn attend(
    asked: impl Iterator<Item = Query>,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    size: usize,
    out: SharedMut<'_, f32>,
) {
    let mut few = [Query { offset: 0, sees: 0 }; QUERIES];
    let mut count = 0;
    let mut asked = asked.peekable();
    SCORES.with_borrow_mut(|scores| {
        while let Some(query) = asked.next() {
            few[count] = query;
            count += 1;
            if count < QUERIES && asked.peek().is_some() {
                continue;
            }
            let few = &few[..count];
            count = 0;
            let most = few.iter().map(|query| query.sees).max().unwrap_or(0);
            let stride = most.next_multiple_of(LANES);
            if scores.len() < few.len() * stride {
                scores.resize(few.len() * stride, 0.0);
            }
            // SAFETY: the caller's; the scores have room.
            unsafe {
                score(few, queries, keys, size, most, stride, scores);
                for (query, scores) in few.iter().zip(scores.chunks_exact_mut(stride)) {
                    soften(&mut scores[..query.sees.next_multiple_of(LANES)], query.sees);
                    mix(scores, query.sees, values, size, out.at(query.offset, size));
                }
            }
        }
    });
}

/// Products of each query with each key.
///
/// # Safety
/// As [`attend`]; `scores` has `few.len() * stride`, and `stride` is at least `most` and a multiple of four.
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn score(
    few: &[Query],
    queries: &[f32],
    keys: &[f32],
    size: usize,
    most: usize,
    stride: usize,
    scores: &mut [f32],
) {
    for four in (0..most).step_by(4) {
        // Keys past the last are read as the last: their scores are never looked at.
        let key = |at: usize| keys[(four + at).min(most - 1) * size..][..size].as_ptr();
        let k = [key(0), key(1), key(2), key(3)];
        for (at, query) in few.iter().enumerate() {
            let q = queries[query.offset..][..size].as_ptr();
            let mut sums = [_mm512_setzero_ps(); 4];
            for lane in (0..size).step_by(LANES) {
                // SAFETY: `lane + 16` is at most `size`, which all five have.
                unsafe {
                    let q = _mm512_loadu_ps(q.add(lane));
                    for (sum, k) in sums.iter_mut().zip(k) {
                        *sum = _mm512_fmadd_ps(q, _mm512_loadu_ps(k.add(lane)), *sum);
                    }
                }
            }
            let into = &mut scores[at * stride + four..][..4];
            // SAFETY: four floats are written, into four.
            unsafe { sum_each(sums, into.as_mut_ptr()) };
        }
    }
}

/// The sum of each of four vectors.
///
/// # Safety
/// `into` has room for four.
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn sum_each([a, b, c, d]: [__m512; 4], into: *mut f32) {
    let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    let low = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
    let abcd = _mm512_add_ps(low, _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    let half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps::<1>(abcd));
    let sums = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half));
    // SAFETY: the caller's.
    unsafe { _mm_storeu_ps(into, sums) };
}

/// Softmax over the first `sees`; `scores` is padded to a multiple of 16.
#[target_feature(enable = "avx512f")]
unsafe fn soften(scores: &mut [f32], sees: usize) {
    let mask = |at: usize| if at + LANES <= sees { u16::MAX } else { (1 << (sees - at)) - 1 };
    let lowest = _mm512_set1_ps(f32::MIN);
    let mut most = lowest;
    for (at, scores) in scores.chunks_exact(LANES).enumerate() {
        // SAFETY: sixteen floats.
        let scores = unsafe { _mm512_loadu_ps(scores.as_ptr()) };
        most = _mm512_max_ps(most, _mm512_mask_mov_ps(lowest, mask(at * LANES), scores));
    }
    let most = _mm512_set1_ps(_mm512_reduce_max_ps(most));
    let mut sum = _mm512_setzero_ps();
    for (at, scores) in scores.chunks_exact_mut(LANES).enumerate() {
        let mask = mask(at * LANES);
        // SAFETY: sixteen floats; what is masked out is neither read nor written.
        unsafe {
            let e = exp(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, scores.as_ptr()), most));
            let e = _mm512_mask_mov_ps(_mm512_setzero_ps(), mask, e);
            _mm512_mask_storeu_ps(scores.as_mut_ptr(), mask, e);
            sum = _mm512_add_ps(sum, e);
        }
    }
    let inverse = _mm512_set1_ps(1.0 / _mm512_reduce_add_ps(sum));
    for scores in scores.chunks_exact_mut(LANES) {
        // SAFETY: sixteen floats.
        unsafe {
            let all = _mm512_loadu_ps(scores.as_ptr());
            _mm512_storeu_ps(scores.as_mut_ptr(), _mm512_mul_ps(all, inverse));
        }
    }
}

/// The values, weighed.
///
/// # Safety
/// `out` has room for `size`; otherwise as [`attend`].
#[target_feature(enable = "avx512f")]
unsafe fn mix(weights: &[f32], sees: usize, values: &[f32], size: usize, out: *mut f32) {
    let weights = &weights[..sees];
    for lane in (0..size).step_by(4 * LANES) {
        // SAFETY: `lane` plus that many vectors is at most `size`.
        unsafe {
            match (size - lane) / LANES {
                1 => mix_lanes::<1>(weights, values, size, lane, out),
                2 => mix_lanes::<2>(weights, values, size, lane, out),
                3 => mix_lanes::<3>(weights, values, size, lane, out),
                _ => mix_lanes::<4>(weights, values, size, lane, out),
            }
        }
    }
}

/// `W` vectors of the result, from `lane` on.
///
/// # Safety
/// As [`mix`], and `lane + 16 W` is at most `size`.
#[target_feature(enable = "avx512f")]
unsafe fn mix_lanes<const W: usize>(
    weights: &[f32],
    values: &[f32],
    size: usize,
    lane: usize,
    out: *mut f32,
) {
    let mut sums = [_mm512_setzero_ps(); W];
    for (weight, value) in weights.iter().zip(values.chunks_exact(size)) {
        let weight = _mm512_set1_ps(*weight);
        for (at, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's.
            let value = unsafe { _mm512_loadu_ps(value.as_ptr().add(lane + at * LANES)) };
            *sum = _mm512_fmadd_ps(weight, value, *sum);
        }
    }
    for (at, sum) in sums.into_iter().enumerate() {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_ps(out.add(lane + at * LANES), sum) };
    }
}

/// Tokens whose queries are answered together.
const TOKENS: usize = 8;
/// Queries that a key, once read, is multiplied with.
const QUERIES: usize = 8;
/// So few tokens are turned sooner than other threads are told.
const TURNED_AT_ONCE: usize = 32;
