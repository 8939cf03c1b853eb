//! A server process that the run starts, waits for, and ends with everything that it started.

use std::{
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use wire::{Address, takes_connections};

use super::{
    family::{Family, MARKER},
    output::{Output, Tail},
    running::is_ready,
    start::{Readiness, Stop},
};

/// What is started, and how.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) command: Command,
    /// The command as the user wrote it.
    pub(super) shown: String,
    /// Where it will listen. Where none is given, it prints its addresses.
    pub(super) addresses: Vec<Address>,
    /// Where its output goes.
    pub(super) log: PathBuf,
    /// The longest wait until it is ready.
    pub(super) wait: Duration,
    /// How it ends.
    pub(super) stop: Stop,
    /// What tells that it is ready. Without it: its addresses where they are given, else what it prints.
    pub(super) readiness: Option<Readiness>,
    /// It may find its addresses taken.
    pub(super) beside: bool,
    /// So many addresses it will print, as an earlier one did: there is no wait for another.
    pub(super) prints: Option<usize>,
}

impl Launch {
    /// A command line, with the usual limits.
    pub(super) fn new(command: Command, shown: &str, addresses: &[Address], log: &Path) -> Self {
        Self {
            command,
            shown: shown.to_owned(),
            addresses: addresses.to_vec(),
            log: log.to_owned(),
            wait: START_LIMIT,
            stop: Stop::default(),
            readiness: None,
            beside: false,
            prints: None,
        }
    }
}

/// A server process. [`Process::stop`] ends it; if it is dropped before, it is killed. Either way nothing of it is left.
#[derive(Debug)]
pub struct Process {
    child: Child,
    family: Family,
    output: Output,
    found: mpsc::UnboundedReceiver<Address>,
    shown: String,
    wait: Duration,
    stop: Stop,
    readiness: Readiness,
    prints: Option<usize>,
    /// Where it listens.
    pub(super) addresses: Vec<Address>,
}

/// Why a server process could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no place for its output.
    #[error("cannot write the target's output to {log}: {source}")]
    Log {
        /// Path of the log file.
        log: String,
        /// The error of the file system.
        source: io::Error,
    },
    /// The program could not be started at all.
    #[error("cannot start `{command}`: {source}")]
    Start {
        /// The command as the user gave it.
        command: String,
        /// The error of the system.
        source: io::Error,
    },
    /// What would be judged is another server.
    #[error(
        "something already listens at {address}, so that `{command}` was not started: it would not be the server that \
         is judged. Stop what listens there, or leave out the command"
    )]
    Taken {
        /// The address that is taken.
        address: Box<Address>,
        /// The command as the user gave it.
        command: String,
    },
    /// It ended before it was ready.
    #[error("`{command}` ended with {status} before it was ready; {output}")]
    Ended {
        /// The command as the user gave it.
        command: String,
        /// How it ended.
        status: String,
        /// The end of its output.
        output: Tail,
    },
    /// It did not become ready in time.
    #[error("`{command}` was not ready within {}. {hint} It is stopped; {output}", humantime::format_duration(*.wait))]
    Late {
        /// The command as the user gave it.
        command: String,
        /// How long the program waited.
        wait: Duration,
        /// The end of its output.
        output: Tail,
        /// What the user can do.
        hint: &'static str,
    },
}

impl Process {
    /// Starts it, unless something listens already where it will listen. [`Process::ready`] is next.
    pub(super) async fn start(launch: Launch) -> Result<Self, SpawnError> {
        let Launch { mut command, shown, addresses, log, wait, stop, readiness, beside, prints } = launch;
        let usual = if addresses.is_empty() { Readiness::Printed } else { Readiness::Connects };
        let readiness = readiness.unwrap_or(usual);
        for address in addresses.iter().filter(|_| !beside) {
            if takes_connections(address, CONNECT_LIMIT).await {
                return Err(SpawnError::Taken { address: Box::new(address.clone()), command: shown });
            }
        }
        let output = Output::create(&log)
            .map_err(|source| SpawnError::Log { log: log.display().to_string(), source })?;
        let start = |source| SpawnError::Start { command: shown.clone(), source };
        let (finds, found) = mpsc::unbounded_channel();
        let marker = uuid::Uuid::new_v4().to_string();
        Family::prepare();
        let child = command
            .env(MARKER, &marker)
            .stdin(Stdio::null())
            .stdout(output.pipe(Some(finds)).map_err(start)?)
            .stderr(output.pipe(None).map_err(start)?)
            .process_group(0) // a Ctrl-C at the terminal is the run's to handle, not the server's
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let root = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(root) = root else { return Err(start(io::Error::other("it has no process id"))) };
        let family = Family::of(root, marker);
        Ok(Self { child, family, output, found, shown, wait, stop, readiness, prints, addresses })
    }

