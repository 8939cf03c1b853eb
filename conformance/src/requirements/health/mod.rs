//! HEALTH: is it ready, who is it.

mod backend;
mod healthy;
mod open;
mod quick_under_load;
mod quick_when_idle;
mod trace_id_optional;
mod version;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[
    &healthy::REQUIREMENT,
    &backend::REQUIREMENT,
    &version::REQUIREMENT,
    &quick_when_idle::REQUIREMENT,
    &quick_under_load::REQUIREMENT,
    &open::REQUIREMENT,
    &trace_id_optional::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[
    ("HEALTH-008", "no check is written yet"),
    ("HEALTH-009", "no check is written yet"),
    ("HEALTH-010", "no check is written yet"),
];
