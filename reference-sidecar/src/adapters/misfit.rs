//! Why an adapter that is there cannot be used: for the log, so that it names tensors and fields, and no path.

use thiserror::Error;

/// What is wrong with an adapter's files, for one model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Misfit {
    /// Nothing could fit.
    #[error("the model's graph takes no adapters")]
    NoLayers,
    /// More than the model has room for.
    #[error("a file of it is larger than {most} bytes, the most that an adapter of this model can need")]
    TooLarge {
        /// The limit.
        most: u64,
    },
    /// Not the format.
    #[error("its tensors cannot be read: {0}")]
    Tensors(String),
    /// Not a matrix.
    #[error("tensor {name:?} has {dimensions} dimensions, not 2")]
    Dimensions {
        /// In the file.
        name: String,
        /// How many.
        dimensions: usize,
    },
    /// Not a float that we know.
    #[error("tensor {name:?} is of type {kind}; F32, F16 and BF16 can be read")]
    Type {
        /// In the file.
        name: String,
        /// As safetensors calls it.
        kind: String,
    },
    /// Neither an A nor a B of a layer.
    #[error("tensor {name:?} is no part of an adapter that can be read here")]
    Unexpected {
        /// In the file.
        name: String,
    },
    /// Two tensors for one place.
    #[error("layer {layer:?} has two matrices {half}")]
    Twice {
        /// In the graph.
        layer: String,
        /// `A` or `B`.
        half: char,
    },
    /// An A without its B, or the other way round.
    #[error("layer {layer:?} has no matrix {half}")]
    Half {
        /// In the graph.
        layer: String,
        /// `A` or `B`.
        half: char,
    },
    /// No layers.
    #[error("it has no matrices")]
    Empty,
    /// The graph has no such inputs.
    #[error("layer {layer:?} takes no adapters in this model")]
    Layer {
        /// As the adapter calls it.
        layer: String,
    },
    /// Made for another model.
    #[error(
        "layer {layer:?} is of {expected:?} (inputs, outputs) in this model, and of {found:?} in the adapter"
    )]
    Shape {
        /// In the graph.
        layer: String,
        /// The graph's.
        expected: (usize, usize),
        /// The adapter's.
        found: (usize, usize),
    },
    /// A's and B's ranks, or the file's and the configuration's.
    #[error("layer {layer:?} has rank {a} in one place and {b} in another")]
    Ranks {
        /// In the graph.
        layer: String,
        /// One.
        a: usize,
        /// The other.
        b: usize,
    },
    /// Zero, or more than the graph has room for.
    #[error("layer {layer:?} has rank {found}; this model takes 1 to {most}")]
    Rank {
        /// In the graph.
        layer: String,
        /// The adapter's.
        found: usize,
        /// The graph's.
        most: usize,
    },
    /// NaN or infinity.
    #[error("layer {layer:?} has a number that is not finite")]
    NotFinite {
        /// In the graph.
        layer: String,
    },
    /// `adapter_config.json`.
    #[error("its configuration cannot be honoured: {0}")]
    Config(String),
}
