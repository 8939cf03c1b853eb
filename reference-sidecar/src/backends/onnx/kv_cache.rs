//! The KV cache: per layer and kind one buffer `[slots, kv_heads, context, head_size]`, past and present at once.
//!
//! Slots are the first dimension, so any run of neighbouring slots is one contiguous view: a decode step over the
//! first `n` slots and a prefill into one slot are views of the same memory, and nothing is ever moved.
//!
//! The rules of the operator `GroupQueryAttention`, each of which gives wrong text and no error when broken:
//! - past and present must be the same buffer, or every step copies the whole cache;
//! - `total_sequence_length` is the buffer's length, constant; a run's own length in decode reads as a first prompt;
//! - a row that takes no part still writes one position, at its `seqlens_k`: its true length, never one in use.

use std::{ffi::CString, sync::Arc};

use ort::value::TensorElementType;

use super::raw::{Arena, Named, Region, size_of_kind};
use crate::package::CacheShape;

/// The buffers, and every view of them that a step can need.
pub(super) struct KvCache {
    /// Names of past inputs and present outputs, layer by layer, key before value.
    names: Vec<(Arc<CString>, Arc<CString>)>,
    buffers: Vec<Region>,
    shape: CacheShape,
    slots: usize,
}

impl KvCache {
    /// Reserves the cache where steps compute.
    pub(super) fn new(
        arena: &Arena,
        shape: CacheShape,
        (slots, kind): (usize, TensorElementType),
    ) -> ort::Result<Self> {
        let len = slots * per_slot(&shape);
        let names = shape.names.iter().map(|(past, present)| Some((name(past)?, name(present)?)));
        let names = names
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| ort::Error::new("a cache name holds a NUL character"))?;
        let buffers = names.iter().map(|_| arena.private(kind, len)).collect::<ort::Result<_>>()?;
        Ok(Self { names, buffers, shape, slots })
    }

    /// Past inputs and present outputs over `count` slots from `first` on.
    pub(super) fn bind(
        &self,
        arena: &Arena,
        first: usize,
        count: usize,
    ) -> ort::Result<(Vec<Named>, Vec<Named>)> {
        assert!(first + count <= self.slots, "slots of this cache");
        let shape = [count, self.shape.kv_heads, self.shape.context, self.shape.head_size];
        let offset = first * per_slot(&self.shape);
        let mut bound = (Vec::new(), Vec::new());
        for ((past, present), buffer) in self.names.iter().zip(&self.buffers) {
            let view = Arc::new(arena.view(buffer, offset, &shape)?);
            bound.0.push((Arc::clone(past), Arc::clone(&view)));
            bound.1.push((Arc::clone(present), view));
        }
        Ok(bound)
    }

    /// Makes the first `tokens` tokens of slot `to` those of slot `from`, another one.
    pub(super) fn copy_prefix(
        &self,
        arena: &mut Arena,
        from: usize,
        to: usize,
        tokens: usize,
    ) -> ort::Result<()> {
        let CacheShape { kv_heads, context, head_size, .. } = self.shape;
        assert!(from.max(to) < self.slots && tokens <= context, "tokens of this cache");
        // A head's tokens lie together, and those of the next head a whole context further.
        let ends = (from * per_slot(&self.shape), to * per_slot(&self.shape));
        let heads = (tokens * head_size, kv_heads, context * head_size);
        self.buffers.iter().try_for_each(|buffer| arena.copy_within(buffer, ends, heads))
    }
}

/// Bytes of one full slot.
pub(super) fn bytes_per_slot(shape: &CacheShape, kind: TensorElementType) -> usize {
    shape.names.len() * per_slot(shape) * size_of_kind(kind)
}

const fn per_slot(shape: &CacheShape) -> usize {
    shape.kv_heads * shape.context * shape.head_size
}

/// A name for the C call.
pub(super) fn name(name: &str) -> Option<Arc<CString>> {
    CString::new(name).ok().map(Arc::new)
}
