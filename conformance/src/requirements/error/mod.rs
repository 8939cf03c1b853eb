//! ERROR: wrong input, limits.

pub(super) mod any_prompt;
pub(super) mod good_after_refused;
pub(super) mod unknown_model;
