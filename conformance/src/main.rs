//! The `conformance` program: arguments in, exit code out. Everything else is the library's.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use conformance::{
    cli::{bench, docs, explain, list, replay, run, serve},
    exit::Exit,
};

/// Judges any AiInference endpoint, requirement by requirement, with evidence.
#[derive(Parser)]
#[command(name = "conformance", version, about, after_help = START, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const START: &str = "\
Start here:
  conformance run --target localhost:50051     judge a backend
  conformance explain STREAM-001               what a requirement means and how it is checked
  conformance bench run --target localhost:50051   how fast it answers";

#[derive(Subcommand)]
enum Command {
    /// Judge an endpoint: run every requirement against it
    Run(Box<run::RunArgs>),
    /// List every requirement, one a line
    List(list::ListArgs),
    /// Show the page of one requirement
    Explain(explain::ExplainArgs),
    /// Serve a correct endpoint, or one that breaks a single requirement
    Serve(serve::ServeArgs),
    /// Measure an endpoint's latency, from the client's side
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Make any report again from a recording
    Replay(replay::ReplayArgs),
    /// Write the requirements' pages, or check that they are up to date
    #[command(hide = true)]
    Docs(docs::DocsArgs),
}

fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Command::Run(args) => run::run(*args),
        Command::Serve(args) => serve::run(args),
        Command::Bench(command) => bench::run(command),
        Command::List(args) => list::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Docs(args) => docs::run(&args),
    };
    match exit {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::Harness.into()
        }
    }
}
