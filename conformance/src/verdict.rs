//! How a check ends, and whose fault it is when it does not pass.
//!
//! The lowest floor: imports nothing of this crate.

/// How a check ends: `Ok` is a pass, if anything was asserted at all.
pub type Judgement = Result<(), NotPassed>;

/// Why a check did not pass. Blame is in the type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotPassed {
    /// The target broke the requirement; the words say how.
    Fail(String),
    /// The requirement does not apply to this target or run; the words say why.
    Skip(String),
    /// The check could not see; the words say what hid the answer.
    Inconclusive(String),
    /// The suite itself is at fault, not the target.
    Harness(String),
}

impl NotPassed {
    /// Puts the circumstance before a failure's words.
    #[must_use]
    pub fn when(self, circumstance: &str) -> Self {
        match self {
            Self::Fail(why) => Self::Fail(format!("{circumstance}, {why}")),
            other => other,
        }
    }
}
