//! Where the endpoint under test comes from: an address that something else serves, or a process or a container that the
//! run starts and stops. The suite never links a server: what it judges is always on the other side of a socket.

mod capability;
mod command;
mod container;
mod container_spec;
mod family;
mod file;
mod http2;
mod instances;
mod output;
mod process;
mod running;
mod secret;
mod start;

pub use capability::Capability;
pub use container::{Container, ContainerError};
pub use container_spec::{BadContainer, ContainerSpec, DEFAULT_PORT, Mount};
pub use file::{BadTargetFile, Fault, TargetFile};
pub use instances::{Instance, Instances};
pub use output::Tail;
pub use process::{Process, SpawnError};
pub use running::{StartError, Target};
pub use secret::Secret;
pub use start::{Readiness, Source, Start, Stop};
