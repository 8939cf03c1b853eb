//! ERROR: wrong input, limits.

mod any_prompt;
mod good_after_refused;
mod unknown_model;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] =
    &[&unknown_model::REQUIREMENT, &any_prompt::REQUIREMENT, &good_after_refused::REQUIREMENT];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[
    ("ERROR-002", "no check is written yet"),
    ("ERROR-003", "no check is written yet"),
    ("ERROR-004", "no check is written yet"),
    ("ERROR-005", "no check is written yet"),
    ("ERROR-007", "no check is written yet"),
    ("ERROR-008", "no check is written yet"),
    ("ERROR-009", "no check is written yet"),
    ("ERROR-010", "no check is written yet"),
];
