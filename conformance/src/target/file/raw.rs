//! What stands in a target file, and where. Nothing is decided here.
//!
//! Pure.

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

use super::error::{BadTargetFile, Fault};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Raw {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) url: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) roles: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) addresses: Vec<Spanned<String>>,
    pub(super) dialect: Option<Spanned<String>>,
    pub(super) model: Option<String>,
    pub(super) wait: Option<Spanned<String>>,
    pub(super) readiness: Option<Spanned<String>>,
    pub(super) known_failures: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) capabilities: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) credentials: RawCredentials,
    pub(super) start: Option<Spanned<RawStart>>,
    #[serde(default)]
    pub(super) stop: RawStop,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawCredentials {
    pub(super) token: Option<Spanned<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawStart {
    pub(super) command: Option<Spanned<String>>,
    pub(super) container: Option<RawContainer>,
    pub(super) directory: Option<Spanned<String>>,
    pub(super) several: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, Spanned<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawContainer {
    pub(super) image: Spanned<String>,
    #[serde(default)]
    pub(super) command: Vec<String>,
    pub(super) entrypoint: Option<String>,
    #[serde(default)]
    pub(super) mounts: Vec<RawMount>,
    #[serde(default)]
    pub(super) ports: Vec<Spanned<i64>>,
    pub(super) user: Option<String>,
    pub(super) network: Option<String>,
    #[serde(default)]
    pub(super) gpus: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawMount {
    pub(super) from: Spanned<String>,
    pub(super) to: Spanned<String>,
    #[serde(default)]
    pub(super) read_only: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawStop {
    pub(super) signal: Option<Spanned<String>>,
    pub(super) grace: Option<Spanned<String>>,
}

/// A text, or the place where it is kept.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum RawValue {
    Text(String),
    Kept(RawKept),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawKept {
    pub(super) env: Option<String>,
    pub(super) file: Option<String>,
    pub(super) fresh: Option<String>,
}

/// The text may be a credential that stands where it must not.
impl fmt::Debug for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::Kept(kept) => kept.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = RawValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, { env = \"NAME\" } or { file = \"PATH\" }")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawValue, E> {
                Ok(RawValue::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawValue, A::Error> {
                RawKept::deserialize(MapAccessDeserializer::new(map)).map(RawValue::Kept)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Raw, BadTargetFile> {
    toml::from_str(text).map_err(|error| {
        let fault = Fault::Shape(without_text(error.message()));
        match error.span() {
            Some(place) => BadTargetFile::at(path, text, place, fault),
            None => BadTargetFile::new(path, None, fault),
        }
    })
}

/// A message that does not repeat the text which it found where another type belongs: it may be a credential.
fn without_text(message: &str) -> String {
    match (message.split_once("string \""), message.rsplit_once("\", expected ")) {
        (Some((before, _)), Some((_, expected))) => format!("{before}a text, expected {expected}"),
        _ => message.to_owned(),
    }
}
