//! The ways to write where a server listens.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::Deserialize;
use thiserror::Error;

/// A Unix socket or a TCP port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Address {
    /// `unix:///abs/path` or `unix:/path`.
    Unix(PathBuf),
    /// `host:port` or `http://host:port`; the host may be a name.
    Tcp(String),
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected unix:///abs/path, unix:/path, http://host:port or host:port")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(AddressError) } else { Ok(Self::Unix(path.into())) };
        }
        let tcp = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = tcp.rsplit_once(':').ok_or(AddressError)?;
        if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
            return Err(AddressError);
        }
        Ok(Self::Tcp(tcp.to_owned()))
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

/// A TCP port only: what answers plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TcpAddress(String);

/// Text that is no TCP address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected host:port")]
pub struct TcpAddressError;

impl TcpAddress {
    /// The address as `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TcpAddress {
    type Err = TcpAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(Address::Tcp(tcp)) => Ok(Self(tcp)),
            _ => Err(TcpAddressError),
        }
    }
}

impl TryFrom<String> for TcpAddress {
    type Error = TcpAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        let unix = Ok(Address::Unix("/run/a.sock".into()));
        assert_eq!("unix:///run/a.sock".parse(), unix);
        assert_eq!("unix:/run/a.sock".parse(), unix);
        let tcp = Ok(Address::Tcp("127.0.0.1:50051".to_owned()));
        assert_eq!("127.0.0.1:50051".parse(), tcp);
        assert_eq!("http://127.0.0.1:50051".parse(), tcp);
        assert_eq!("http://127.0.0.1:50051/".parse(), tcp);
        assert_eq!("[::1]:0".parse(), Ok(Address::Tcp("[::1]:0".to_owned())));
    }

    #[test]
    fn metrics_are_answered_on_tcp_only() {
        assert_eq!("127.0.0.1:0".parse(), Ok(TcpAddress("127.0.0.1:0".to_owned())));
        assert_eq!("unix:///run/a.sock".parse::<TcpAddress>(), Err(TcpAddressError));
    }

    #[test]
    fn others_are_refused() {
        for text in ["", "unix:", "localhost", "host:port", ":1", "https://a:1", "a:65536", "http://a/b:1"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text}");
        }
    }
}
