//! `--scenario FILE`: puts what the file says in the place of the options that were not given, before they are read.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args as _, Command};
use latency::scenario::{BadScenario, Scenario};

use super::common::LoadArgs;

/// The program's arguments, with those of the scenario that `conformance bench … --scenario FILE` names.
pub fn expand(arguments: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, BadScenario> {
    let mut arguments: Vec<_> = arguments.into_iter().collect();
    if arguments.get(1).is_none_or(|command| command != "bench") {
        return Ok(arguments);
    }
    let Some((file, after)) = named(&arguments) else { return Ok(arguments) };
    let said = Scenario::read(&file, &options())?.arguments(&arguments);
    arguments.splice(after..after, said);
    Ok(arguments)
}

/// The file, and the place behind it.
fn named(arguments: &[OsString]) -> Option<(PathBuf, usize)> {
    let at = arguments.iter().position(|argument| {
        argument.to_str().is_some_and(|text| text == OPTION || text.starts_with("--scenario="))
    })?;
    match arguments[at].to_str()?.split_once('=') {
        Some((_, file)) => Some((file.into(), at + 1)),
        None => Some((arguments.get(at + 1)?.into(), at + 2)),
    }
}

/// What a scenario may set: the options of a load, without secrets.
fn options() -> Vec<String> {
    let load = LoadArgs::augment_args(Command::new("load"));
    let names = load.get_arguments().filter_map(|argument| argument.get_long());
    names.filter(|name| !NEVER.contains(name)).map(str::to_owned).collect()
}

const OPTION: &str = "--scenario";
const NEVER: [&str; 2] = ["scenario", "token"];
