//! Listening: binding addresses, accepting connections and bounding them, and what a Unix socket's clients need.

mod budget;
mod connection;
mod incoming;
mod socket;

pub use budget::{Held, Peer};
pub use connection::Connection;
pub use incoming::{Incoming, Places};
pub use socket::{ListenError, Listener, SocketFile, remove_socket_files};
