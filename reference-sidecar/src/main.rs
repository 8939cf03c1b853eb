//! The reference sidecar: argv → configuration → command → exit code.

use std::process::ExitCode;

use reference_sidecar::{
    commands::{self, Failure},
    config::{self, Command},
    telemetry,
};

fn main() -> ExitCode {
    let command = config::parse();
    // A server's log is as its configuration says, which is not read yet.
    let _telemetry = match command {
        Command::Serve(_) => None,
        _ => Some(telemetry::init_from_environment()),
    };
    let done = match command {
        Command::Serve(serve) => commands::serve(serve),
        Command::Config(serve) => commands::config(serve),
        Command::Generate(generate) => commands::generate(generate),
        Command::Models(models) => commands::models(models),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has closed the pipe: `generate … | head -1`.
        Err(Failure::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
