//! The one sentence that a run comes down to, and the exit code that says the same. Pure.
//!
//! Talks to: [`super::run`]. Which case a run is, is decided here; the words are in `conclusion/english.rs` and
//! `conclusion/chinese.rs`.

mod chinese;
mod english;

use present::Tone;

use super::{
    cause::{Cause, common_cause},
    language::Language,
    outcome::Outcome,
    run::Run,
};
use crate::{
    events::{CheckResult, Verdict},
    exit::Exit,
    vocabulary::Level,
};

/// What a run comes down to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// The standing, for colours and counts.
    pub standing: Standing,
    /// The conclusion as a sentence for users.
    pub sentence: String,
    /// For scripts: how the program ends.
    pub exit: Exit,
}

/// Where the target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every MUST that was asked holds.
    Conformant,
    /// A MUST failed, the list of known failures is stale, or a strict run saw less than everything hold.
    NotConformant,
    /// There is no verdict: the run was interrupted, the suite broke, or nothing was seen.
    Unknown,
}

impl Standing {
    /// The colour it is shown in.
    pub(super) fn tone(self) -> Tone {
        match self {
            Self::Conformant => Tone::Good,
            Self::NotConformant => Tone::Bad,
            Self::Unknown => Tone::Doubtful,
        }
    }

    /// The name in reports for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conformant => "conformant",
            Self::NotConformant => "not-conformant",
            Self::Unknown => "unknown",
        }
    }
}

/// Which kind of end a run had; the first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    BrokeOff,
    MustFailed,
    CutShort,
    SuiteBroke,
    StaleKnownFailure,
    NotStrictly,
    NoMustAsked,
    NothingHeld,
    PartlyUnseen,
    ConformantButForKnown,
    Conformant,
}

/// What the sentence needs to know of a run: ids by outcome, and counts of MUST requirements.
#[derive(Debug, Default)]
struct Tally<'a> {
    failed: Vec<&'a str>,
    broken: Vec<&'a str>,
    stale: Vec<&'a str>,
    warned: Vec<&'a str>,
    unseen: Vec<&'a str>,
    unseen_must: Vec<&'a str>,
    known: Vec<&'a str>,
    known_unseen: Vec<&'a str>,
    /// MUST requirements that were judged, and those of them that hold.
    judged: usize,
    held: usize,
    asked_must: usize,
    /// Requirements of any level that hold.
    held_of_any_level: usize,
    results: usize,
    planned: usize,
    cut_short: bool,
    /// Why the rest could not be judged: the target went away.
    broke_off: Option<&'a str>,
    /// What most failures have in common.
    cause: Option<Cause>,
}

/// What the run comes down to. A run that saw nothing is never conformant.
pub(super) fn conclude(run: &Run, language: Language) -> Conclusion {
    let tally = Tally::of(run);
    let case = tally.case(run.strict());
    let sentence = match language {
        Language::English => english::sentence(case, &tally),
        Language::Chinese => chinese::sentence(case, &tally),
    };
    Conclusion { standing: case.standing(), sentence, exit: exit(case, &tally, run) }
}

/// An interruption comes first, then a target that went away, then the suite's own fault: what was judged before is in
/// the sentence.
fn exit(case: Case, tally: &Tally<'_>, run: &Run) -> Exit {
    match &run.finished {
        Some(finished) if finished.interrupted => return Exit::Interrupted,
        None => return Exit::Harness,
        Some(_) if case == Case::BrokeOff => return Exit::Unreachable,
        Some(_) if !tally.broken.is_empty() => return Exit::Harness,
        Some(_) => {}
    }
    match case {
        Case::BrokeOff => Exit::Unreachable,
        Case::MustFailed | Case::StaleKnownFailure | Case::NotStrictly => Exit::NonConformant,
        Case::CutShort | Case::SuiteBroke => Exit::Harness,
        Case::NothingHeld if tally.warned.is_empty() && tally.held_of_any_level == 0 => Exit::NothingJudged,
        Case::NothingHeld
        | Case::NoMustAsked
        | Case::PartlyUnseen
        | Case::ConformantButForKnown
        | Case::Conformant => Exit::Success,
    }
}

impl Case {
    fn standing(self) -> Standing {
        match self {
            Self::MustFailed | Self::StaleKnownFailure | Self::NotStrictly => Standing::NotConformant,
            Self::BrokeOff | Self::CutShort | Self::SuiteBroke | Self::NoMustAsked | Self::NothingHeld => {
                Standing::Unknown
            }
            Self::PartlyUnseen | Self::ConformantButForKnown | Self::Conformant => Standing::Conformant,
        }
    }
}

impl<'a> Tally<'a> {
    fn of(run: &'a Run) -> Self {
        let any = |wanted: Outcome| -> Vec<&str> {
            run.results.iter().filter(|r| Outcome::of(r) == wanted).map(|r| r.id.as_str()).collect()
        };
        let count = |wanted: fn(&CheckResult) -> bool| run.results.iter().filter(|r| wanted(r)).count();
        let unseen_must = run
            .results
            .iter()
            .filter(|r| r.level == Level::Must && Outcome::of(r) == Outcome::Inconclusive)
            .map(|r| r.id.as_str());
        Self {
            failed: any(Outcome::Fail),
            broken: any(Outcome::Error),
            stale: any(Outcome::Stale),
            warned: any(Outcome::Warn),
            unseen: any(Outcome::Inconclusive),
            unseen_must: unseen_must.collect(),
            known: any(Outcome::Known),
            known_unseen: any(Outcome::KnownInconclusive),
            judged: count(|r| r.level == Level::Must && matches!(r.verdict, Verdict::Pass | Verdict::Fail)),
            held: count(|r| r.level == Level::Must && r.verdict == Verdict::Pass),
            asked_must: count(|r| r.level == Level::Must),
            held_of_any_level: count(|r| r.verdict == Verdict::Pass),
            results: run.results.len(),
            planned: run.planned(),
            cut_short: !run.complete(),
            broke_off: run.finished.as_ref().and_then(|finished| finished.broke_off.as_deref()),
            cause: common_cause(&run.results),
        }
    }

    fn case(&self, strict: bool) -> Case {
        let unmet = self.warned.len() + self.unseen.len();
        if self.broke_off.is_some() {
            Case::BrokeOff
        } else if !self.failed.is_empty() {
            Case::MustFailed
        } else if self.cut_short {
            Case::CutShort
        } else if !self.broken.is_empty() {
            Case::SuiteBroke
        } else if !self.stale.is_empty() {
            Case::StaleKnownFailure
        } else if strict && unmet > 0 {
            Case::NotStrictly
        } else if self.held == 0 && self.known.is_empty() {
            let only_others = self.asked_must == 0 && self.held_of_any_level > 0;
            if only_others { Case::NoMustAsked } else { Case::NothingHeld }
        } else if !self.unseen_must.is_empty() {
            Case::PartlyUnseen
        } else if self.known.len() + self.known_unseen.len() > 0 {
            Case::ConformantButForKnown
        } else {
            Case::Conformant
        }
    }
}

/// The first ids, and how many more there are.
fn named<'a>(ids: &[&'a str]) -> (Vec<&'a str>, usize) {
    (ids.iter().take(NAMED).copied().collect(), ids.len().saturating_sub(NAMED))
}

/// Ids named in the sentence; the rest is counted.
const NAMED: usize = 8;
