//! All requirements, in the contract's order.

mod concurrency;
mod control;
mod error;
mod health;
mod sampling;
mod stream;
mod wire;

use crate::requirement::Requirement;

/// Every requirement there is: listing, docs, help and the self-test follow from this slice.
pub static ALL: &[&Requirement] = &[
    &wire::documented_name::REQUIREMENT,
    &wire::all_methods::REQUIREMENT,
    &wire::reflected_schema::REQUIREMENT,
    &wire::reflection_served::REQUIREMENT,
    &wire::unknown_fields::REQUIREMENT,
    &wire::unknown_method::REQUIREMENT,
    &wire::broken_message::REQUIREMENT,
    &wire::large_message::REQUIREMENT,
    &health::healthy::REQUIREMENT,
    &health::backend::REQUIREMENT,
    &health::version::REQUIREMENT,
    &health::quick_when_idle::REQUIREMENT,
    &health::quick_under_load::REQUIREMENT,
    &health::open::REQUIREMENT,
    &health::trace_id_optional::REQUIREMENT,
    &control::trace_id::REQUIREMENT,
    &control::fresh_trace_id::REQUIREMENT,
    &control::ping::REQUIREMENT,
    &control::list_models::REQUIREMENT,
    &control::unknown_command::REQUIREMENT,
    &control::unload_needs_model::REQUIREMENT,
    &stream::one_last_message::REQUIREMENT,
    &stream::nothing_after_last::REQUIREMENT,
    &stream::trace_id::REQUIREMENT,
    &stream::index_from_zero::REQUIREMENT,
    &stream::index_dense::REQUIREMENT,
    &stream::index_in_order::REQUIREMENT,
    &stream::streamed::REQUIREMENT,
    &stream::starts_at_once::REQUIREMENT,
    &stream::no_request::REQUIREMENT,
    &stream::fresh_trace_id::REQUIREMENT,
    &stream::whole_characters::REQUIREMENT,
    &stream::reaches_last_message::REQUIREMENT,
    &sampling::defaults::REQUIREMENT,
    &sampling::max_new_tokens::REQUIREMENT,
    &sampling::greedy_repeats::REQUIREMENT,
    &sampling::negative_bound::REQUIREMENT,
    &error::unknown_model::REQUIREMENT,
    &error::any_prompt::REQUIREMENT,
    &error::good_after_refused::REQUIREMENT,
    &concurrency::streams_apart::REQUIREMENT,
    &concurrency::cancel_frees::REQUIREMENT,
];
