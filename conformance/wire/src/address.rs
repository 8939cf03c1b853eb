//! Where an endpoint is: a Unix socket or a host and port, with or without TLS, as people write it on a command line.

use std::{fmt, path::PathBuf, str::FromStr};

/// An endpoint's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// `unix:///abs/path`, `unix:/path` or a bare absolute path.
    Unix(PathBuf),
    /// `host:port` or `http://host:port`; `host` may be a bracketed IPv6 address.
    Tcp {
        /// Name or address, IPv6 without its brackets.
        host: String,
        /// Port number.
        port: u16,
    },
    /// `https://host:port`: TCP with TLS on it.
    Tls {
        /// Name or address, IPv6 without its brackets.
        host: String,
        /// Port number.
        port: u16,
    },
}

impl Address {
    /// The HTTP/2 `:authority` for calls to this address; gRPC uses `localhost` on Unix sockets.
    pub fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port } | Self::Tls { host, port } if host.contains(':') => {
                format!("[{host}]:{port}")
            }
            Self::Tcp { host, port } | Self::Tls { host, port } => format!("{host}:{port}"),
        }
    }

    /// What an HTTP/2 request's URI begins with: `:scheme` and `:authority`.
    pub fn origin(&self) -> String {
        let scheme = if self.is_tls() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Whether TLS is spoken there.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { .. } => f.write_str(&self.authority()),
            Self::Tls { .. } => f.write_str(&self.origin()),
        }
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |why| BadAddress { text: text.to_owned(), why };
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(bad("a Unix socket's path must be absolute"))
            };
        }
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let (tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://").unwrap_or(text)),
        };
        let rest = rest.trim_end_matches('/');
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| bad("the port is missing"))?;
        let port = port.parse().map_err(|_| bad("the port is not a number from 0 to 65535"))?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains('/') {
            return Err(bad("the host is missing"));
        }
        let host = host.to_owned();
        Ok(if tls { Self::Tls { host, port } } else { Self::Tcp { host, port } })
    }
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no address: {why}; expected unix:///abs/path, host:port, http://host:port or https://host:port"
)]
pub struct BadAddress {
    text: String,
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        for (text, shown) in [
            ("unix:///tmp/cy_sidecar.sock", "unix:///tmp/cy_sidecar.sock"),
            ("unix:/tmp/cy_sidecar.sock", "unix:///tmp/cy_sidecar.sock"),
            ("/tmp/cy_sidecar.sock", "unix:///tmp/cy_sidecar.sock"),
            ("http://localhost:50051", "localhost:50051"),
            ("localhost:50051", "localhost:50051"),
            ("[::1]:50051", "[::1]:50051"),
            ("https://localhost:50051", "https://localhost:50051"),
            ("https://[::1]:50051/", "https://[::1]:50051"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (text, why) in [
            ("localhost", "port is missing"),
            ("localhost:http", "not a number"),
            (":50051", "host is missing"),
            ("unix://relative.sock", "must be absolute"),
            ("https://host", "port is missing"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
