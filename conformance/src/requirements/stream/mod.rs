//! STREAM: the shape of one generation.

mod fresh_trace_id;
mod index_dense;
mod index_from_zero;
mod index_in_order;
mod model_alone;
mod no_request;
mod nothing_after_last;
mod one_last_message;
mod own_timings;
mod reaches_last_message;
mod several_requests;
mod starts_at_once;
mod streamed;
mod trace_id;
mod trace_id_in_use;
mod whole_characters;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[
    &one_last_message::REQUIREMENT,
    &nothing_after_last::REQUIREMENT,
    &trace_id::REQUIREMENT,
    &index_from_zero::REQUIREMENT,
    &index_dense::REQUIREMENT,
    &index_in_order::REQUIREMENT,
    &streamed::REQUIREMENT,
    &starts_at_once::REQUIREMENT,
    &no_request::REQUIREMENT,
    &fresh_trace_id::REQUIREMENT,
    &whole_characters::REQUIREMENT,
    &reaches_last_message::REQUIREMENT,
    &several_requests::REQUIREMENT,
    &trace_id_in_use::REQUIREMENT,
    &own_timings::REQUIREMENT,
    &model_alone::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[];
