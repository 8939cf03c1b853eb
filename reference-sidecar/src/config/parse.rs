//! argv and the environment → a [`Command`], with the defaults in its help.

use std::{env, ffi::OsString};

use clap::{Arg, CommandFactory as _, Error, FromArgMatches as _};

use super::{Cli, Command, defaults, origin::Given};

/// Reads this process's command line; on a mistake, or when help was asked for, says so and exits.
pub fn parse() -> Command {
    parse_from(env::args_os()).unwrap_or_else(|error| error.exit())
}

/// As [`parse`], from any words.
pub fn parse_from(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Command, Error> {
    let matches = command().try_get_matches_from(words)?;
    let mut parsed = Cli::from_arg_matches(&matches)?.command;
    if let (Command::Serve(serve) | Command::Config(serve), Some((_, matches))) =
        (&mut parsed, matches.subcommand())
    {
        serve.given = Given::of(matches);
    }
    Ok(parsed)
}

/// The whole command line, as help shows it.
pub(super) fn command() -> clap::Command {
    with_empty_unset(defaults::show_in_help(Cli::command()))
}

/// An empty variable is one that is not set: so do files of variables and units write "nothing".
fn with_empty_unset(command: clap::Command) -> clap::Command {
    let unset = |arg: Arg| match arg.get_env() {
        Some(variable) if env::var_os(variable).is_some_and(|value| value.is_empty()) => arg.env(None),
        _ => arg,
    };
    command.mut_args(unset).mut_subcommands(with_empty_unset)
}
