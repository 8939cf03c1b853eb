//! SAMPLING: parameters.

mod any_legal;
mod bound_is_a_prefix;
mod defaults;
mod greedy_repeats;
mod illegal;
mod max_new_tokens;
mod negative_bound;
mod no_number;
mod repetition_penalty;
mod temperature;
mod top_p_above_one;
mod unset_is_documented;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[
    &defaults::REQUIREMENT,
    &max_new_tokens::REQUIREMENT,
    &greedy_repeats::REQUIREMENT,
    &negative_bound::REQUIREMENT,
    &no_number::REQUIREMENT,
    &top_p_above_one::REQUIREMENT,
    &temperature::REQUIREMENT,
    &repetition_penalty::REQUIREMENT,
    &any_legal::REQUIREMENT,
    &unset_is_documented::REQUIREMENT,
    &bound_is_a_prefix::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[];
