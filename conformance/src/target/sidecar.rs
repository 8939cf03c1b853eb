//! The reference sidecar as a target: found beside this program, started with the `tiny` model on a private socket.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::process::{Launch, Process, SpawnError};

/// Where the `tiny` model lies in a checkout, from its root.
const FIXTURES: &str = "fixtures/models";
const MODEL: &str = "tiny";
const PROGRAM: &str = "reference-sidecar";

/// A running sidecar, and the token that it asks for.
#[derive(Debug)]
pub struct Sidecar {
    /// The process.
    pub process: Process,
    /// Made for this run alone.
    pub token: String,
    // Keeps the socket's directory.
    _directory: tempfile::TempDir,
}

/// Starts the sidecar on a private Unix socket and a free TCP port.
pub(super) async fn embedded(log: &Path) -> Result<Sidecar, SpawnError> {
    let missing = |source| SpawnError::Start { command: PROGRAM.to_owned(), source };
    let program = find().map_err(missing)?;
    let directory = tempfile::tempdir().map_err(missing)?;
    let token = uuid::Uuid::new_v4().to_string();
    let mut command = Command::new(&program);
    command
        .arg("serve")
        .arg("--listen")
        .arg(format!("unix://{}", directory.path().join("sidecar.sock").display()))
        .args(["--listen", "127.0.0.1:0"])
        .env("CY_LLM_INTERNAL_TOKEN", &token);
    if std::env::var_os("SIDECAR_MODELS").is_none() && Path::new(FIXTURES).is_dir() {
        command.args(["--models", FIXTURES, "--default-model", MODEL]);
    }
    let process = Process::start(Launch::new(command, &program.display().to_string(), &[], log)).await?;
    Ok(Sidecar { process, token, _directory: directory })
}

fn find() -> io::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name(PROGRAM);
    if beside.is_file() {
        return Ok(beside);
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        format!(
            "no {PROGRAM} beside this program ({}); build it with `cargo build --release`, or name a target with \
             --target or --spawn",
            beside.display()
        ),
    ))
}
