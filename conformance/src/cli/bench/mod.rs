//! `conformance bench`: latency.

mod beside;
mod calibrate;
mod common;
mod compare;
mod contestant;
mod floors;
mod history;
mod hop;
mod raw;
mod run;
mod side;
mod values;

use clap::Subcommand;

use crate::exit::Exit;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Put load on one endpoint and say how fast it answered
    Run(Box<run::BenchRunArgs>),
    /// Say whether one endpoint is slower than another
    Compare(Box<compare::CompareArgs>),
    /// Measure which differences are noise on this host
    Calibrate(Box<calibrate::CalibrateArgs>),
    /// Keep results, and say where they changed
    History(history::HistoryArgs),
    /// Say what a proxy adds to each message
    Hop(Box<hop::HopArgs>),
}

/// Runs one of the commands of `conformance bench`.
pub fn run(command: BenchCommand) -> anyhow::Result<Exit> {
    // One thread: the client often shares its cores with what it measures, and takes as little of them as it can.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().event_interval(TASKS_BETWEEN_LOOKS).build()?;
    match command {
        BenchCommand::Run(args) => runtime.block_on(run::run(*args)),
        BenchCommand::Compare(args) => runtime.block_on(compare::run(*args)),
        BenchCommand::Calibrate(args) => runtime.block_on(calibrate::run(*args)),
        BenchCommand::History(args) => history::run(&args),
        BenchCommand::Hop(args) => runtime.block_on(hop::run(*args)),
    }
}

/// After so many tasks it is looked whether a request is due. With tokio's own 61 a request waits while hundreds of chunks are
/// read.
const TASKS_BETWEEN_LOOKS: u32 = 8;
