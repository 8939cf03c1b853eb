//! Where the endpoint under test comes from: an address that something else serves, or a process or a container that the
//! run starts and stops. The suite never links a server: what it judges is always on the other side of a socket.

mod command;
mod container;
mod family;
mod output;
mod process;
mod running;
mod sidecar;

pub use container::{Container, ContainerError};
pub use output::Tail;
pub use process::{Process, SpawnError};
pub use running::Target;
pub use sidecar::Sidecar;
