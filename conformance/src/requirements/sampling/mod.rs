//! SAMPLING: parameters.

pub(super) mod defaults;
pub(super) mod greedy_repeats;
pub(super) mod max_new_tokens;
pub(super) mod negative_bound;
