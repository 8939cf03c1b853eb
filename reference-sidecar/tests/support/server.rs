//! The real binary with the tiny model, started on private addresses.

use std::{path::Path, process::Command};

use testkit::{Server, fresh_socket};

/// On a Unix socket and a TCP port of its own.
pub(crate) fn start(args: &[&str]) -> Server {
    start_at(&fresh_socket(), args, &[])
}

pub(crate) fn start_at(socket: &Path, args: &[&str], environment: &[(&str, &str)]) -> Server {
    let mut command = command(args, environment);
    // A line for each generation is too much for a test's output.
    command.env("SIDECAR_LOG", "warn").arg(listen(socket)).arg("--listen=127.0.0.1:0");
    Server::start(&mut command, 2).unwrap()
}

pub(crate) fn listen(socket: &Path) -> String {
    format!("--listen=unix://{}", socket.display())
}

/// `serve` with the tiny model, without a token but the one that the test sets.
pub(crate) fn command(args: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reference-sidecar"));
    command
        .env_remove("CY_LLM_INTERNAL_TOKEN")
        .envs(environment.iter().copied())
        .args(["serve", "--default-model", "tiny", "--threads", "1", "--models"])
        .arg(fixtures::models())
        .args(args);
    command
}
