//! The commands of the program, one file each: arguments in, an exit code out.

pub mod bench;
pub mod call;
pub mod docs;
pub mod explain;
pub mod list;
mod output;
mod patience;
mod repeat;
pub mod replay;
pub mod run;
pub mod serve;
pub mod tls;
mod values;
