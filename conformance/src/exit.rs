//! What an exit code means; the only place that knows the numbers.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Conformant; or the command did what was asked.
    Success,
    /// A MUST failed; or, with `--strict`, a SHOULD failed or a check was inconclusive; or the candidate is slower.
    NonConformant,
    /// Wrong usage or configuration, an empty selection among them.
    Usage,
    /// The target could not be reached, or the run could not be completed, or a comparison was inconclusive.
    Unreachable,
    /// The suite itself is at fault, or what was measured is invalid.
    Harness,
    /// Interrupted by the user.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::NonConformant => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Harness => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
