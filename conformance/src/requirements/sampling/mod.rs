//! SAMPLING: parameters.

mod defaults;
mod greedy_repeats;
mod max_new_tokens;
mod negative_bound;
mod unset_is_documented;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[
    &defaults::REQUIREMENT,
    &max_new_tokens::REQUIREMENT,
    &greedy_repeats::REQUIREMENT,
    &negative_bound::REQUIREMENT,
    &unset_is_documented::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[
    ("SAMPLING-005", "no check is written yet"),
    ("SAMPLING-006", "no check is written yet"),
    ("SAMPLING-007", "no check is written yet"),
    ("SAMPLING-008", "no check is written yet"),
    ("SAMPLING-009", "no check is written yet"),
    ("SAMPLING-011", "no check is written yet"),
];
