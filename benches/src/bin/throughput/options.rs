//! The command line.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use serde::Serialize;

use super::engine::Kind;

/// Compares decode rates on one machine, in interleaved rounds.
#[derive(Debug, Parser)]
#[command(version, args_override_self = true, after_help = HELP)]
pub(crate) struct Options {
    /// Package to serve [default: smollm2 in the cache]
    #[arg(long, value_name = "DIR")]
    package: Option<PathBuf>,

    /// Sequences at once, each a separate measurement
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [1, 8, 16])]
    pub(crate) streams: Vec<usize>,

    /// Tokens of each sequence
    #[arg(long, value_name = "N", default_value_t = 48)]
    pub(crate) tokens: usize,

    /// Tokens of each prompt
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) prompt: usize,

    /// Rounds, after one that is not counted
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub(crate) rounds: usize,

    /// Threads of every engine
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) threads: usize,

    /// Seed of the prompts and of the random orders
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Engines to leave out
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub(crate) without: Vec<Kind>,

    /// Prompts of which the time to the first token is measured, by the client and by the server; 0 leaves that out
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) first_token_tries: usize,

    /// Tokens of these prompts: short, so that the model's own time does not drown the difference
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) first_token_prompt: usize,

    /// The sidecar's binary [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) sidecar: Option<PathBuf>,

    /// Python with benches/peers/requirements.txt
    #[arg(long, value_name = "PATH", env = "PEERS_PYTHON")]
    pub(crate) python: Option<PathBuf>,

    /// Scripts of the peers
    #[arg(long, value_name = "DIR", default_value = "benches/peers")]
    pub(crate) peers: PathBuf,

    /// The same model as onnxruntime-genai's builder writes it
    #[arg(long, value_name = "DIR")]
    pub(crate) genai_package: Option<PathBuf>,

    /// The same model for llama.cpp
    #[arg(long, value_name = "FILE")]
    pub(crate) gguf: Option<PathBuf>,

    /// Directory for throughput.json and throughput.md
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// Be a child process that measures on request
    #[arg(long, hide = true)]
    pub(crate) role: Option<Role>,
}

/// What a child process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum Role {
    /// ONNX Runtime in a loop.
    Bare,
    /// The sidecar's backend in a loop.
    Backend,
}

impl Options {
    /// The package that was named, else the cache's.
    pub(crate) fn package(&self) -> anyhow::Result<PathBuf> {
        if let Some(package) = &self.package {
            return Ok(package.clone());
        }
        let models = reference_sidecar::config::models_dir(None)?;
        Ok(models.join("smollm2"))
    }

    /// The widest measurement.
    pub(crate) fn slots(&self) -> anyhow::Result<usize> {
        self.streams.iter().copied().max().filter(|slots| *slots > 0).context("--streams asks for nothing")
    }

    /// What is measured, the sidecar first.
    pub(crate) fn engines(&self) -> impl Iterator<Item = Kind> + '_ {
        Kind::ALL.into_iter().filter(|kind| !self.without.contains(kind))
    }
}

const HELP: &str = "\
Examples:
  ci/throughput                                      sets everything up and runs with the defaults
  ci/throughput --without genai,llama.cpp            without Python
  ci/throughput --streams 8 --rounds 15 --output target/throughput

Exit codes: 0 all goals met, 1 a goal missed, 2 wrong usage, 3 could not measure.";
