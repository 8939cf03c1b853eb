//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures how many chunks a second one core of the benchmark's client takes, beside ghz.
#[derive(Debug, Parser)]
#[command(version, after_help = HELP)]
pub(crate) struct Options {
    /// Rounds, after one that is not counted
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub(crate) rounds: usize,

    /// Seconds of each measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub(crate) seconds: u32,

    /// Streams at once
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub(crate) streams: usize,

    /// Chunks of each stream
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) chunks: u32,

    /// Connections that the streams are spread over
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) connections: usize,

    /// Seed of the random orders
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// The client to measure [default: the conformance beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) conformance: Option<PathBuf>,

    /// The client to compare with
    #[arg(long, value_name = "PATH", env = "GHZ", default_value = "ghz")]
    pub(crate) ghz: PathBuf,

    /// The service's description, which ghz asks for
    #[arg(long, value_name = "FILE", default_value = "proto/contract/ai_inference.proto")]
    pub(crate) proto: PathBuf,

    /// Directory for capacity.json and capacity.md
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// Be the server
    #[arg(long, hide = true)]
    pub(crate) serve: bool,
}

const HELP: &str = "\
Examples:
  ci/capacity                                   sets everything up and runs with the defaults
  ci/capacity --rounds 15 --streams 128         more certainty, more streams

Exit codes: 0 all goals met, 1 a goal missed, 2 wrong usage, 3 could not measure.";
