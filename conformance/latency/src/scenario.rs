//! A load as data: a file that stands for options of the command line, so that people, programs and machines that build
//! put on the same load by naming it.
//!
//! Its keys are the options' own names. So it can say all that they can, an option that comes later can be used at once,
//! and what is wrong with a value is said in the same words.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use thiserror::Error;
use toml::{Table, Value};

/// What a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    options: Vec<(String, String)>,
}

/// A file that is no scenario.
#[derive(Debug, Error)]
#[error("the scenario {}: {why}", .path.display())]
pub struct BadScenario {
    path: PathBuf,
    why: String,
}

impl Scenario {
    /// Reads a file; `known` are the options that it may set.
    pub fn read(path: &Path, known: &[String]) -> Result<Self, BadScenario> {
        let bad = |why: String| BadScenario { path: path.to_owned(), why };
        let text = fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let beside = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, beside, known).map_err(bad)
    }

    fn parse(text: &str, beside: &Path, known: &[String]) -> Result<Self, String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let mut options = Vec::new();
        for (key, value) in table {
            if key == ABOUT {
                continue;
            }
            if !known.contains(&key) {
                let known = known.join(", ");
                return Err(format!("{key:?} is nothing that it may set; write {ABOUT}, {known}"));
            }
            let value = match value {
                Value::String(text) => in_folder(text, beside),
                Value::Integer(number) => number.to_string(),
                Value::Float(number) => number.to_string(),
                _ => return Err(format!("{key} must be a text or a number, as after --{key}")),
            };
            options.push((key, value));
        }
        if options.is_empty() { Err("it sets nothing".to_owned()) } else { Ok(Self { options }) }
    }

    /// As arguments, without those that are given already.
    pub fn arguments(&self, given: &[OsString]) -> Vec<OsString> {
        let absent = |key: &str| {
            let option = format!("--{key}");
            let has = |argument: &OsStr| {
                argument.to_str().and_then(|text| text.strip_prefix(&option)).is_some_and(|rest| {
                    rest.is_empty() || rest.starts_with('=') // --load, --load=…, and not --loads
                })
            };
            !given.iter().any(|argument| has(argument))
        };
        let options = self.options.iter().filter(|(key, _)| absent(key));
        options.map(|(key, value)| format!("--{key}={value}").into()).collect()
    }
}

/// A file that is named in a scenario lies beside it, wherever the program is started.
fn in_folder(text: String, beside: &Path) -> String {
    for kind in FILES {
        if let Some(path) = text.strip_prefix(kind) {
            return format!("{kind}{}", beside.join(path).display());
        }
    }
    text
}

/// For people; not an option.
const ABOUT: &str = "about";
/// The forms of values that name a file.
const FILES: [&str; 2] = ["trace:", "file:"];

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(text: &str) -> Result<Scenario, String> {
        let known = ["load", "tokens", "prompts"].map(str::to_owned);
        Scenario::parse(text, Path::new("/scenarios"), &known)
    }

    #[test]
    fn what_is_given_on_the_command_line_wins() {
        let read = scenario("about = 'Chat.'\nload = 'poisson:2'\ntokens = 64\nprompts = 'short'").unwrap();
        let given = ["--tokens=8", "--prompts", "long", "--loads"].map(OsString::from);
        assert_eq!(read.arguments(&given), ["--load=poisson:2"]);
        assert_eq!(read.arguments(&[]), ["--load=poisson:2", "--prompts=short", "--tokens=64"]);
    }

    #[test]
    fn its_files_lie_beside_it() {
        let read = scenario("load = 'trace:burst.txt'\nprompts = 'file:/all/prompts'").unwrap();
        let arguments = read.arguments(&[]);
        assert_eq!(arguments, ["--load=trace:/scenarios/burst.txt", "--prompts=file:/all/prompts"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            ("rate = 3", "\"rate\""),
            ("tokens = [1]", "tokens must be"),
            ("about = 'nothing'", "sets nothing"),
            ("load =", "load ="),
        ] {
            let error = scenario(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
