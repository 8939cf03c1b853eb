//! HEALTH: is it ready, who is it.

mod backend;
mod counters;
mod healthy;
mod many_at_once;
mod open;
mod quick_under_load;
mod quick_when_idle;
mod trace_id_optional;
mod version;
mod watch;

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
    &many_at_once::REQUIREMENT,
    &counters::REQUIREMENT,
    &watch::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[];
