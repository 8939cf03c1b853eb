//! Instances of a target that the run starts by a command, for the checks of how it starts and ends: one after the other, or
//! two at once. They share one folder, so that a socket in it has the same path for each.

use std::{
    path::PathBuf,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::process::Signal;
use tokio::{sync::Mutex, time::timeout};
use wire::Address;

use super::{
    output::Tail,
    process::Process,
    running::{StartError, Target},
    start::{Source, Start},
};

/// How a target is started again, and the one that the run began with.
#[derive(Debug)]
pub struct Instances {
    start: Start,
    log: PathBuf,
    first: Mutex<Option<Target>>,
    number: Arc<AtomicUsize>,
}

impl Instances {
    /// The target that the run begins with, and how it was started.
    pub fn new(start: Start, log: PathBuf, first: Option<Target>) -> Self {
        let prints = first.as_ref().map(|first| first.addresses().len());
        let start = Start { prints, ..start };
        Self { start, log, first: Mutex::new(first), number: Arc::new(AtomicUsize::new(1)) }
    }

    /// Whether more of them can be started: only a command's process is the run's own to signal and to look at.
    pub fn can_start(&self) -> bool {
        matches!(self.start.source, Source::Command { .. })
    }

    /// Whether several may run at once.
    pub fn can_be_apart(&self) -> bool {
        self.can_start() && self.start.several && self.start.addresses.is_empty()
    }

    /// The same in a folder of their own, to be started while others run.
    pub fn apart(&self) -> std::io::Result<Self> {
        let start = Start { folder: None, ..self.start.clone() }.with_folder()?;
        Ok(Self { start, log: self.log.clone(), first: Mutex::default(), number: Arc::clone(&self.number) })
    }

    /// Starts one, in the place of the one that the run began with.
    pub async fn start(&self) -> Result<Instance, StartError> {
        self.end().await;
        self.launch(false).await
    }

    /// Starts one beside another that runs, though it may find its addresses taken.
    pub async fn start_beside(&self) -> Result<Instance, StartError> {
        self.launch(true).await
    }

    async fn launch(&self, beside: bool) -> Result<Instance, StartError> {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let log = self.log.with_file_name(format!("target-{number}.log"));
        let process = Target::launch(Start { beside, ..self.start.clone() }, &log).await?;
        Ok(Instance { process })
    }

    /// How the one that the run began with ended, if it has ended by itself, and the end of its output.
    pub async fn exited(&self) -> Option<(String, Tail)> {
        self.first.lock().await.as_mut()?.exited().await
    }

    /// Bytes of memory that the one which the run began with holds, with all that it has started, where that can be known.
    pub async fn memory(&self) -> Option<u64> {
        self.first.lock().await.as_ref()?.memory()
    }

    /// Stops the one that the run began with, if it runs.
    pub async fn end(&self) {
        if let Some(first) = self.first.lock().await.take() {
            first.stop().await;
        }
    }
}

/// One of them. What is left of it is killed when it is dropped.
#[derive(Debug)]
pub struct Instance {
    process: Process,
}

impl Instance {
    /// Waits until it listens.
    pub async fn ready(&mut self) -> Result<(), StartError> {
        Ok(self.process.ready().await?)
    }

    /// Where it listens, once it does.
    pub fn addresses(&self) -> &[Address] {
        &self.process.addresses
    }

    /// Asks it to end, with the signal that its start names: SIGTERM, unless it says otherwise.
    pub fn ask_to_end(&self) {
        self.process.ask_to_end();
    }

    /// Kills it (SIGKILL).
    pub fn kill(&self) {
        self.process.signal(Signal::KILL);
    }

    /// How it ended, if it ends within the limit.
    pub async fn exited_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        timeout(limit, self.process.ended()).await.ok()
    }

    /// Whether it is one process: the status with which it ends is then the server's own, and no shell's.
    pub fn is_one_process(&self) -> bool {
        self.process.is_alone()
    }

    /// How long it may take to end.
    pub fn grace(&self) -> Duration {
        self.process.grace()
    }

    /// Ends it.
    pub async fn stop(self) {
        self.process.stop().await;
    }
}
