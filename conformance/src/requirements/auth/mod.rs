//! AUTH: what an endpoint does with a token, where it asks for one.

mod refusals;
mod refused_at_once;
mod right_token;
mod two_values;
mod without_token;
mod wrong_token;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[
    &without_token::REQUIREMENT,
    &wrong_token::REQUIREMENT,
    &right_token::REQUIREMENT,
    &refused_at_once::REQUIREMENT,
    &two_values::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[];
