//! How a target comes to run: it runs already, or a command or a container is started for it.
//!
//! Pure.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustix::process::Signal;
use tempfile::TempDir;
use wire::Address;

use super::{
    container_spec::ContainerSpec,
    process::{START_LIMIT, STOP_LIMIT},
    secret::Secret,
};

/// How a target comes to run, and how it ends.
#[derive(Clone, Debug)]
pub struct Start {
    /// What is started.
    pub source: Source,
    /// Where it listens. What is started may also say so by itself.
    pub addresses: Vec<Address>,
    /// The longest wait until it is ready. Without it, what runs already is not waited for.
    pub wait: Option<Duration>,
    /// What tells that it is ready.
    pub readiness: Option<Readiness>,
    /// How it ends.
    pub stop: Stop,
    /// The token that it asks for.
    pub token: Option<Secret>,
    /// Variables that it is started with.
    pub env: Vec<(String, Secret)>,
    /// Several of them may run at once: each takes free addresses, and they share nothing.
    pub several: bool,
    /// The folder of all that are started so; it goes with the last of them.
    pub(super) folder: Option<Arc<TempDir>>,
    /// It may find its addresses taken: another one runs beside it.
    pub(super) beside: bool,
    /// So many addresses it prints, as one that was started so has shown.
    pub(super) prints: Option<usize>,
}

/// What is started.
#[derive(Clone, Debug)]
pub enum Source {
    /// Nothing: it runs already.
    Address,
    /// A command line, in a folder.
    Command {
        /// The command line, run by `sh`.
        line: String,
        /// Where it runs. Without it, where this program runs.
        directory: Option<PathBuf>,
    },
    /// A container, by its image and options.
    Container(Box<ContainerSpec>),
}

/// What tells that a target is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It has printed `listening on ADDR`.
    Printed,
    /// Its addresses take connections.
    Connects,
    /// Its addresses answer as HTTP/2 servers do.
    Http2,
}

/// How a target ends.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// The signal that asks the target to end.
    pub signal: Signal,
    /// How long it may take.
    pub grace: Duration,
}

impl Start {
    /// A target that runs already.
    pub fn address(addresses: &[Address]) -> Self {
        Self::from(Source::Address, addresses)
    }

    /// A command line. Without addresses, it prints them.
    pub fn command(line: &str, addresses: &[Address]) -> Self {
        Self::from(Source::Command { line: line.to_owned(), directory: None }, addresses)
    }

    /// A target that is started in a container.
    pub fn container(spec: ContainerSpec) -> Self {
        Self::from(Source::Container(Box::new(spec)), &[])
    }

    /// Makes the folder that all which are started so will have, where a command is started and it has none yet.
    pub fn with_folder(mut self) -> std::io::Result<Self> {
        if matches!(self.source, Source::Command { .. }) && self.folder.is_none() {
            self.folder = Some(Arc::new(tempfile::tempdir()?));
        }
        Ok(self)
    }

    /// The target asks for this token. One that was made for the target is replaced where the target is given it.
    pub fn use_token(&mut self, token: Secret) {
        for (_, value) in self.env.iter_mut().filter(|(_, value)| Some(value) == self.token.as_ref()) {
            *value = token.clone();
        }
        self.token = Some(token);
    }

    fn from(source: Source, addresses: &[Address]) -> Self {
        Self {
            source,
            addresses: addresses.to_vec(),
            wait: None,
            readiness: None,
            stop: Stop::default(),
            token: None,
            env: Vec::new(),
            several: false,
            folder: None,
            beside: false,
            prints: None,
        }
    }

    /// The limit for what is started.
    pub(super) fn start_limit(&self) -> Duration {
        self.wait.unwrap_or(START_LIMIT)
    }
}

impl Readiness {
    pub(super) const NAMES: [(&'static str, Self); 3] =
        [("printed", Self::Printed), ("connects", Self::Connects), ("http2", Self::Http2)];
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Signal::TERM, grace: STOP_LIMIT }
    }
}
