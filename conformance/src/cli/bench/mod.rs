//! `conformance bench`: latency.

mod common;
mod compare;
mod run;
mod scenario;

use clap::Subcommand;

use crate::exit::Exit;

pub use scenario::expand;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Put load on one endpoint and say how fast it answered
    Run(Box<run::BenchRunArgs>),
    /// Say whether one endpoint is slower than another
    Compare(Box<compare::CompareArgs>),
}

/// Runs it.
pub fn run(command: BenchCommand) -> anyhow::Result<Exit> {
    // One thread: the client often shares its cores with what it measures, and takes as little of them as it can.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        BenchCommand::Run(args) => runtime.block_on(run::run(*args)),
        BenchCommand::Compare(args) => runtime.block_on(compare::run(*args)),
    }
}
