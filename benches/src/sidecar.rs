//! The sidecar's own binary as a child process, on addresses of its own.

use std::{
    env, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use testkit::{Server, fresh_socket};

/// How a sidecar is started.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// The path of the sidecar's binary.
    pub program: &'a Path,
    /// Directory of packages.
    pub models: &'a Path,
    /// The package that serves requests without a `model_id`.
    pub model: &'a str,
    /// Generations at once.
    pub slots: usize,
    /// Requests that may wait.
    pub queue: usize,
    /// Threads of one step.
    pub threads: usize,
    /// A Ctrl-C at the terminal is for us alone: we have questions to ask it still, and stop it ourselves.
    pub outlives_interrupt: bool,
}

/// Starts it on a Unix socket and a TCP port, in this order. Its log goes to this program's standard error.
pub fn start(start: &Start<'_>) -> io::Result<Server> {
    let mut command = Command::new(start.program);
    command
        .arg("serve")
        .arg("--models")
        .arg(start.models)
        .args(["--default-model", start.model])
        .args(["--slots", &start.slots.to_string()])
        .args(["--queue", &start.queue.to_string()])
        .args(["--threads", &start.threads.to_string()])
        .arg(format!("--listen=unix://{}", fresh_socket().display()))
        .arg("--listen=127.0.0.1:0")
        .env_remove("CY_LLM_INTERNAL_TOKEN")
        .env_remove("SIDECAR_TOKEN_ENV")
        .env("SIDECAR_LOG", env::var_os("SIDECAR_LOG").unwrap_or_else(|| "warn".into()));
    if start.outlives_interrupt {
        command.process_group(0);
    }
    Server::start(&mut command, 2)
}

/// The sidecar that was built together with the running program.
pub fn built_beside() -> io::Result<PathBuf> {
    let program = env::current_exe()?.with_file_name("reference-sidecar");
    if program.is_file() {
        return Ok(program);
    }
    let why = "there is no reference-sidecar beside this program: build with \
               `cargo build --release -p benches -p reference-sidecar`, or name one with --sidecar";
    Err(io::Error::new(io::ErrorKind::NotFound, why))
}

/// More than the sidecar's own grace time, so that one that still runs then has failed to drain.
pub const STOP_LIMIT: Duration = Duration::from_secs(40);
