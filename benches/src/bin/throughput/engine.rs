//! What is compared, and what one measurement of it says.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// An engine that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
pub(crate) enum Kind {
    /// The reference sidecar over gRPC.
    #[value(name = "sidecar")]
    #[serde(rename = "sidecar")]
    Sidecar,
    /// ONNX Runtime with its own operators in a loop with an argmax.
    #[value(name = "bare")]
    #[serde(rename = "bare")]
    Bare,
    /// The sidecar's backend in the same loop: what there is to serve.
    #[value(name = "backend")]
    #[serde(rename = "backend")]
    Backend,
    /// The engine onnxruntime-genai.
    #[value(name = "genai")]
    #[serde(rename = "genai")]
    Genai,
    /// llama.cpp through llama-cpp-python.
    #[value(name = "llama.cpp")]
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
}

impl Kind {
    /// All engines, in the order of reports.
    pub(crate) const ALL: [Self; 5] = [Self::Sidecar, Self::Backend, Self::Bare, Self::Genai, Self::LlamaCpp];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sidecar => "sidecar",
            Self::Bare => "bare",
            Self::Backend => "backend",
            Self::Genai => "genai",
            Self::LlamaCpp => "llama.cpp",
        })
    }
}

/// What an engine is asked to do: one line of JSON to a child process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Each sequence's prompt.
    pub(crate) texts: Vec<String>,
    /// The same as token ids, all of one length.
    pub(crate) prompts: Vec<Vec<i64>>,
    /// To generate for each, the one that reading the prompt gives included.
    pub(crate) tokens: usize,
}

/// What it did: one line of JSON from a child process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Tokens that came while all sequences were being continued: after the last sequence's first token, until the
    /// first sequence's last.
    pub(crate) tokens: f64,
    /// How long that was.
    pub(crate) seconds: f64,
    /// From the start until every sequence had its first token.
    pub(crate) prefill_seconds: f64,
}

impl Measured {
    /// The decode rate, in tokens per second of all sequences together.
    pub(crate) fn rate(&self) -> f64 {
        self.tokens / self.seconds.max(f64::MIN_POSITIVE)
    }
}
