//! Listening: binding addresses, and what a Unix socket's connections need.

mod authority;
mod socket;

pub use authority::Lenient;
pub use socket::{ListenError, Listener, SocketFile};
