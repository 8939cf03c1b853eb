//! The words in which requirements are described.
//!
//! The lowest floor: imports nothing of this crate.

use std::fmt;

use ai_inference_proto::Dialect;
use serde::{Deserialize, Serialize};

/// How strongly a requirement binds, by the words of RFC 2119.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// A failure makes the endpoint non-conformant.
    Must,
    /// A failure is a warning, unless the run is strict.
    Should,
    /// A failure is reported as a warning.
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

/// What a check needs of the target and of the run besides an address. Without it the check cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// A token that the target asks for.
    Token,
    /// The target's process is started, signalled and stopped by the run.
    Managed,
    /// A Unix socket and a TCP port of the same target.
    SocketAndPort,
    /// A certificate for TLS.
    Tls,
    /// The target forwards to an endpoint that the suite serves.
    Downstream,
    /// An HTTP front.
    Http,
    /// The target trusts an issuer of tokens that the suite serves.
    Issuer,
    /// The target's audit rows can be read.
    Database,
}

/// What may go on at the target while a check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Other checks may run beside it.
    Shared,
    /// No load beside it: it measures time, or compares what load may change.
    Quiet,
    /// Nothing beside it: it fills the target, or changes what the target serves.
    Exclusive,
}

/// When a check begins, of those that may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Begins {
    /// Before the others: it takes seconds by its nature.
    First,
    /// In the contract's order.
    InTurn,
    /// When all others have ended: it judges what they have heard.
    Last,
}

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Every MUST of the given roles.
    Core,
    /// Everything; a SHOULD or MAY that fails is a warning.
    Full,
    /// As `full`, but `cy.llm` is the documented name: WIRE-001 is not asked.
    Deployed,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Server, Self::Proxy, Self::Gateway, Self::Enterprise];
}

impl Profile {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Full => "full",
            Self::Deployed => "deployed",
        }
    }

    /// The dialect whose service name the documentation promises.
    pub const fn documented(self) -> Dialect {
        match self {
            Self::Core | Self::Full => Dialect::Contract,
            Self::Deployed => Dialect::CyLlm,
        }
    }
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

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "a token",
            Self::Managed => "a managed process",
            Self::SocketAndPort => "a socket and a port",
            Self::Tls => "TLS",
            Self::Downstream => "a downstream",
            Self::Http => "HTTP",
            Self::Issuer => "an issuer",
            Self::Database => "a database",
        })
    }
}

impl Need {
    /// How a run is given it.
    pub const fn given_by(self) -> &'static str {
        match self {
            Self::Token => "say it with CONFORMANCE_TOKEN, or in the target file",
            Self::Managed => {
                "let the run start the target by a command, with --spawn or in the target file, and without --repeat"
            }
            Self::SocketAndPort => "give --target twice, with the socket and with the port",
            Self::Tls => "give --target https://host:port",
            Self::Downstream | Self::Http | Self::Issuer | Self::Database => {
                "this version cannot be given it"
            }
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Quiet => "quiet",
            Self::Exclusive => "exclusive",
        })
    }
}
