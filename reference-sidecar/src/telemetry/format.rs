//! Which log lines are written, and how.

use std::{fmt, str::FromStr};

use thiserror::Error;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// A format's name that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected `text` or `json`")]
pub struct LogFormatError;

impl LogFormat {
    /// The name, as the user writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl FromStr for LogFormat {
    type Err = LogFormatError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Text, Self::Json].into_iter().find(|format| format.name() == name).ok_or(LogFormatError)
    }
}

/// A filter that can be used, as it was written: `info`, `warn,reference_sidecar=debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// Text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "no filter ({0}): expected a level (error, warn, info, debug, trace) or module=level, separated by commas"
)]
pub struct LogFilterError(String);

impl LogFilter {
    /// The filter as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn to_filter(&self) -> EnvFilter {
        parse(&self.0).unwrap_or_default()
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A word alone is a module to the parser, and everything that it says would be written.
        let mut alone = text.split(',').map(str::trim).filter(|part| !part.contains(['=', '[']));
        if let Some(other) = alone.find(|word| word.parse::<LevelFilter>().is_err()) {
            return Err(LogFilterError(format!("{other:?} is no level")));
        }
        parse(text).map(|_| Self(text.to_owned())).map_err(|error| LogFilterError(error.to_string()))
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse(text: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(format!("{QUIET},{text}"))
}

/// ONNX Runtime and the transport say at `info` what only their developers need; naming them in the filter undoes it.
const QUIET: &str = "ort=warn,h2=warn,hyper=warn,tonic=warn,opentelemetry=warn";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_mistakes_refused() {
        for good in ["info", "warn,reference_sidecar=trace", "off", "reference_sidecar::access=off"] {
            assert_eq!(good.parse::<LogFilter>().unwrap().as_str(), good);
        }
        for bad in ["reference_sidecar=loud", "a=b=c", "loud", "info,reference_sidecar"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad}");
        }
    }
}
