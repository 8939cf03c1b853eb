//! What a target may say of itself that it can do, and which requirements that makes binding.
//!
//! Pure.

use std::fmt;

/// Something that the contract leaves free. What is declared and not given is a failure; what is not declared is not
/// asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// It loads adapters that a request names.
    Adapters,
    /// It loads a model ahead of time, by `load_model`.
    Load,
    /// It serves more than one model.
    SecondModel,
    /// It answers several requests on one stream.
    SeveralRequestsAStream,
    /// It speaks TLS.
    Tls,
    /// It unloads a model, by `unload_model`.
    Unload,
}

impl Capability {
    /// All of them, by name.
    pub const ALL: [Self; 6] = [
        Self::Adapters,
        Self::Load,
        Self::SecondModel,
        Self::SeveralRequestsAStream,
        Self::Tls,
        Self::Unload,
    ];

    /// The name in target files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Adapters => "adapters",
            Self::Load => "load",
            Self::SecondModel => "second_model",
            Self::SeveralRequestsAStream => "several_requests_a_stream",
            Self::Tls => "tls",
            Self::Unload => "unload",
        }
    }

    /// The requirements that are asked only where it is declared. Never a MUST: those can't be undeclared.
    pub const fn requirements(self) -> &'static [&'static str] {
        match self {
            Self::Adapters => &["ERROR-008"],
            Self::Load => &["CONTROL-009"],
            Self::SecondModel => &[],
            Self::SeveralRequestsAStream => &["STREAM-013"],
            Self::Tls => &["TRANSPORT-006"],
            Self::Unload => &["CONTROL-007", "CONTROL-008", "STREAM-016"],
        }
    }

    /// The one that decides whether a requirement is asked.
    pub fn of(requirement: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.requirements().contains(&requirement))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
