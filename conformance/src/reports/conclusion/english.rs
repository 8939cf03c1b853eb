//! The conclusion in English. Pure.

use super::{Case, Tally, named};

pub(super) fn sentence(case: Case, tally: &Tally<'_>) -> String {
    let must_hold = counted(tally.held, "MUST requirement holds", "MUST requirements hold");
    let cut_short = format!("cut short after {} of {} checks", tally.results, tally.planned);
    let main = match case {
        Case::BrokeOff => {
            let why = tally.broke_off.unwrap_or_default();
            let asked = counted(tally.asked_must, "MUST requirement", "MUST requirements");
            let so_far = match tally.failed.len() {
                0 => String::new(),
                failed => format!(" ({failed} of {asked} failed before: {})", list(&tally.failed)),
            };
            format!("no verdict: {why}{so_far}")
        }
        Case::MustFailed => {
            let judged = counted(tally.judged, "MUST requirement", "MUST requirements");
            let so_far = if tally.cut_short { format!(" (the run was {cut_short})") } else { String::new() };
            let (failed, ids) = (tally.failed.len(), list(&tally.failed));
            let shared = tally.cause.map_or_else(String::new, |cause| {
                format!("one cause explains {} of {} failures: {} ", cause.explained, cause.of, cause.english)
            });
            format!("{shared}NOT conformant: {failed} of {judged} failed: {ids}{so_far}")
        }
        Case::CutShort => format!("no verdict: the run was {cut_short}"),
        Case::SuiteBroke => {
            let checks = counted(tally.broken.len(), "check", "checks");
            format!("no verdict: the suite itself broke in {checks}: {}", list(&tally.broken))
        }
        Case::StaleKnownFailure => {
            format!("NOT as listed: known failures that pass now: {}", list(&tally.stale))
        }
        Case::NotStrictly => format!("NOT conformant with --strict: {}", strictly(tally).join("; ")),
        Case::NoMustAsked => {
            let (held, of) = (tally.held_of_any_level, tally.results);
            format!("no verdict: no MUST requirement was asked; others that hold: {held} of {of}")
        }
        Case::NothingHeld => "no verdict: no MUST requirement was seen to hold".to_owned(),
        Case::PartlyUnseen => {
            let (unseen, ids) = (tally.unseen_must.len(), list(&tally.unseen_must));
            format!("conformant as far as could be seen: {must_hold}, {unseen} could not be judged: {ids}")
        }
        Case::ConformantButForKnown => {
            return format!("conformant but for {}: {must_hold}", known(tally).join(" and "));
        }
        Case::Conformant if tally.held == 1 => {
            "conformant: the one MUST requirement that was asked holds".to_owned()
        }
        Case::Conformant => format!("conformant: all {} MUST requirements hold", tally.held),
    };
    let mut also = Vec::new();
    if case == Case::MustFailed && !tally.broken.is_empty() {
        let checks = counted(tally.broken.len(), "check", "checks");
        also.push(format!("the suite itself broke in {checks}: {}", list(&tally.broken)));
    }
    if case == Case::MustFailed && !tally.stale.is_empty() {
        also.push(format!("known failures that pass now: {}", list(&tally.stale)));
    }
    let known = known(tally);
    if !known.is_empty() {
        also.push(format!("tolerated: {}", known.join(" and ")));
    }
    std::iter::once(main).chain(also).collect::<Vec<_>>().join("; ")
}

/// What makes a strict run red.
fn strictly(tally: &Tally<'_>) -> Vec<String> {
    let warned = counted(tally.warned.len(), "SHOULD or MAY requirement", "SHOULD or MAY requirements");
    let unseen = counted(tally.unseen.len(), "check was", "checks were");
    let mut parts = Vec::new();
    if !tally.warned.is_empty() {
        parts.push(format!("{warned} failed: {}", list(&tally.warned)));
    }
    if !tally.unseen.is_empty() {
        parts.push(format!("{unseen} inconclusive: {}", list(&tally.unseen)));
    }
    parts
}

/// What is known and tolerated.
fn known(tally: &Tally<'_>) -> Vec<String> {
    let failures = counted(tally.known.len(), "known failure", "known failures");
    let unseen = counted(tally.known_unseen.len(), "known inconclusive check", "known inconclusive checks");
    let mut parts = Vec::new();
    if !tally.known.is_empty() {
        parts.push(format!("{failures} ({})", list(&tally.known)));
    }
    if !tally.known_unseen.is_empty() {
        parts.push(format!("{unseen} ({})", list(&tally.known_unseen)));
    }
    parts
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn list(ids: &[&str]) -> String {
    let (ids, more) = named(ids);
    let ids = ids.join(", ");
    if more == 0 { ids } else { format!("{ids} and {more} more") }
}
