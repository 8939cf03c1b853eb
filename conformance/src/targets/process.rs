//! A server that the run starts, waits for, and stops.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};
use wire::{Address, takes_connections};

/// Time to load a large model from a cold disk.
const START_LIMIT: Duration = Duration::from_mins(2);
/// Time to drain after SIGTERM, before SIGKILL.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// What servers print for each address when they are ready.
const READY: &str = "listening on ";

/// A running server process. Stopped by [`Process::stop`], and killed if dropped before.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens.
    pub addresses: Vec<Address>,
    log: PathBuf,
}

/// Why a server process could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The program could not be started at all.
    #[error("cannot start `{command}`: {source}")]
    Start {
        /// As given.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("`{command}` ended with {status} before it was ready; its output is in {log}")]
    Ended {
        /// As given.
        command: String,
        /// How it ended.
        status: String,
        /// Where its output is.
        log: String,
    },
    /// It did not become ready in time.
    #[error("`{command}` was not ready within {START_LIMIT:?}; its output is in {log}. {hint}")]
    Late {
        /// As given.
        command: String,
        /// Where its output is.
        log: String,
        /// What to do.
        hint: &'static str,
    },
}

impl Process {
    /// Starts `command` and waits until it is ready: until every one of `addresses` takes a connection or, if none is
    /// given, until it has printed `listening on ADDR` on its standard output. Its standard error goes to `log`,
    /// and so does its output where nothing is read off it.
    pub async fn start(
        mut command: Command,
        shown: &str,
        addresses: Vec<Address>,
        log: &Path,
    ) -> Result<Self, SpawnError> {
        let start = |source| SpawnError::Start { command: shown.to_owned(), source };
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent).map_err(start)?;
        }
        let file = File::create(log).map_err(start)?;
        // Nobody may find it closed: a server that prints would fail, or end.
        let stdout =
            if addresses.is_empty() { Stdio::piped() } else { file.try_clone().map_err(start)?.into() };
        let child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(file)
            .process_group(0) // a Ctrl-C at the terminal is the run's to handle, not the server's
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let mut process = Self { child, addresses, log: log.to_owned() };
        let late =
            |hint| SpawnError::Late { command: shown.to_owned(), log: log.display().to_string(), hint };
        if process.addresses.is_empty() {
            match timeout(START_LIMIT, process.read_addresses()).await {
                Ok(()) => {}
                Err(_) => {
                    return Err(late(
                        "Does it print `listening on ADDR`? If it does not, name its address with --target.",
                    ));
                }
            }
        } else {
            let deadline = Instant::now() + START_LIMIT;
            while process.exited().is_none() && !process.takes_connections().await {
                if Instant::now() > deadline {
                    return Err(late("Does it listen on the address that --target names?"));
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        if process.addresses.is_empty() || process.exited().is_some() {
            let status = process.child.wait().await.map_or_else(|e| e.to_string(), |s| s.to_string());
            return Err(SpawnError::Ended {
                command: shown.to_owned(),
                status,
                log: log.display().to_string(),
            });
        }
        Ok(process)
    }

    /// How the process ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Where its output is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// SIGTERM, then SIGKILL if it does not end.
    pub async fn stop(mut self) {
        let pid =
            self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::TERM);
        }
        if timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
            let _ = self.child.wait().await;
        }
    }

    /// Reads the addresses off standard output; the first other line, or a moment without one, ends the list.
    async fn read_addresses(&mut self) {
        let Some(stdout) = self.child.stdout.take() else { return };
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = if self.addresses.is_empty() {
            lines.next_line().await
        } else {
            timeout(Duration::from_millis(200), lines.next_line()).await.unwrap_or(Ok(None))
        } {
            if let Some(address) = line.strip_prefix(READY).and_then(|text| text.trim().parse().ok()) {
                self.addresses.push(address);
            }
        }
        // Whatever it still prints is read and dropped, so that it never blocks on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    }

    async fn takes_connections(&self) -> bool {
        for address in &self.addresses {
            if !takes_connections(address, Duration::from_secs(1)).await {
                return false;
            }
        }
        true
    }
}
