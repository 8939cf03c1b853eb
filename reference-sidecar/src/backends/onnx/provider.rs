//! Which execution provider computes. One today; the option exists so that scripts need not change with the second.

use std::str::FromStr;

use thiserror::Error;

/// An execution provider that this build has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// ONNX Runtime's own CPU kernels.
    #[default]
    Cpu,
}

impl Provider {
    /// What Health says in `backend` (HEALTH-002).
    pub const fn backend_name(self) -> &'static str {
        match self {
            Self::Cpu => "onnxruntime-cpu",
        }
    }
}

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" | "cpu" => Ok(Self::Cpu),
            "cuda" => Err(ProviderError::NotBuilt),
            _ => Err(ProviderError::Unknown),
        }
    }
}

/// A provider that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProviderError {
    /// Better than falling back in silence.
    #[error("this build has no CUDA support: use `--provider cpu` or `auto`")]
    NotBuilt,
    /// A typing error.
    #[error("expected `auto`, `cpu` or `cuda`")]
    Unknown,
}
