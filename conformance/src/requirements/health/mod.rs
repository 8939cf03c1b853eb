//! HEALTH: is it ready, who is it.

pub(super) mod backend;
pub(super) mod healthy;
pub(super) mod open;
pub(super) mod quick_under_load;
pub(super) mod quick_when_idle;
pub(super) mod trace_id_optional;
pub(super) mod version;
