//! The sidecar's own binary as a child process: started on addresses of its own, stopped by SIGTERM, killed when dropped.

use std::{
    env,
    io::{self, BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Address;

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

/// A running sidecar.
#[derive(Debug)]
pub struct Sidecar {
    child: Child,
    /// A Unix socket and a TCP port, in this order.
    addresses: [Address; 2],
    _directory: TempDir,
}

impl Sidecar {
    /// Starts it and waits until it listens. Its log goes to this program's standard error.
    pub fn start(start: &Start<'_>) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("bench-sidecar-").tempdir()?;
        let socket = directory.path().join("sidecar.sock");
        let mut command = Command::new(start.program);
        command
            .arg("serve")
            .arg("--models")
            .arg(start.models)
            .args(["--default-model", start.model])
            .args(["--slots", &start.slots.to_string()])
            .args(["--queue", &start.queue.to_string()])
            .args(["--threads", &start.threads.to_string()])
            .arg(format!("--listen=unix://{}", socket.display()))
            .arg("--listen=127.0.0.1:0")
            .env_remove("CY_LLM_INTERNAL_TOKEN")
            .env_remove("SIDECAR_TOKEN_ENV")
            .env("SIDECAR_LOG", env::var_os("SIDECAR_LOG").unwrap_or_else(|| "warn".into()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if start.outlives_interrupt {
            command.process_group(0);
        }
        let mut child = command.spawn()?;
        let stdout =
            child.stdout.take().ok_or_else(|| io::Error::other("the sidecar has no standard output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let mut address = || {
            let line = lines.next().transpose()?;
            let given = line.as_deref().and_then(|line| line.strip_prefix("listening on "));
            let given =
                given.ok_or_else(|| io::Error::other("the sidecar did not start; see its log above"))?;
            given.parse().map_err(io::Error::other)
        };
        match (address(), address()) {
            (Ok(unix), Ok(tcp)) => Ok(Self { child, addresses: [unix, tcp], _directory: directory }),
            (Err(error), _) | (_, Err(error)) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Where it listens: the Unix socket first.
    pub const fn addresses(&self) -> &[Address; 2] {
        &self.addresses
    }

    /// The id of the sidecar's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and its exit status; killed when that takes longer than a drain may.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM)?;
        }
        let asked = Instant::now();
        while asked.elapsed() < STOP_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

/// More than the sidecar's own grace time, so that a kill here means that its drain failed.
const STOP_LIMIT: Duration = Duration::from_secs(40);
