//! The words in which requirements are described.
//!
//! The lowest floor: imports nothing of this crate.

use std::fmt;

use serde::{Deserialize, Serialize};

/// RFC 2119.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// A failure makes the endpoint non-conformant.
    Must,
    /// A failure is a warning, unless the run is strict.
    Should,
    /// Reported.
    May,
}

/// What an endpoint can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Answers the three RPCs.
    Server,
    /// Stands between a client and a server.
    Proxy,
    /// Offers HTTP in front of an endpoint.
    Gateway,
    /// OAuth2, tenants, audit.
    Enterprise,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Proxy => "proxy",
            Self::Gateway => "gateway",
            Self::Enterprise => "enterprise",
        })
    }
}
