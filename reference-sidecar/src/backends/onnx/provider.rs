//! Which execution provider computes, and which of the graph's nodes it may leave to the CPU.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::raw::PlacedNode;

/// An execution provider that this build has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// ONNX Runtime's own CPU kernels.
    #[default]
    Cpu,
    /// NVIDIA's, with the KV cache in the device's memory.
    #[cfg(feature = "cuda")]
    Cuda,
}

impl Provider {
    /// What Health says in `backend` (HEALTH-002).
    pub const fn backend_name(self) -> &'static str {
        match self {
            Self::Cpu => "onnxruntime-cpu",
            #[cfg(feature = "cuda")]
            Self::Cuda => "onnxruntime-cuda",
        }
    }

    /// ONNX Runtime's name for it.
    const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPUExecutionProvider",
            #[cfg(feature = "cuda")]
            Self::Cuda => "CUDAExecutionProvider",
        }
    }

    /// The nodes that another provider computes and should not. ONNX Runtime falls back without a word: a model of
    /// float32, whose attention CUDA has not, would run at a tenth of the speed and look well.
    pub(super) fn strays(self, placed: &[PlacedNode]) -> Vec<&PlacedNode> {
        let stray = |node: &&PlacedNode| {
            node.provider != self.name() && !ON_CPU_BY_DESIGN.contains(&node.operator.as_str())
        };
        placed.iter().filter(stray).collect()
    }
}

/// Operators on shapes: a handful of integers that ONNX Runtime keeps on the CPU on purpose, on every device.
const ON_CPU_BY_DESIGN: [&str; 12] = [
    "Cast",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Gather",
    "Range",
    "ReduceSum",
    "Reshape",
    "Shape",
    "Slice",
    "Sub",
    "Unsqueeze",
];

/// Which operators compute on the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// Ours, for what the model asks and the processor has, else ONNX Runtime's.
    #[default]
    Own,
    /// ONNX Runtime's only.
    OnnxRuntime,
}

impl FromStr for Kernels {
    type Err = UnknownKernels;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Own, Self::OnnxRuntime].into_iter().find(|own| own.name() == name).ok_or(UnknownKernels)
    }
}

impl Kernels {
    /// The name, as the user writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::OnnxRuntime => "onnxruntime",
        }
    }
}

/// A typing error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected `own` or `onnxruntime`")]
pub struct UnknownKernels;

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProviderChoice {
    /// CUDA where this build and this machine have it, else the CPU; the log says which.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA or nothing.
    Cuda,
}

impl FromStr for ProviderChoice {
    type Err = ProviderError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" if cfg!(feature = "cuda") => Ok(Self::Cuda),
            "cuda" => Err(ProviderError::NotBuilt),
            _ => Err(ProviderError::Unknown),
        }
    }
}

impl fmt::Display for ProviderChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

/// A provider that cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProviderError {
    /// Better than falling back in silence.
    #[error(
        "this build has no CUDA support: build with `--features cuda`, or use `--provider cpu` or `auto`"
    )]
    NotBuilt,
    /// A typing error.
    #[error("expected `auto`, `cpu` or `cuda`")]
    Unknown,
    /// The machine or the library has it not.
    #[error(
        "CUDA cannot be used: {0}. The library must be onnxruntime-gpu's, with its two provider libraries beside it, and \
         CUDA 13 and cuDNN 9 must be where the loader finds them (LD_LIBRARY_PATH)"
    )]
    Unusable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(provider: &str, operator: &str) -> PlacedNode {
        PlacedNode { provider: provider.to_owned(), operator: operator.to_owned(), name: "n".to_owned() }
    }

    #[test]
    fn what_the_provider_leaves_to_others_is_found() {
        let placed = [
            node("CPUExecutionProvider", "MatMul"),
            node("CPUExecutionProvider", "Shape"),
            node("OtherExecutionProvider", "GroupQueryAttention"),
            node("OtherExecutionProvider", "Cast"),
        ];
        assert_eq!(Provider::Cpu.strays(&placed), [&placed[2]], "operators on shapes may be anywhere");
        #[cfg(feature = "cuda")]
        assert_eq!(Provider::Cuda.strays(&placed), [&placed[0], &placed[2]]);
    }

    #[test]
    fn choices_are_read() {
        assert_eq!("auto".parse(), Ok(ProviderChoice::Auto));
        assert_eq!("cpu".parse(), Ok(ProviderChoice::Cpu));
        assert_eq!("cuda".parse::<ProviderChoice>().is_ok(), cfg!(feature = "cuda"));
        assert_eq!("tpu".parse::<ProviderChoice>(), Err(ProviderError::Unknown));
    }
}
