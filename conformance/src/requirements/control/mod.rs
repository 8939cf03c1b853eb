//! CONTROL: commands and their answers.

mod fresh_trace_id;
mod list_models;
mod ping;
mod trace_id;
mod unknown_command;
mod unload_needs_model;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[
    &trace_id::REQUIREMENT,
    &fresh_trace_id::REQUIREMENT,
    &ping::REQUIREMENT,
    &list_models::REQUIREMENT,
    &unknown_command::REQUIREMENT,
    &unload_needs_model::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[
    ("CONTROL-007", "no check is written yet"),
    ("CONTROL-008", "no check is written yet"),
    ("CONTROL-009", "no check is written yet"),
    ("CONTROL-010", "no check is written yet"),
    ("CONTROL-011", "no check is written yet"),
];
