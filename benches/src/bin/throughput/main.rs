//! `throughput`: how fast the sidecar decodes over gRPC, beside the bare ONNX Runtime loop, onnxruntime-genai and
//! llama.cpp, on one machine, in interleaved rounds.
//!
//! Every engine is a child process that keeps its model loaded and, while another is measured, does nothing; this
//! process is the sidecar's client. `ci/throughput` sets everything up and runs it; the README in this crate says how
//! to read the figures.

mod engine;
mod first_token;
mod goals;
mod grpc;
mod in_process;
mod options;
mod package;
mod peer;
mod report;
mod rounds;
mod window;
mod workload;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::runtime;

use options::{Options, Role};
use rounds::Results;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.role {
        Some(role) => in_process::serve(role, &options).map(|()| ExitCode::SUCCESS),
        None => compare(&options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("throughput: {error:#}");
        ExitCode::from(COULD_NOT_MEASURE)
    })
}

fn compare(options: &Options) -> anyhow::Result<ExitCode> {
    // One thread: the client shares the cores with what it measures, and a second would only take more of them.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let package = package::without_end(&options.package()?).context("cannot prepare the package")?;
    let tokenizer = in_process::tokenizer(&package)?;
    let cells = rounds::run(options, &package, &tokenizer, &runtime)?;
    let first_token = first_token::run(options, &package, &runtime)?;
    let results = Results { cells, first_token };
    let goals = goals::judge(&results);
    report::print(options, &results, &goals);
    if let Some(directory) = &options.output {
        report::write(directory, options, &results, &goals).context("cannot write the reports")?;
    }
    Ok(ExitCode::from(u8::from(goals.iter().any(|goal| !goal.met))))
}

/// As the conformance suite's: nothing was judged.
const COULD_NOT_MEASURE: u8 = 3;

impl Role {
    /// The name, as `--role` reads it.
    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Backend => "backend",
        }
    }
}
