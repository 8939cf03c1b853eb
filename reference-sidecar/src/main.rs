//! The reference sidecar: argv → configuration → command → exit code.

use std::process::ExitCode;

use reference_sidecar::{
    commands::{self, Failure},
    config::{self, Command},
    memory, telemetry,
};

fn main() -> ExitCode {
    memory::give_large_blocks_back();
    let command = config::parse();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has closed the pipe: `generate … | head -1`.
        Err(Failure::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    // A server's log is as its configuration says, which is not read yet.
    let _telemetry = match command {
        Command::Serve(_) => None,
        _ => Some(telemetry::init_from_environment()?),
    };
    match command {
        Command::Serve(serve) => commands::serve(serve),
        Command::Config(serve) => commands::config(serve),
        Command::Generate(generate) => commands::generate(generate),
        Command::Models(models) => commands::models(models),
    }
}
