//! A gRPC connection, frame by frame: where it goes, how it is opened, what a call on it sends and receives, and how the
//! call ends.
//!
//! Talks to: the endpoint, and an [`Observer`] that is told what goes over the wire. Knows no requirement, gives no
//! verdict and writes no report.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod address;
mod call;
mod connection;
mod diagnosis;
mod empty_frames;
mod end;
mod fnv;
pub mod frames;
mod framing;
mod gzip;
mod observer;
mod raw;
mod shown;
mod tls;
mod tls_errors;
mod transport;

pub use address::{Address, BadAddress};
pub use call::{Call, HTTP_BODY, Head, Item, Message, STATUS_MESSAGE};
pub use connection::{CallOptions, Connection, Driver};
pub use diagnosis::{Speaks, diagnose, speaks};
pub use end::{End, Status, code_name};
pub use fnv::{FNV_OFFSET, fnv};
pub use framing::{PREFIX, framed, prefixed, whole};
pub use gzip::{gunzip, gzip};
pub use observer::Observer;
pub use raw::Raw;
pub use shown::{hex, quote, time};
pub use tls::{BadTls, Tls};
pub use transport::{Transport, dial, takes_connections};
