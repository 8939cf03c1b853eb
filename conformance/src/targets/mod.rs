//! Where the endpoint under test comes from: an address that somebody else serves, or a process that the run starts and
//! stops. The suite never links a server: what it judges is always on the other side of a socket.

mod container;
mod process;
mod sidecar;

use std::path::Path;

use tokio::process::Command;

pub use container::{Container, ContainerError};
pub use process::{Process, SpawnError};
pub use sidecar::Sidecar;
use sidecar::embedded;
use wire::Address;

/// A target, and what must be stopped afterwards.
#[derive(Debug)]
pub enum Target {
    /// Somebody else's.
    Elsewhere(Vec<Address>),
    /// Started from a command line.
    Spawned(Box<Process>),
    /// The reference sidecar beside this program.
    Embedded(Box<Sidecar>),
    /// Started in a container.
    Contained(Box<Container>),
}

impl Target {
    /// Starts what must be started: the command, or without a command and addresses the sidecar. Its output goes to `log`.
    pub async fn reach(command: Option<&str>, addresses: &[Address], log: &Path) -> Result<Self, SpawnError> {
        if let Some(command) = command {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("exec {command}"));
            let process = Process::start(shell, command, addresses.to_vec(), log).await?;
            return Ok(Self::Spawned(Box::new(process)));
        }
        if addresses.is_empty() {
            return Ok(Self::Embedded(Box::new(embedded(log).await?)));
        }
        Ok(Self::Elsewhere(addresses.to_vec()))
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
