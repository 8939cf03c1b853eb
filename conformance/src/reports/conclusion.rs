//! The one sentence that a run comes down to. Pure.

use present::Tone;

use super::{cause::common_cause, outcome::Outcome, run::Run};
use crate::{
    events::{CheckResult, Verdict},
    vocabulary::Level,
};

/// Ids named in the sentence; the rest is counted.
const NAMED: usize = 8;

/// What a run comes down to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// For colours and counts.
    pub standing: Standing,
    /// For people.
    pub sentence: String,
}

/// Where the target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every MUST that was asked holds.
    Conformant,
    /// A MUST failed, or the list of known failures is stale.
    NotConformant,
    /// Nobody can say: interrupted, the suite broke, or nothing was seen.
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

    /// As a machine writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conformant => "conformant",
            Self::NotConformant => "not-conformant",
            Self::Unknown => "unknown",
        }
    }
}

/// What the run comes down to. A run that saw nothing is never conformant.
pub(super) fn conclude(run: &Run) -> Conclusion {
    let must = |wanted: fn(&CheckResult) -> bool| -> Vec<&str> {
        let of_must = run.results.iter().filter(|r| r.level == Level::Must);
        of_must.filter(|r| wanted(r)).map(|r| r.id.as_str()).collect()
    };
    let any = |outcome| -> Vec<&str> {
        run.results.iter().filter(|r| Outcome::of(r) == outcome).map(|r| r.id.as_str()).collect()
    };
    let failed = any(Outcome::Fail);
    let asked = must(|_| true).len();
    let judged = must(|r| matches!(r.verdict, Verdict::Pass | Verdict::Fail)).len();
    let held = must(|r| r.verdict == Verdict::Pass).len();
    let unseen = must(|r| r.verdict == Verdict::Inconclusive);
    let (stale, broken, known) = (any(Outcome::Stale), any(Outcome::Error), any(Outcome::Known));

    let cut_short = format!("cut short after {} of {} checks", run.results.len(), run.planned());
    let broke_off = run.finished.as_ref().and_then(|finished| finished.broke_off.as_deref());
    let (standing, sentence) = if let Some(why) = broke_off {
        let so_far = match failed.len() {
            0 => String::new(),
            n => format!(
                " ({n} of {} failed before: {})",
                plural(asked, "MUST requirement", "MUST requirements"),
                list(&failed)
            ),
        };
        (Standing::Unknown, format!("no verdict: {why}{so_far}"))
    } else if !failed.is_empty() {
        let are = plural(judged, "MUST requirement", "MUST requirements");
        let so_far = if run.complete() { String::new() } else { format!(" (the run was {cut_short})") };
        let cause = common_cause(&run.results).map_or_else(String::new, |(explained, of, cause)| {
            format!("one cause explains {explained} of {of} failures: {cause} ")
        });
        let sentence =
            format!("{cause}NOT conformant: {} of {are} failed: {}{so_far}", failed.len(), list(&failed));
        (Standing::NotConformant, sentence)
    } else if !run.complete() {
        (Standing::Unknown, format!("no verdict: the run was {cut_short}"))
    } else if !broken.is_empty() {
        let checks = plural(broken.len(), "check", "checks");
        (Standing::Unknown, format!("no verdict: the suite itself broke in {checks}: {}", list(&broken)))
    } else if held == 0 && known.is_empty() {
        (Standing::Unknown, nothing_held(run, asked))
    } else if !stale.is_empty() {
        let sentence = format!("NOT as listed: known failures that pass now: {}", list(&stale));
        (Standing::NotConformant, sentence)
    } else if !unseen.is_empty() {
        let so_many = plural(held, "MUST requirement holds", "MUST requirements hold");
        let sentence = format!(
            "conformant as far as could be seen: {so_many}, {} could not be judged: {}",
            unseen.len(),
            list(&unseen)
        );
        (Standing::Conformant, sentence)
    } else if known.is_empty() {
        let all = if held == 1 {
            "the one MUST requirement that was asked holds".to_owned()
        } else {
            format!("all {held} MUST requirements hold")
        };
        (Standing::Conformant, format!("conformant: {all}"))
    } else {
        let so_many = plural(held, "MUST requirement holds", "MUST requirements hold");
        let failures = plural(known.len(), "known failure", "known failures");
        (Standing::Conformant, format!("conformant but for {failures} ({}): {so_many}", list(&known)))
    };
    Conclusion { standing, sentence }
}

/// No MUST failed, and none was seen to hold.
fn nothing_held(run: &Run, asked: usize) -> String {
    let held = run.results.iter().filter(|r| r.verdict == Verdict::Pass).count();
    if asked == 0 && held > 0 {
        let others = run.results.len();
        return format!("no verdict: no MUST requirement was asked; others that hold: {held} of {others}");
    }
    "no verdict: no MUST requirement was seen to hold".to_owned()
}

fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn list(ids: &[&str]) -> String {
    let named = ids.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match ids.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
