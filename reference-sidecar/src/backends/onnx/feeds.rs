//! The small inputs of a step: tokens, lengths, positions. Memory sized once for the largest step, and what a step
//! writes into it.

use std::sync::Arc;

use ort::value::TensorElementType;

use super::{
    OnnxError,
    graph::{Family, Graph, IDS, LENGTHS, LOGITS_INDEX, MASK, POSITIONS, TOTAL},
    kv_cache::name,
    raw::{Arena, Named, Region},
};
use crate::backends::{Capacity, Row};

pub(super) struct Feeds {
    context: usize,
    ids: Region,
    positions: Option<Region>,
    lengths: Lengths,
}

enum Lengths {
    Direct {
        /// Lengths of the slots: int32, shape `[slots]`.
        seqlens: Region,
        /// int32 `[1]`: the cache's rows, constant.
        total: Region,
        /// int64 `[slots]`: the row of the chunk whose logits are wanted.
        logits_index: Region,
    },
    Mask {
        /// int64 `[slots, context]`: ones, then zeros. As wide as the cache in every run: the operator takes its width
        /// for the total length, and one equal to a chunk's own length for a first prompt.
        mask: Region,
        /// Ones of each slot's row as it is now.
        ones: Vec<usize>,
    },
}

impl Feeds {
    pub(super) fn new(arena: &mut Arena, graph: &Graph, capacity: Capacity) -> ort::Result<Self> {
        let Capacity { slots, context, .. } = capacity;
        let longest = context.max(slots);
        let lengths = match graph.family {
            Family::Lengths => {
                // The operator wants it on the host, on every device.
                let total = arena.host(TensorElementType::Int32, 1)?;
                arena.write(&total, 0..1)[0] = context as i32;
                let (seqlens, logits_index) = (arena.region::<i32>(slots)?, arena.region::<i64>(slots)?);
                Lengths::Direct { seqlens, total, logits_index }
            }
            Family::Mask => {
                Lengths::Mask { mask: arena.region::<i64>(slots * context)?, ones: vec![0; slots] }
            }
        };
        let positions = graph.positions.then(|| arena.region::<i64>(longest)).transpose()?;
        Ok(Self { context, ids: arena.region::<i64>(longest)?, positions, lengths })
    }

    /// The inputs of a run over `rows` slots from `first` on, with `tokens` new tokens in each.
    pub(super) fn bind(
        &self,
        arena: &Arena,
        first: usize,
        rows: usize,
        tokens: usize,
    ) -> Result<Vec<Named>, OnnxError> {
        let view = |input, region, offset, shape: &[usize]| named(arena, input, region, offset, shape);
        let mut bound = vec![view(IDS, &self.ids, 0, &[rows, tokens])?];
        if let Some(positions) = &self.positions {
            bound.push(view(POSITIONS, positions, 0, &[rows, tokens])?);
        }
        match &self.lengths {
            Lengths::Direct { seqlens, total, logits_index } => {
                bound.push(view(LENGTHS, seqlens, 0, &[rows])?);
                bound.push(view(TOTAL, total, 0, &[])?);
                bound.push(view(LOGITS_INDEX, logits_index, 0, &[rows])?);
            }
            Lengths::Mask { mask, .. } => {
                bound.push(view(MASK, mask, first * self.context, &[rows, self.context])?);
            }
        }
        Ok(bound)
    }

    /// `tokens` go behind the first `past` of `slot`.
    pub(super) fn write_chunk(&mut self, arena: &mut Arena, slot: usize, past: usize, tokens: &[i64]) {
        arena.write(&self.ids, 0..tokens.len()).copy_from_slice(tokens);
        if let Some(positions) = &self.positions {
            for (at, position) in arena.write::<i64>(positions, 0..tokens.len()).iter_mut().enumerate() {
                *position = (past + at) as i64;
            }
        }
        let length = past + tokens.len();
        match &mut self.lengths {
            // seqlens_k is the length with the new tokens, less one.
            Lengths::Direct { seqlens, logits_index, .. } => {
                arena.write::<i32>(seqlens, 0..1)[0] = (length - 1) as i32;
                arena.write::<i64>(logits_index, 0..1)[0] = tokens.len() as i64 - 1;
            }
            Lengths::Mask { mask, ones } => fill(arena, mask, self.context, slot, &mut ones[slot], length),
        }
    }

    /// One token behind each slot from the first on.
    pub(super) fn write_rows(&mut self, arena: &mut Arena, rows: &[Row]) {
        for (id, row) in arena.write::<i64>(&self.ids, 0..rows.len()).iter_mut().zip(rows) {
            *id = row.token;
        }
        if let Some(positions) = &self.positions {
            for (position, row) in arena.write::<i64>(positions, 0..rows.len()).iter_mut().zip(rows) {
                *position = row.past as i64;
            }
        }
        match &mut self.lengths {
            Lengths::Direct { seqlens, logits_index, .. } => {
                for (length, row) in arena.write::<i32>(seqlens, 0..rows.len()).iter_mut().zip(rows) {
                    *length = row.past as i32;
                }
                arena.write::<i64>(logits_index, 0..rows.len()).fill(0);
            }
            Lengths::Mask { mask, ones } => {
                for (slot, (row, ones)) in rows.iter().zip(ones).enumerate() {
                    fill(arena, mask, self.context, slot, ones, row.past + 1);
                }
            }
        }
    }
}

/// Makes the slot's row of the mask start with `length` ones, `ones` of which are there.
fn fill(arena: &mut Arena, mask: &Region, context: usize, slot: usize, ones: &mut usize, length: usize) {
    let start = slot * context;
    if length > *ones {
        arena.write::<i64>(mask, start + *ones..start + length).fill(1);
    } else {
        arena.write::<i64>(mask, start + length..start + *ones).fill(0);
    }
    *ones = length;
}

/// A view with the input or output that it is for.
pub(super) fn named(
    arena: &Arena,
    input: &str,
    region: &Region,
    offset: usize,
    shape: &[usize],
) -> Result<Named, OnnxError> {
    let name = name(input).ok_or_else(|| OnnxError::Runtime("a name holds a NUL character".to_owned()))?;
    Ok((name, Arc::new(arena.view(region, offset, shape)?)))
}
