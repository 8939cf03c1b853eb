//! The reference sidecar: argv → configuration → command → exit code.

use std::process::ExitCode;

use clap::Parser as _;
use reference_sidecar::{
    commands::{self, Failure},
    config::{Cli, Command},
    telemetry,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::init();
    let done = match cli.command {
        Command::Serve(serve) => commands::serve(serve),
        Command::Generate(generate) => commands::generate(generate),
        Command::Models(models) => commands::models(models),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has had enough: `generate … | head -1`.
        Err(Failure::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
