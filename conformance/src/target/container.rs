//! A server in a container, by Docker's own command line: started, waited for, and removed whatever happens.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command as Blocking, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    time::{Instant, sleep, timeout},
};
use wire::Address;

/// A running container. Stopped by [`Container::stop`], and removed when dropped.
#[derive(Debug)]
pub struct Container {
    name: String,
    log: PathBuf,
    /// Where its port is on this machine.
    pub(super) addresses: Vec<Address>,
}

/// Why a container could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Docker is missing, does not run, or does not want to.
    #[error("`docker {command}` failed: {why}. Is Docker installed, and does its daemon run?")]
    Docker {
        /// Its subcommand.
        command: String,
        /// In Docker's words.
        why: String,
    },
    /// It ended, or nobody spoke HTTP/2 behind its port.
    #[error("{what} in the container of `{run}`; its output is in {log}")]
    NotReady {
        /// What happened.
        what: String,
        /// As given.
        run: String,
        /// Where its output is.
        log: String,
    },
}

impl Container {
    /// `docker run` with `run` as the rest of its command line: options, image, arguments. Ready when somebody speaks
    /// HTTP/2 behind `port`: Docker itself takes connections to it long before the server does.
    pub(super) async fn start(run: &str, port: u16, log: &Path) -> Result<Self, ContainerError> {
        let name = format!("conformance-bench-{}", uuid::Uuid::new_v4().simple());
        let mut container = Self { name, log: log.to_owned(), addresses: Vec::new() };
        let mut shell = Command::new("sh");
        // As a command's, a container's words are the shell's, with their quotes.
        shell.arg("-c").arg(format!(
            "exec docker run --detach --init --name {} --publish 127.0.0.1::{port} {run}",
            container.name
        ));
        said("run", shell).await?;
        // Docker knows no ports of a container that has ended.
        let mapped = docker(&["port", &container.name, &format!("{port}/tcp")]).await.unwrap_or_default();
        let mapped: Option<SocketAddr> = mapped.lines().find_map(|line| line.trim().parse().ok());
        let not_ready = |what: String| ContainerError::NotReady {
            what,
            run: run.to_owned(),
            log: log.display().to_string(),
        };
        let Some(address) = mapped else {
            container.keep_log().await;
            let unpublished = format!("port {port} is not published (--container-port)");
            return Err(not_ready(if container.runs().await { unpublished } else { ENDED.to_owned() }));
        };
        let deadline = Instant::now() + START_LIMIT;
        while !speaks_http2(address).await {
            let what = match container.runs().await {
                true if Instant::now() < deadline => {
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
                true => format!("nobody speaks HTTP/2 on port {port} (--container-port)"),
                false => ENDED.to_owned(),
            };
            container.keep_log().await;
            return Err(not_ready(what));
        }
        container.addresses = vec![Address::Tcp { host: address.ip().to_string(), port: address.port() }];
        Ok(container)
    }

    /// Asks it to end, keeps what it said, and removes it.
    pub(super) async fn stop(self) {
        // An error means that it has ended already.
        let _ = docker(&["stop", "-t", "10", &self.name]).await;
        self.keep_log().await;
    }

    async fn runs(&self) -> bool {
        let running = docker(&["inspect", "--format", "{{.State.Running}}", &self.name]).await;
        running.is_ok_and(|running| running.trim() == "true")
    }

    async fn keep_log(&self) {
        let mut logs = Command::new("docker");
        logs.args(["logs", &self.name]).stdin(Stdio::null()).kill_on_drop(true);
        if let Ok(output) = logs.output().await {
            // A log that cannot be written takes nothing from the measurement.
            let _ = fs::write(&self.log, [output.stdout, output.stderr].concat());
        }
    }
}

/// Blocks for a moment: there is no other way to be sure of it when a future is dropped.
impl Drop for Container {
    fn drop(&mut self) {
        let mut remove = Blocking::new("docker");
        remove.args(["rm", "--force", &self.name]).stdin(Stdio::null());
        let _ = remove.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

async fn docker(words: &[&str]) -> Result<String, ContainerError> {
    let mut command = Command::new("docker");
    command.args(words);
    said(words[0], command).await
}

/// What a Docker command printed.
async fn said(subcommand: &str, mut command: Command) -> Result<String, ContainerError> {
    let failed = |why: String| ContainerError::Docker { command: subcommand.to_owned(), why };
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Err(failed(format!("{} ({})", said.join(" "), output.status)))
}

/// Whether a server there begins a connection as HTTP/2 asks: with its settings.
async fn speaks_http2(address: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(PREFACE).await?;
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        std::io::Result::Ok(head[3] == SETTINGS)
    };
    matches!(timeout(ANSWER_LIMIT, asked).await, Ok(Ok(true)))
}

/// The client's greeting and its empty settings (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The type of the frame that a server begins with.
const SETTINGS: u8 = 4;
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
const ENDED: &str = "the server ended before it was ready";
/// Time to load a large model from a cold disk.
const START_LIMIT: Duration = Duration::from_mins(2);
