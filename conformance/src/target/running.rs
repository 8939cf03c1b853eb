//! A target from its start to its end: started, waited for, looked at, stopped.

use std::{path::Path, sync::Arc};

use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};
use wire::{Address, takes_connections};

use super::{
    command::shell,
    container::{Container, ContainerError},
    http2::answers_http2,
    output::Tail,
    process::{Launch, Process, SpawnError},
    secret::Secret,
    start::{Readiness, Source, Start},
};

/// A target, and what must be stopped afterwards.
#[derive(Debug)]
pub struct Target {
    running: Running,
    token: Option<Secret>,
    /// A folder of its own, which goes with it.
    _folder: Option<Arc<TempDir>>,
}

#[derive(Debug)]
enum Running {
    /// Something else serves it.
    Elsewhere { addresses: Vec<Address>, wait: Option<Duration>, readiness: Readiness },
    /// Started from a command line.
    Process(Box<Process>),
    /// Started in a container.
    Container(Box<Container>),
}

/// Why a target could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What went wrong with a target that a command starts.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// What went wrong with a target in a container.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// What runs already, and does not answer.
    #[error("nothing answered at {address} within {}", humantime::format_duration(*.wait))]
    Late {
        /// The address that was tried.
        address: Box<Address>,
        /// How long the program waited.
        wait: Duration,
    },
    /// Nothing of it can be started again.
    #[error("the target is not started by a command")]
    NoCommand,
    /// There is no place for its socket.
    #[error("cannot make a folder for the target's socket: {0}")]
    Directory(std::io::Error),
}

impl StartError {
    /// Whether it is not the target's: there is no place for the target's output.
    pub fn is_about_output(&self) -> bool {
        matches!(self, Self::Spawn(SpawnError::Log { .. }) | Self::Container(ContainerError::Log { .. }))
    }
}

impl Target {
    /// It was started by this run, and ends with it.
    pub const fn is_ours(&self) -> bool {
        !matches!(self.running, Running::Elsewhere { .. })
    }

    /// Starts what must be started. Its output goes to `log`. [`Target::ready`] is next.
    pub async fn start(start: Start, log: &Path) -> Result<Self, StartError> {
        let limit = start.start_limit();
        let start = start.with_folder().map_err(StartError::Directory)?;
        let (token, folder) = (start.token.clone(), start.folder.clone());
        let running = match start.source {
            Source::Address => Running::Elsewhere {
                addresses: start.addresses,
                wait: start.wait,
                readiness: start.readiness.unwrap_or(Readiness::Connects),
            },
            Source::Command { .. } => Running::Process(Box::new(Self::launch(start, log).await?)),
            Source::Container(spec) => {
                Running::Container(Box::new(Container::new(*spec, start.env, (limit, start.stop), log)?))
            }
        };
        Ok(Self { running, token, _folder: folder })
    }

    /// Starts a command's process.
    pub(super) async fn launch(start: Start, log: &Path) -> Result<Process, StartError> {
        let wait = start.start_limit();
        let Start { source, addresses, readiness, stop, env, folder, beside, prints, .. } = start;
        let Source::Command { line, directory } = source else {
            return Err(StartError::NoCommand);
        };
        let mut command = shell(&line);
        command.envs(folder.iter().map(|folder| (DIRECTORY, folder.path())));
        command.envs(env.iter().map(|(name, value)| (name, value.reveal())));
        if let Some(directory) = directory.filter(|directory| !directory.as_os_str().is_empty()) {
            command.current_dir(directory);
        }
        let launch =
            Launch { wait, stop, readiness, beside, prints, ..Launch::new(command, &line, &addresses, log) };
        Ok(Process::start(launch).await?)
    }

    /// Waits until it is ready.
    pub async fn ready(&mut self) -> Result<(), StartError> {
        match &mut self.running {
            Running::Process(process) => Ok(process.ready().await?),
            Running::Container(container) => Ok(Box::pin(container.ready()).await?),
            Running::Elsewhere { addresses, wait: Some(wait), readiness } => {
                let deadline = Instant::now() + *wait;
                for address in addresses {
                    while !is_ready(address, *readiness).await {
                        if Instant::now() > deadline {
                            return Err(StartError::Late { address: Box::new(address.clone()), wait: *wait });
                        }
                        sleep(BETWEEN_LOOKS).await;
                    }
                }
                Ok(())
            }
            Running::Elsewhere { wait: None, .. } => Ok(()),
        }
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[Address] {
        match &self.running {
            Running::Elsewhere { addresses, .. } => addresses,
            Running::Process(process) => &process.addresses,
            Running::Container(container) => &container.addresses,
        }
    }

    /// The token that it asks for, where its start knows one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(Secret::reveal)
    }

    /// How it ended, if it was started here and has ended by itself, and the end of its output.
    pub async fn exited(&mut self) -> Option<(String, Tail)> {
        match &mut self.running {
            Running::Elsewhere { .. } => None,
            Running::Process(process) => Some((process.exited()?.to_string(), process.tail())),
            Running::Container(container) => Some((container.exited().await?, container.tail())),
        }
    }

    /// Bytes of memory that a command's processes hold.
    pub(super) fn memory(&self) -> Option<u64> {
        match &self.running {
            Running::Process(process) => process.memory(),
            Running::Elsewhere { .. } | Running::Container(_) => None,
        }
    }

    /// Stops what was started.
    pub async fn stop(self) {
        match self.running {
            Running::Elsewhere { .. } => {}
            Running::Process(process) => process.stop().await,
            Running::Container(container) => Box::pin(container.stop()).await,
        }
    }
}

/// Whether a server there is ready.
pub(super) async fn is_ready(address: &Address, readiness: Readiness) -> bool {
    match readiness {
        Readiness::Http2 => answers_http2(address).await,
        Readiness::Connects | Readiness::Printed => takes_connections(address, CONNECT_LIMIT).await,
    }
}

/// The variable that names a started command's own folder: for its socket, say.
const DIRECTORY: &str = "TARGET_DIRECTORY";
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
