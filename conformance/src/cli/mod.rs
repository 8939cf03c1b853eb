//! The commands of the program, one file each: arguments in, an exit code out.

pub mod bench;
pub mod call;
pub mod docs;
pub mod explain;
pub mod list;
mod patience;
pub mod replay;
pub mod run;
pub mod serve;
pub mod tls;
mod token;
