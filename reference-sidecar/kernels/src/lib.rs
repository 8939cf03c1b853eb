//! Operators of our own for ONNX Runtime, where they are faster than its: for models in eight bits on processors with
//! AVX-512 VNNI, and for attention over a cache of floats. Everywhere else, and for whatever else a graph asks, ONNX
//! Runtime's are used.
//!
//! They are put into the graph when it is loaded (`rewrite`); the file stays as it is. What they compute is what the
//! operators they replace are documented to compute. Beyond that, a row's result depends on nothing but the row: a
//! sequence says the same alone, in a batch, and however its prompt was cut, to the last bit.
//!
//! Knows nothing of who serves. `unsafe` is for vector instructions and the pointers they take (`int8`, `attend`,
//! `matmul`), and for a slice that threads share (`shared`).
#![cfg(target_arch = "x86_64")]

mod attend;
mod attention;
mod float;
mod graph;
mod int8;
mod matmul;
mod model;
mod rewrite;
mod shared;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use bytes::Bytes;
use ort::operator::OperatorDomain;

use self::{attention::Attention, matmul::MatMul, rewrite::Rewritten};

/// A model with our operators, and the operators.
pub struct Exchanged {
    /// The ONNX file's contents.
    pub model: Vec<u8>,
    /// What its new nodes need.
    pub operators: OperatorDomain,
}

/// The model of an ONNX file's contents, whose data files are in `directory`, with our operators for so many threads; if this
/// processor and the model have use for them.
pub fn exchange(model: &Bytes, directory: &Path, threads: usize) -> ort::Result<Option<Exchanged>> {
    if !available() {
        return Ok(None);
    }
    let Some(Rewritten { model, weights, attentions }) = rewrite::rewrite(model.clone(), directory) else {
        return Ok(None);
    };
    tracing::info!(matrices = weights.len(), attentions, "operators of our own are used");
    let operators = OperatorDomain::new(DOMAIN)?;
    let operators = operators.add(MatMul { weights, threads })?.add(Attention { threads })?;
    Ok(Some(Exchanged { model, operators }))
}

/// A step of an operator, whose panic must not unwind into ONNX Runtime.
fn guarded<T>(step: impl FnOnce() -> ort::Result<T>) -> ort::Result<T> {
    let failed = |_| Err(ort::Error::new("a panic in an operator of the sidecar's own"));
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(failed)
}

/// This processor has the instructions.
pub fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vnni")
}

/// The domain of our operators.
const DOMAIN: &str = "ai_inference";
