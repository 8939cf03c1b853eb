//! Where the endpoint under test comes from: an address that somebody else serves, or a process that the run starts and
//! stops. The suite never links a server: what it judges is always on the other side of a socket.

mod process;
mod sidecar;

pub use process::{Process, SpawnError};
pub use sidecar::{Sidecar, embedded};