    /// Waits until every one of its addresses is ready or, where none was given, until it has printed `listening on ADDR`
    /// on its standard output.
    pub async fn ready(&mut self) -> Result<(), SpawnError> {
        let deadline = Instant::now() + self.wait;
        let readiness = self.readiness;
        let printed = self.addresses.is_empty() || readiness == Readiness::Printed;
        let Self { child, found, addresses, prints, .. } = self;
        let listens = async {
            if printed {
                let said = read_addresses(found, *prints).await;
                // Those that were given are what is judged.
                if addresses.is_empty() {
                    *addresses = said;
                }
            }
            while readiness != Readiness::Printed && !all_ready(addresses, readiness).await {
                sleep(BETWEEN_LOOKS).await;
            }
        };
        let in_time = tokio::select! {
            biased; // one that has ended may have left its port to another
            _ = child.wait() => None,
            () = listens => Some(true),
            () = sleep_until(deadline) => Some(false),
        };
        if let Some(status) = self.exited() {
            self.family.end();
            let status = status.to_string();
            return Err(SpawnError::Ended {
                command: self.shown.clone(),
                status,
                output: self.output.tail(),
            });
        }
        if in_time == Some(true) {
            return Ok(());
        }
        let hint = if printed {
            "Does it print `listening on ADDR`? If it does not, name its address with --target."
        } else {
            "Does it listen on the address that is named as its own?"
        };
        let output = self.output.tail();
        Err(SpawnError::Late { command: self.shown.clone(), wait: self.wait, output, hint })
    }

    /// How the process ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Asks all of it to end.
    pub(super) fn ask_to_end(&self) {
        self.signal(self.stop.signal);
    }

    /// Sends a signal to all of it.
    pub(super) fn signal(&self, signal: Signal) {
        self.family.signal(signal);
    }

    /// Whether it is one process and no more.
    pub(super) fn is_alone(&self) -> bool {
        self.family.count() == Some(1)
    }

    /// Bytes of memory that it holds, with all that it has started.
    pub(super) fn memory(&self) -> Option<u64> {
        self.family.resident()
    }

    /// How long it may take to end.
    pub(super) const fn grace(&self) -> Duration {
        self.stop.grace
    }

    /// The end of its output.
    pub fn tail(&self) -> Tail {
        self.output.tail()
    }

    /// Where its output is.
    pub fn log(&self) -> &Path {
        self.output.log()
    }

    /// Asks all of it to end, waits for a while, and kills what is left.
    pub async fn stop(mut self) {
        self.family.signal(self.stop.signal);
        let mut deadline = Instant::now() + self.stop.grace;
        let mut ended = false;
        while self.family.lives() && Instant::now() < deadline {
            if !ended && self.exited().is_some() {
                ended = true;
                // Without their server, its children have nothing to bring to an end.
                deadline = deadline.min(Instant::now() + ORPHAN_LIMIT);
                self.family.signal(self.stop.signal);
            }
            sleep(BETWEEN_LOOKS).await;
        }
        self.family.end();
        let _ = timeout(CONNECT_LIMIT, self.child.wait()).await;
    }
}

/// Blocks for a moment: there is no other way to be sure of it.
impl Drop for Process {
    fn drop(&mut self) {
        if self.family.lives() {
            self.family.signal(self.stop.signal);
            let deadline = std::time::Instant::now() + DROP_LIMIT;
            while self.family.lives() && std::time::Instant::now() < deadline {
                std::thread::sleep(BETWEEN_LOOKS);
            }
        }
        self.family.end();
    }
}

/// Waits for the first address; as many as are known to come, or a moment without another one, end the list.
async fn read_addresses(found: &mut mpsc::UnboundedReceiver<Address>, prints: Option<usize>) -> Vec<Address> {
    let mut addresses = Vec::new();
    while prints.is_none_or(|prints| addresses.len() < prints.max(1)) {
        let next = if addresses.is_empty() {
            found.recv().await
        } else {
            timeout(BETWEEN_ADDRESSES, found.recv()).await.unwrap_or(None)
        };
        match next {
            Some(address) => addresses.push(address),
            None if addresses.is_empty() => std::future::pending().await, // it closed its standard output
            None => break,
        }
    }
    addresses
}

async fn all_ready(addresses: &[Address], readiness: Readiness) -> bool {
    for address in addresses {
        if !is_ready(address, readiness).await {
            return false;
        }
    }
    true
}

/// Time to load a large model from a cold disk.
pub(super) const START_LIMIT: Duration = Duration::from_mins(2);
/// Time to drain after SIGTERM, before SIGKILL.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(10);
/// What a server's children have after the server itself has ended.
const ORPHAN_LIMIT: Duration = Duration::from_secs(2);
/// What a server has where nothing can wait for it.
const DROP_LIMIT: Duration = Duration::from_millis(500);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
const BETWEEN_ADDRESSES: Duration = Duration::from_millis(200);
