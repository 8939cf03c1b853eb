//! The commands of the program, one file each: arguments in, an exit code out.

pub mod bench;
pub mod call;
mod declared;
pub mod docs;
mod doors;
pub mod explain;
mod forecast;
mod kinds;
pub mod list;
mod metadata;
mod output;
mod patience;
mod repeat;
pub mod replay;
pub mod run;
pub mod serve;
pub mod target_args;
pub mod tls;
mod token;
mod values;
