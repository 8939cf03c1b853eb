//! The file of `--config`: TOML, read into the same struct as the flags, with the same rules for each value. An error
//! names the file, the line and what was expected; an unknown key is an error, because it is a typing mistake.

use std::{fs, path::Path, str::FromStr, time::Duration};

use serde::{Deserialize as _, Deserializer, de::Error};

use super::{
    ConfigError, Serve,
    raw::{MOST_CONNECTIONS, MOST_SLOTS, MOST_THREADS},
};

/// A file's values, and the paths of the keys that it sets (`queue`, `onnx.threads`).
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) values: Serve,
    pub(super) keys: Vec<String>,
}

impl File {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let wrong = |reason: String| ConfigError::File { path: path.to_owned(), reason };
        if fs::metadata(path).is_ok_and(|file| file.len() > LARGEST) {
            return Err(wrong(format!("it is larger than {LARGEST} bytes, so it is no configuration")));
        }
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::parse(&text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))
    }

    pub(super) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let values = toml::from_str(text)?;
        let mut keys = Vec::new();
        for (name, value) in toml::from_str::<toml::Table>(text)? {
            match value {
                toml::Value::Table(table) => keys.extend(table.keys().map(|key| format!("{name}.{key}"))),
                _ => keys.push(name),
            }
        }
        Ok(Self { values, keys })
    }
}

/// Anything that a flag would read from the same text.
pub(super) fn text<'de, D, T>(value: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    String::deserialize(value)?.parse().map(Some).map_err(D::Error::custom)
}

pub(super) fn not_empty<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(value)?;
    if text.is_empty() { Err(D::Error::custom("expected a text that is not empty")) } else { Ok(Some(text)) }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(value)?;
    let wrong = |error| D::Error::custom(format!("expected a duration such as \"30s\" or \"2min\": {error}"));
    humantime::parse_duration(&text).map(Some).map_err(wrong)
}

pub(super) fn slots<'de, D: Deserializer<'de>>(value: D) -> Result<Option<usize>, D::Error> {
    between(value, MOST_SLOTS)
}

pub(super) fn connections<'de, D: Deserializer<'de>>(value: D) -> Result<Option<usize>, D::Error> {
    between(value, MOST_CONNECTIONS)
}

pub(super) fn threads<'de, D: Deserializer<'de>>(value: D) -> Result<Option<usize>, D::Error> {
    between(value, MOST_THREADS)
}

fn between<'de, D: Deserializer<'de>>(value: D, most: usize) -> Result<Option<usize>, D::Error> {
    let number = i64::deserialize(value)?;
    let good = usize::try_from(number).ok().filter(|number| (1..=most).contains(number));
    good.map(Some).ok_or_else(|| D::Error::custom(format!("expected a number from 1 to {most}")))
}

/// A configuration is a page of text; more is a wrong path, perhaps to a model.
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backends::onnx::ProviderChoice, telemetry::LogFormat};

    #[test]
    fn every_kind_of_value_is_read() {
        let text = "
            listen = [\"unix:///run/a.sock\", \"127.0.0.1:0\"]
            models = \"m\"
            slots = 4
            grace = \"2min\"
            metrics_listen = \"127.0.0.1:9464\"
            log_format = \"json\"
            [onnx]
            provider = \"cpu\"
            threads = 3";
        let File { values, keys } = File::parse(text).unwrap();
        assert_eq!(values.listen.map(|listen| listen.len()), Some(2));
        assert_eq!((values.slots, values.onnx.threads), (Some(4), Some(3)));
        assert_eq!(values.grace, Some(Duration::from_mins(2)));
        assert_eq!(
            (values.log_format, values.onnx.provider),
            (Some(LogFormat::Json), Some(ProviderChoice::Cpu))
        );
        assert_eq!(values.queue, None);
        assert!(keys.contains(&"onnx.threads".to_owned()) && keys.contains(&"slots".to_owned()));
    }

    #[test]
    fn a_mistake_is_shown_with_its_line_and_what_was_expected() {
        for (text, words) in [
            ("\nslots = 0", "expected a number from 1 to 256"),
            ("\nslots = \"many\"", "expected i64"),
            ("\nqeue = 3", "unknown field `qeue`"),
            ("\ngrace = \"soon\"", "expected a duration"),
            ("\nlisten = [\"nowhere\"]", "expected unix:///abs/path"),
            ("\ndefault_model = \"\"", "not empty"),
            ("\nlog_format = \"xml\"", "expected `text` or `json`"),
            ("\nonnx.provider = \"abacus\"", "cpu"),
            ("\nconfig = \"other.toml\"", "unknown field `config`"),
            ("\nqueue = ", "TOML parse error"),
        ] {
            let error = File::parse(text).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("line 2"), "{text}: {error}");
        }
    }
}
