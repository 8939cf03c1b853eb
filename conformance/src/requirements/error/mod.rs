//! ERROR: wrong input, limits.

mod adapter_path;
mod any_prompt;
mod beyond_context;
mod empty_model;
mod empty_prompt;
mod good_after_refused;
mod long_prompt;
mod no_such_adapter;
mod special_tokens;
mod tells_nothing;
mod unknown_model;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[
    &unknown_model::REQUIREMENT,
    &empty_model::REQUIREMENT,
    &long_prompt::REQUIREMENT,
    &beyond_context::REQUIREMENT,
    &empty_prompt::REQUIREMENT,
    &any_prompt::REQUIREMENT,
    &special_tokens::REQUIREMENT,
    &no_such_adapter::REQUIREMENT,
    &adapter_path::REQUIREMENT,
    &tells_nothing::REQUIREMENT,
    &good_after_refused::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[];
