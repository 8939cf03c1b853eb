//! A load as data: a file that stands for options of the command line, so that people, programs and machines that build
//! put on the same load by naming it.
//!
//! This is the raw stage: keys are the options' names, and values are texts as they stand behind the option. The command line
//! reads them with the parsers of its own options, and lays its options over them.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use thiserror::Error;
use toml::{Table, Value};

/// The options that a file sets. The default sets none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scenario {
    path: PathBuf,
    options: BTreeMap<String, String>,
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
    pub fn read(path: &Path, known: &[&str]) -> Result<Self, BadScenario> {
        let bad = |why: String| BadScenario { path: path.to_owned(), why };
        let text = fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let beside = path.parent().unwrap_or(Path::new(""));
        let options = parse(&text, beside, known).map_err(bad)?;
        Ok(Self { path: path.to_owned(), options })
    }

    /// The value of an option, read as after the option itself; `None` where the file does not set it.
    pub fn get<T, E: fmt::Display>(
        &self,
        option: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, BadScenario> {
        let Some(value) = self.options.get(option) else { return Ok(None) };
        read(value).map(Some).map_err(|error| BadScenario {
            path: self.path.clone(),
            why: format!("{option} = {value:?}: {error}"),
        })
    }
}

fn parse(text: &str, beside: &Path, known: &[&str]) -> Result<BTreeMap<String, String>, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut options = BTreeMap::new();
    for (key, value) in table {
        if key == ABOUT {
            continue;
        }
        if !known.contains(&key.as_str()) {
            let known = known.join(", ");
            return Err(format!("{key:?} cannot be set by a scenario; it can set {ABOUT}, {known}"));
        }
        let value = match value {
            Value::String(text) => in_folder(text, beside),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(on) => on.to_string(),
            _ => return Err(format!("{key} must be a text, a number, true or false, as after --{key}")),
        };
        options.insert(key, value);
    }
    if options.is_empty() { Err("it sets nothing".to_owned()) } else { Ok(options) }
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
        let options = parse(text, Path::new("/scenarios"), &["load", "tokens", "prompts"])?;
        Ok(Scenario { path: "a.toml".into(), options })
    }

    #[test]
    fn values_are_read_as_after_their_options() {
        let read = scenario("about = 'Chat.'\nload = 'poisson:2'\ntokens = 64").unwrap();
        assert_eq!(read.get("tokens", str::parse::<u32>).unwrap(), Some(64));
        assert_eq!(read.get("prompts", str::parse::<String>).unwrap(), None);
        let error = read.get("load", str::parse::<u32>).unwrap_err().to_string();
        assert!(error.starts_with("the scenario a.toml: load = \"poisson:2\": "), "{error}");
    }

    #[test]
    fn its_files_lie_beside_it() {
        let read = scenario("load = 'trace:burst.txt'\nprompts = 'file:/all/prompts'").unwrap();
        let text = |option| read.get(option, str::parse::<String>).unwrap().unwrap();
        assert_eq!(
            (text("load"), text("prompts")),
            ("trace:/scenarios/burst.txt".into(), "file:/all/prompts".into())
        );
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
