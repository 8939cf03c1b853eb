//! CONTROL: commands and their answers.

mod any_command;
mod fresh_trace_id;
mod list_models;
mod load_ahead;
mod ping;
mod trace_id;
mod unknown_command;
mod unload_needs_model;
mod unload_then_predict;
mod unload_unknown;
mod unload_while_running;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[
    &trace_id::REQUIREMENT,
    &fresh_trace_id::REQUIREMENT,
    &ping::REQUIREMENT,
    &list_models::REQUIREMENT,
    &unknown_command::REQUIREMENT,
    &unload_needs_model::REQUIREMENT,
    &unload_then_predict::REQUIREMENT,
    &unload_while_running::REQUIREMENT,
    &load_ahead::REQUIREMENT,
    &any_command::REQUIREMENT,
    &unload_unknown::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[];
