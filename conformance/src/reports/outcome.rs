//! How a result is shown: one word and one symbol for each way in which a check can end.

use present::Tone;
use serde::Serialize;

use super::language::Language;
use crate::{
    events::{CheckResult, Verdict},
    vocabulary::Level,
};

/// How a result is shown. Finer than [`Verdict`]: a failure can be a warning or a known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A MUST failed.
    Fail,
    /// The suite's own fault.
    Error,
    /// Listed as a known failure, and passes: the list is wrong.
    Stale,
    /// A SHOULD or MAY failed.
    Warn,
    /// The check could not see.
    Inconclusive,
    /// Failed, as listed.
    Known,
    /// Inconclusive, as listed or because of a known failure.
    #[serde(rename = "known-inconclusive")]
    KnownInconclusive,
    /// The requirement was not asked.
    Skip,
    /// The requirement holds.
    Pass,
}

impl Outcome {
    /// All, worst first.
    pub const ALL: [Self; 9] = [
        Self::Fail,
        Self::Error,
        Self::Stale,
        Self::Warn,
        Self::Inconclusive,
        Self::Known,
        Self::KnownInconclusive,
        Self::Skip,
        Self::Pass,
    ];

    /// How this result is shown.
    pub fn of(result: &CheckResult) -> Self {
        match result.verdict {
            Verdict::Pass if result.known => Self::Stale,
            Verdict::Pass => Self::Pass,
            Verdict::Fail if result.known => Self::Known,
            Verdict::Fail if result.level == Level::Must => Self::Fail,
            Verdict::Fail => Self::Warn,
            Verdict::Skip => Self::Skip,
            Verdict::Inconclusive if result.known => Self::KnownInconclusive,
            Verdict::Inconclusive => Self::Inconclusive,
            Verdict::Error => Self::Error,
        }
    }

    /// Whether it makes a run red.
    pub fn is_red(self, strict: bool) -> bool {
        match self {
            Self::Fail | Self::Error | Self::Stale => true,
            Self::Warn | Self::Inconclusive => strict,
            Self::Known | Self::KnownInconclusive | Self::Skip | Self::Pass => false,
        }
    }

    /// The colour it is shown in.
    pub(super) fn tone(self) -> Tone {
        match self {
            Self::Pass => Tone::Good,
            Self::Fail | Self::Stale => Tone::Bad,
            Self::Error => Tone::OwnFault,
            Self::Warn | Self::Inconclusive => Tone::Doubtful,
            Self::Known | Self::KnownInconclusive | Self::Skip => Tone::Quiet,
        }
    }

    /// Heads a column: "warnings".
    pub fn word(self) -> &'static str {
        match self {
            Self::Fail => "failed",
            Self::Error => "suite errors",
            Self::Stale => "stale",
            Self::Warn => "warnings",
            Self::Inconclusive => "inconclusive",
            Self::Known => "known failures",
            Self::KnownInconclusive => "known inconclusive",
            Self::Skip => "skipped",
            Self::Pass => "passed",
        }
    }

    /// Heads a column, in a reader's language.
    pub(super) fn word_in(self, language: Language) -> &'static str {
        let chinese = match self {
            Self::Fail => "失败",
            Self::Error => "套件错误",
            Self::Stale => "清单过期",
            Self::Warn => "警告",
            Self::Inconclusive => "无法判定",
            Self::Known => "已知失败",
            Self::KnownInconclusive => "已知无法判定",
            Self::Skip => "跳过",
            Self::Pass => "通过",
        };
        language.pick(self.word(), chinese)
    }

    /// In a count, in a reader's language.
    pub(super) fn counted_in(self, n: usize, language: Language) -> String {
        match language {
            Language::English => self.counted(n),
            Language::Chinese => format!("{n} 项{}", self.word_in(language)),
        }
    }

    /// In a count: "1 warning", "3 failed".
    pub fn counted(self, n: usize) -> String {
        let word = if n == 1 { self.word().trim_end_matches('s') } else { self.word() };
        format!("{n} {word}")
    }

    /// The words for one result, such as "MUST failed".
    pub fn said_of(self, level: Level) -> String {
        match self {
            Self::Fail => format!("{level} failed"),
            Self::Error => format!("the suite itself broke ({level} not judged)"),
            Self::Stale => format!("passed, but is listed as a known failure ({level})"),
            Self::Warn => format!("{level} not met"),
            Self::Inconclusive => format!("inconclusive ({level})"),
            Self::Known => format!("{level} failed, as listed"),
            Self::KnownInconclusive => format!("inconclusive, for a known reason ({level})"),
            Self::Skip => format!("skipped ({level})"),
            Self::Pass => format!("passed ({level})"),
        }
    }

    /// One column wide; never the only sign, a word is always beside it.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Fail | Self::Error => "✗",
            Self::Stale | Self::Warn | Self::Known => "!",
            Self::Inconclusive | Self::KnownInconclusive => "?",
            Self::Skip => "–",
            Self::Pass => "✓",
        }
    }

    /// The name in reports for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Stale => "stale",
            Self::Warn => "warn",
            Self::Inconclusive => "inconclusive",
            Self::Known => "known",
            Self::KnownInconclusive => "known-inconclusive",
            Self::Skip => "skip",
            Self::Pass => "pass",
        }
    }
}
