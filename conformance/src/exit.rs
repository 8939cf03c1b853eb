//! What an exit code means; the only place that knows the numbers.
//!
//! The lowest floor: imports nothing of this crate. Commands choose a kind; each kind has one number, and kinds that a
//! script treats alike share it.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The target is conformant, or the command did what was asked.
    Success,
    /// A MUST failed, a known failure passes now, or the run is strict and a SHOULD failed or a check was inconclusive.
    NonConformant,
    /// The candidate of a comparison is slower than the threshold allows.
    Slower,
    /// Generated files differ from what they are generated from.
    OutOfDate,
    /// Wrong usage or configuration, an empty selection among them.
    Usage,
    /// The target could not be reached or could not be started.
    Unreachable,
    /// The run came to its end, and nothing could be judged.
    NothingJudged,
    /// A comparison came to its end without an answer.
    Inconclusive,
    /// The suite itself is at fault, or a report could not be written.
    Harness,
    /// What was measured must not be used.
    InvalidFigures,
    /// Interrupted by the user.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::NonConformant | Self::Slower | Self::OutOfDate => 1,
            Self::Usage => 2,
            Self::Unreachable | Self::NothingJudged | Self::Inconclusive => 3,
            Self::Harness | Self::InvalidFigures => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
