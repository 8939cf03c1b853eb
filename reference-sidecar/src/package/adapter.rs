//! A LoRA adapter in memory, and what a graph that takes adapters asks of one.
//!
//! A linear layer `y = x W` becomes `y = x W + (x A) B`, with `A` of `[inputs, rank]` and `B` of `[rank, outputs]`; the
//! scale is already in `B` (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021).

use std::collections::BTreeMap;

/// One adapter: what it adds to each layer that it knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// The name that requests use.
    pub name: String,
    /// By the layer's name in the graph, such as `blk.0.attn_output`.
    pub layers: BTreeMap<String, LowRank>,
}

impl Adapter {
    /// Every layer that it knows is one of the graph's, with the same sizes and a rank that fits.
    pub fn fits(&self, layers: &[AdaptedLayer]) -> bool {
        self.layers.iter().all(|(name, low)| {
            layers.iter().any(|layer| {
                layer.name == *name
                    && (1..=layer.rank).contains(&low.rank)
                    && low.a.len() == layer.inputs * low.rank
                    && low.b.len() == low.rank * layer.outputs
            })
        })
    }

    /// What its matrices take in memory.
    pub fn bytes(&self) -> usize {
        self.layers.values().map(|layer| size_of::<f32>() * (layer.a.len() + layer.b.len())).sum()
    }
}

/// What an adapter adds to one layer: `A` times `B`.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRank {
    /// The rank, at least 1.
    pub rank: usize,
    /// `[inputs, rank]`, row after row.
    pub a: Vec<f32>,
    /// `[rank, outputs]`, row after row, scaled.
    pub b: Vec<f32>,
}

/// A layer of a graph that takes adapters: its inputs `<name>.lora_A` of `[adapters, inputs, rank]` and `<name>.lora_B` of
/// `[adapters, rank, outputs]`, of which the graph's `lora_index` `[B]` picks one for each row of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdaptedLayer {
    /// Name of the layer, such as `blk.0.attn_output`.
    pub name: String,
    /// Number of the layer's inputs.
    pub inputs: usize,
    /// The largest that fits; a smaller one is padded with zeros.
    pub rank: usize,
    /// Number of the layer's outputs.
    pub outputs: usize,
}
