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
        /// Most bytes that are accepted.
        most: u64,
    },
    /// The file is not a safetensors file.
    #[error("its tensors cannot be read: {0}")]
    Tensors(String),
    /// The tensor is not a matrix.
    #[error("tensor {name:?} has {dimensions} dimensions, not 2")]
    Dimensions {
        /// Name of the tensor in the file.
        name: String,
        /// Number of the tensor's dimensions.
        dimensions: usize,
    },
    /// Not a float that we know.
    #[error("tensor {name:?} is of type {kind}; F32, F16 and BF16 can be read")]
    Type {
        /// Name of the tensor in the file.
        name: String,
        /// The type, as safetensors calls it.
        kind: String,
    },
    /// Neither an A nor a B of a layer.
    #[error("tensor {name:?} is no part of an adapter that can be read here")]
    Unexpected {
        /// Name of the tensor in the file.
        name: String,
    },
    /// Two tensors for one place.
    #[error("layer {layer:?} has two matrices {half}")]
    Twice {
        /// Name of the layer in the graph.
        layer: String,
        /// `A` or `B`.
        half: char,
    },
    /// An A without its B, or the other way round.
    #[error("layer {layer:?} has no matrix {half}")]
    Half {
        /// Name of the layer in the graph.
        layer: String,
        /// `A` or `B`.
        half: char,
    },
    /// The adapter has no layers.
    #[error("it has no matrices")]
    Empty,
    /// The graph has no such inputs.
    #[error("layer {layer:?} takes no adapters in this model")]
    Layer {
        /// Name of the layer, as the adapter calls it.
        layer: String,
    },
    /// Made for another model.
    #[error(
        "layer {layer:?} is of {expected:?} (inputs, outputs) in this model, and of {found:?} in the adapter"
    )]
    Shape {
        /// Name of the layer in the graph.
        layer: String,
        /// Inputs and outputs of the layer in the graph.
        expected: (usize, usize),
        /// Inputs and outputs of the layer in the adapter.
        found: (usize, usize),
    },
    /// A's and B's ranks, or the file's and the configuration's.
    #[error("layer {layer:?} has rank {a} in one place and {b} in another")]
    Ranks {
        /// Name of the layer in the graph.
        layer: String,
        /// One of the two ranks.
        a: usize,
        /// The other rank.
        b: usize,
    },
    /// Zero, or more than the graph has room for.
    #[error("layer {layer:?} has rank {found}; this model takes 1 to {most}")]
    Rank {
        /// Name of the layer in the graph.
        layer: String,
        /// Rank in the adapter.
        found: usize,
        /// Highest rank that the graph has room for.
        most: usize,
    },
    /// NaN or infinity.
    #[error("layer {layer:?} has a number that is not finite")]
    NotFinite {
        /// Name of the layer in the graph.
        layer: String,
    },
    /// `adapter_config.json` asks for what this server cannot do.
    #[error("its configuration cannot be honoured: {0}")]
    Config(String),
}
