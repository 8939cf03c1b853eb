//! `capacity`: how many chunks a second one core of `conformance bench`'s client takes, beside ghz, in interleaved rounds;
//! and how punctual the client still is under half of that.
//!
//! A client that is nearly full measures itself. Both clients read from the same server, a child process that does little but
//! send, on a core of its own where there is one; what is compared is the processor time that each takes for a
//! chunk, so that a server that cannot fill a client does not count for or against it. `ci/capacity` sets everything up.

mod clients;
mod cores;
mod options;
mod report;
mod rounds;
mod server;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = if options.serve { server::serve().map(|()| ExitCode::SUCCESS) } else { measure(&options) };
    done.unwrap_or_else(|error| {
        eprintln!("capacity: {error:#}");
        ExitCode::from(COULD_NOT_MEASURE)
    })
}

fn measure(options: &Options) -> anyhow::Result<ExitCode> {
    let results = rounds::run(options)?;
    let goals = report::goals(&results);
    print!("{}", report::markdown(options, &results, &goals));
    if let Some(directory) = &options.output {
        report::write(directory, options, &results, &goals).context("cannot write the report")?;
    }
    Ok(ExitCode::from(u8::from(goals.iter().any(|goal| !goal.met))))
}

/// Exit code when nothing was judged, as in `throughput`.
const COULD_NOT_MEASURE: u8 = 3;
