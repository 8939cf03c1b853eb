//! The operators over [`int8`](super::int8): `y = x Wᵀ`, and a layer's gate, `y = silu(x Gᵀ) · x Uᵀ`, in one.

use std::{arch::x86_64::_mm512_mask_storeu_ps, arch::x86_64::_mm512_mul_ps, sync::Arc};

use ort::{
    Error,
    operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput},
    value::TensorElementType,
};

use crate::{
    float::silu,
    int8::{LANES, Quantised, ROWS, Weights, multiply},
    shared::SharedMut,
};

/// The matrices of a graph, and how many threads multiply.
pub(crate) struct MatMul {
    pub(crate) weights: Vec<Arc<Weights>>,
    pub(crate) threads: usize,
}

impl MatMul {
    pub(crate) const NAME: &str = "MatMulInt8";
    /// Which of the matrices.
    pub(crate) const WEIGHTS: &str = "weights";
    /// Not 0: tiles of G and of U in turn.
    pub(crate) const GATED: &str = "gated";
}

impl Operator for MatMul {
    type Kernel<'a> = MatMulKernel;

    fn name(&self) -> &str {
        Self::NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel(&self, context: &KernelContext<'_>) -> ort::Result<MatMulKernel> {
        let number =
            |name| context.get::<i64>(name).ok_or_else(|| Error::new(format!("no attribute {name}")));
        let weights = usize::try_from(number(Self::WEIGHTS)?).ok().and_then(|at| self.weights.get(at));
        Ok(MatMulKernel {
            weights: Arc::clone(weights.ok_or_else(|| Error::new("no such matrix"))?),
            gated: number(Self::GATED)? != 0,
            shards: self.threads * SHARDS_A_THREAD,
            x: Quantised::default(),
        })
    }
}

pub(crate) struct MatMulKernel {
    weights: Arc<Weights>,
    gated: bool,
    shards: usize,
    x: Quantised,
}

impl Kernel for MatMulKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        crate::guarded(|| self.step(context))
    }
}

impl MatMulKernel {
    fn step(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let Self { weights, gated, shards, x } = self;
        let input = context.input(0)?.ok_or_else(|| Error::new("no x"))?;
        let (shape, values) = input.try_extract_tensor::<f32>()?;
        let mut shape = shape.to_vec();
        let columns = if *gated { weights.outputs / 2 } else { weights.outputs };
        match shape.last_mut() {
            Some(last) if *last == weights.inputs as i64 => *last = columns as i64,
            _ => return Err(Error::new(format!("x is {shape:?}; expected {} columns", weights.inputs))),
        }
        // SAFETY: the operator exists only where the processor has what it takes.
        unsafe { x.fill(values, weights.inputs) };
        let mut output = context.output(0, shape)?.ok_or_else(|| Error::new("no y"))?;
        let (_, y) = output.try_extract_tensor_mut::<f32>()?;
        let product = Product { x, weights, gated: *gated, y: SharedMut::new(y), columns };
        let tiles = columns.div_ceil(LANES);
        let tiles_a_shard = tiles.div_ceil(*shards);
        context.par_for(tiles.div_ceil(tiles_a_shard), 0, |shard| {
            for tile in shard * tiles_a_shard..((shard + 1) * tiles_a_shard).min(tiles) {
                for group in 0..product.x.groups() {
                    // SAFETY: as above, x is filled, and each tile of a group's rows is written by one shard.
                    unsafe { product.write(group, tile) };
                }
            }
        })
    }
}

/// One product that is being made.
struct Product<'a> {
    /// Filled with W's number of inputs.
    x: &'a Quantised,
    weights: &'a Weights,
    gated: bool,
    /// The result, of shape `[rows, columns]`.
    y: SharedMut<'a, f32>,
    columns: usize,
}

impl Product<'_> {
    /// One tile of the rows of a group.
    ///
    /// # Safety
    /// The processor has what [`crate::available`] asks for, `x` is filled, and no other thread uses the tile's columns
    /// of the group's rows of `y`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn write(&self, group: usize, tile: usize) {
        macro_rules! of_width {
            ($($width:literal)*) => {
                match self.x.width(group) {
                    // SAFETY: the caller's.
                    $($width => unsafe { self.write_rows::<$width>(group, tile) },)*
                    _ => {}
                }
            };
        }
        of_width!(1 2 3 4 5 6 7 8);
    }

    /// # Safety
    /// As [`write`](Self::write), and `R` is the group's width.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn write_rows<const R: usize>(&self, group: usize, tile: usize) {
        let Self { x, weights, gated, y, columns } = *self;
        // SAFETY: the caller's.
        let mut sums = unsafe { multiply::<R>(x, group, weights, if gated { 2 * tile } else { tile }) };
        if gated {
            // SAFETY: the caller's.
            let up = unsafe { multiply::<R>(x, group, weights, 2 * tile + 1) };
            for (gate, up) in sums.iter_mut().zip(up) {
                *gate = _mm512_mul_ps(silu(*gate), up);
            }
        }
        let lanes = LANES.min(columns - tile * LANES);
        let mask = if lanes == LANES { u16::MAX } else { (1 << lanes) - 1 };
        for (row, sum) in sums.into_iter().enumerate() {
            let at = (group * ROWS + row) * columns + tile * LANES;
            // SAFETY: `lanes` numbers from `at` on lie in `y`; they are the caller's alone.
            unsafe { _mm512_mask_storeu_ps(y.at(at, lanes), mask, sum) };
        }
    }
}

/// More than one, so that a thread that the machine took away for a moment does not keep the others waiting.
const SHARDS_A_THREAD: usize = 4;
