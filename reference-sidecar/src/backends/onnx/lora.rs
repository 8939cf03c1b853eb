//! LoRA inside a batch: each slot has a place of its own in the graph's stacks of low-rank matrices, and `lora_index`
//! tells each row of a step which place is its own. Place 0 holds zeros, for slots without an adapter.
//!
//! One place a slot needs no bookkeeping and no eviction, and two slots with the same adapter cost a copy of a few
//! megabytes. The other way, one run for each adapter in the batch, reads all weights once for each.

use std::sync::Arc;

use half::f16;
use ort::value::TensorElementType;

use super::{
    OnnxError,
    feeds::named,
    graph::{Graph, LORA_A, LORA_B, LORA_INDEX},
    raw::{Arena, Element, Named, Region, size_of_kind},
};
use crate::package::{AdaptedLayer, Adapter};

pub(super) struct Lora {
    layers: Vec<AdaptedLayer>,
    /// One stack of matrices for each of `layers`.
    stacks: Vec<Stack>,
    kind: TensorElementType,
    /// The adapter's index for each slot: int64, shape `[slots]`.
    index: Region,
    /// What lies in each slot's place.
    held: Vec<Option<Arc<Adapter>>>,
    /// The slot computes with what lies in its place.
    active: Vec<bool>,
    places: usize,
}

struct Stack {
    /// Of the graph's type, `[places, inputs, rank]`.
    a: Region,
    /// Of the graph's type, `[places, rank, outputs]`.
    b: Region,
}

impl Lora {
    pub(super) fn new(arena: &Arena, graph: &Graph, slots: usize) -> ort::Result<Self> {
        let layers = &graph.adapted;
        let places = slots + 1;
        let stack = |layer: &AdaptedLayer| {
            let (a, b) = (layer.inputs * layer.rank, layer.rank * layer.outputs);
            Ok(Stack { a: arena.shared(graph.lora, places * a)?, b: arena.shared(graph.lora, places * b)? })
        };
        Ok(Self {
            stacks: layers.iter().map(stack).collect::<ort::Result<_>>()?,
            layers: layers.clone(),
            kind: graph.lora,
            index: arena.region::<i64>(slots)?,
            held: vec![None; slots],
            active: vec![false; slots],
            places,
        })
    }

    pub(super) fn bind(&self, arena: &Arena, rows: usize) -> Result<Vec<Named>, OnnxError> {
        let mut bound = vec![named(arena, LORA_INDEX, &self.index, 0, &[rows])?];
        for (AdaptedLayer { name, inputs, rank, outputs }, Stack { a, b }) in
            self.layers.iter().zip(&self.stacks)
        {
            bound.push(named(arena, &format!("{name}{LORA_A}"), a, 0, &[self.places, *inputs, *rank])?);
            bound.push(named(arena, &format!("{name}{LORA_B}"), b, 0, &[self.places, *rank, *outputs])?);
        }
        Ok(bound)
    }

    /// Puts an adapter into the slot's place. False when it does not fit the graph, and then the slot has none.
    pub(super) fn adapt(&mut self, arena: &mut Arena, slot: usize, adapter: Option<&Arc<Adapter>>) -> bool {
        self.active[slot] = false;
        let Some(adapter) = adapter else { return true };
        if !self.held[slot].as_ref().is_some_and(|held| Arc::ptr_eq(held, adapter)) {
            self.held[slot] = None;
            if !adapter.fits(&self.layers) {
                return false;
            }
            for (layer, stack) in self.layers.iter().zip(&self.stacks) {
                match self.kind {
                    TensorElementType::Float16 => stack.write(arena, layer, slot + 1, adapter, f16::from_f32),
                    _ => stack.write(arena, layer, slot + 1, adapter, |value: f32| value),
                }
            }
            self.held[slot] = Some(Arc::clone(adapter));
        }
        self.active[slot] = true;
        true
    }

    /// Says for each row of a step over the slots from `first` on where its adapter lies.
    pub(super) fn write_index(&self, arena: &mut Arena, first: usize, rows: usize) {
        let active = &self.active[first..first + rows];
        for (row, (index, active)) in
            arena.write::<i64>(&self.index, 0..rows).iter_mut().zip(active).enumerate()
        {
            *index = if *active { (first + row + 1) as i64 } else { 0 };
        }
    }
}

impl Stack {
    /// Writes one adapter's matrices, padded with zeros to the graph's rank; all zeros where it has none.
    fn write<T: Element>(
        &self,
        arena: &mut Arena,
        AdaptedLayer { name, inputs, rank, outputs }: &AdaptedLayer,
        place: usize,
        adapter: &Adapter,
        convert: impl Fn(f32) -> T,
    ) {
        let matrices = adapter.layers.get(name);
        let a = arena.write::<T>(&self.a, place * inputs * rank..(place + 1) * inputs * rank);
        a.fill(convert(0.0));
        if let Some(low) = matrices {
            for (row, from) in a.chunks_exact_mut(*rank).zip(low.a.chunks_exact(low.rank)) {
                row.iter_mut().zip(from).for_each(|(to, from)| *to = convert(*from));
            }
        }
        let b = arena.write::<T>(&self.b, place * rank * outputs..(place + 1) * rank * outputs);
        b.fill(convert(0.0));
        if let Some(low) = matrices {
            b.iter_mut().zip(&low.b).for_each(|(to, from)| *to = convert(*from));
        }
    }
}

/// Bytes of one place in all stacks.
pub(super) fn bytes_per_place(graph: &Graph) -> usize {
    let numbers = |layer: &AdaptedLayer| layer.rank * (layer.inputs + layer.outputs);
    graph.adapted.iter().map(numbers).sum::<usize>() * size_of_kind(graph.lora)
}
