//! Every default of `serve`, once: what is used where nothing is said, and what the help shows. Defaults that depend on
//! the machine or on the models are worded in the options' own help.

use std::time::Duration;

use clap::Command;

use crate::telemetry::LogFormat;

/// The socket that gateways look for, and the port for people with grpcurl.
pub(super) const LISTEN: [&str; 2] = ["unix:///tmp/cy_sidecar.sock", "127.0.0.1:50051"];
/// An hour's work for one model on a small machine: who comes later had better be told to go elsewhere.
pub(super) const QUEUE: usize = 1024;
/// Each costs two buffers and a task; a gateway needs a handful.
pub(super) const CONNECTIONS: usize = 1024;
/// What process managers allow before they kill.
pub(super) const GRACE: Duration = Duration::from_secs(30);
/// A client that reads nothing for so long is gone, or an attack.
pub(super) const READER_PATIENCE: Duration = Duration::from_secs(30);
/// One line for each generation, and what happens once.
pub(super) const LOG: &str = "info";
/// The log is written for people unless another format is named.
pub(super) const LOG_FORMAT: LogFormat = LogFormat::Text;
/// The best that is there.
pub(super) const PROVIDER: &str = "auto";
/// The deployed system's own name, so that its environment works unchanged.
pub(super) const TOKEN_ENV: &str = "CY_LLM_INTERNAL_TOKEN";

/// Adds the defaults to the help of the options that have them, on whichever command.
pub(super) fn show_in_help(command: Command) -> Command {
    let shown = shown();
    let command = command.mut_args(|arg| {
        let Some((_, default)) = shown.iter().find(|(id, _)| arg.get_id() == id) else { return arg };
        let Some(help) = arg.get_help().map(ToString::to_string) else { return arg };
        arg.help(format!("{help} [default: {default}]"))
    });
    command.mut_subcommands(show_in_help)
}

fn shown() -> [(&'static str, String); 8] {
    [
        ("listen", LISTEN.join(",")),
        ("queue", QUEUE.to_string()),
        ("connections", CONNECTIONS.to_string()),
        ("grace", humantime::format_duration(GRACE).to_string()),
        ("reader_patience", humantime::format_duration(READER_PATIENCE).to_string()),
        ("log", LOG.to_owned()),
        ("log_format", LOG_FORMAT.name().to_owned()),
        ("provider", PROVIDER.to_owned()),
    ]
}
