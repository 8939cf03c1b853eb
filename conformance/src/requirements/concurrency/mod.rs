//! CONCURRENCY: many streams, cancel, deadline, overload.

mod abrupt_ends;
mod cancel_frees;
mod deadline;
mod gone_from_queue;
mod idle_streams;
mod no_starvation;
mod past_capacity;
mod paused_reader;
mod ping_under_load;
mod priority;
mod pushback;
mod same_in_a_crowd;
mod same_trace_id;
mod stalled_readers;
mod stopped_reader;
mod streams_apart;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[
    &streams_apart::REQUIREMENT,
    &same_in_a_crowd::REQUIREMENT,
    &cancel_frees::REQUIREMENT,
    &deadline::REQUIREMENT,
    &stopped_reader::REQUIREMENT,
    &past_capacity::REQUIREMENT,
    &priority::REQUIREMENT,
    &no_starvation::REQUIREMENT,
    &abrupt_ends::REQUIREMENT,
    &gone_from_queue::REQUIREMENT,
    &ping_under_load::REQUIREMENT,
    &pushback::REQUIREMENT,
    &idle_streams::REQUIREMENT,
    &paused_reader::REQUIREMENT,
    &same_trace_id::REQUIREMENT,
    &stalled_readers::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[];
