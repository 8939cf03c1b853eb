//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Keeps a thousand concurrent streams on a sidecar, checks every answer, and watches the server's memory.
#[derive(Debug, Parser)]
#[command(version, after_help = HELP)]
pub(crate) struct Options {
    /// Length of the mixed phase; 0 leaves it out
    #[arg(long, value_name = "M", default_value_t = 2.0)]
    pub(crate) minutes: f64,

    /// Streams in flight
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) streams: usize,

    /// Connections that they share
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) connections: usize,

    /// Generations that the server runs at once
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) slots: usize,

    /// Requests that may wait at the server
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(crate) queue: usize,

    /// Threads of one step of the server
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) threads: usize,

    /// Time between samples
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub(crate) every: f64,

    /// Seed of the clients' random actions
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// The sidecar's binary [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    pub(crate) sidecar: Option<PathBuf>,

    /// A server that runs already and serves `tiny` by default: `unix:///abs/path` or `host:port`; repeatable
    #[arg(long, value_name = "ADDR")]
    pub(crate) target: Vec<String>,

    /// Its process, to sample its memory
    #[arg(long, value_name = "PID", requires = "target")]
    pub(crate) pid: Option<u32>,

    /// Directory for soak.json and soak.csv
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

const HELP: &str = "\
Examples:
  soak                                   a storm and two minutes of everything, on a sidecar of its own
  soak --minutes 0                       the storms only
  soak --minutes 60 --output target/soak an hour; Ctrl-C ends it early and still reports
  soak --target localhost:50051 --pid $(pidof reference-sidecar)

Exit codes: 0 all held, 1 something did not, 2 wrong usage, 3 could not measure.";
