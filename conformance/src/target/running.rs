//! A target, and what must be stopped afterwards.

use std::path::Path;

use wire::Address;

use super::{
    command::shell,
    container::{Container, ContainerError},
    process::{Launch, Process, SpawnError},
    sidecar::{Sidecar, embedded},
};

/// A target, and what must be stopped afterwards.
#[derive(Debug)]
pub enum Target {
    /// Something else serves it.
    Elsewhere(Vec<Address>),
    /// Started from a command line.
    Spawned(Box<Process>),
    /// The reference sidecar beside this program.
    Embedded(Box<Sidecar>),
    /// Started in a container.
    Contained(Box<Container>),
}

impl Target {
    /// Starts what must be started: the command, or without a command and addresses the sidecar. Its output goes to
    /// `log`. [`Target::ready`] is next.
    pub async fn start(command: Option<&str>, addresses: &[Address], log: &Path) -> Result<Self, SpawnError> {
        if let Some(line) = command {
            let process = Process::start(Launch::new(shell(line), line, addresses, log)).await?;
            return Ok(Self::Spawned(Box::new(process)));
        }
        if addresses.is_empty() {
            return Ok(Self::Embedded(Box::new(embedded(log).await?)));
        }
        Ok(Self::Elsewhere(addresses.to_vec()))
    }

    /// Waits until what was started is ready.
    pub async fn ready(&mut self) -> Result<(), SpawnError> {
        match self.process() {
            Some(process) => process.ready().await,
            None => Ok(()),
        }
    }

    /// Starts a container: `run` is what follows `docker run`, and `port` is the server's, inside. Its output goes to `log`.
    pub async fn contain(run: &str, port: u16, log: &Path) -> Result<Self, ContainerError> {
        Ok(Self::Contained(Box::new(Container::start(run, port, log).await?)))
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[Address] {
        match self {
            Self::Elsewhere(addresses) => addresses,
            Self::Spawned(process) => &process.addresses,
            Self::Embedded(sidecar) => &sidecar.process.addresses,
            Self::Contained(container) => &container.addresses,
        }
    }

    /// The token that it was started with.
    pub fn token(&self) -> Option<&str> {
        match self {
            Self::Embedded(sidecar) => Some(&sidecar.token),
            Self::Elsewhere(_) | Self::Spawned(_) | Self::Contained(_) => None,
        }
    }

    /// Its process, where there is one.
    pub fn process(&mut self) -> Option<&mut Process> {
        match self {
            Self::Elsewhere(_) | Self::Contained(_) => None,
            Self::Spawned(process) => Some(process),
            Self::Embedded(sidecar) => Some(&mut sidecar.process),
        }
    }

    /// Stops what was started.
    pub async fn stop(self) {
        match self {
            Self::Elsewhere(_) => {}
            Self::Spawned(process) => process.stop().await,
            Self::Embedded(sidecar) => sidecar.process.stop().await,
            Self::Contained(container) => container.stop().await,
        }
    }
}
