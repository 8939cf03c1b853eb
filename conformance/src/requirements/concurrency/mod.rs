//! CONCURRENCY: many streams, cancel, deadline, overload.

mod cancel_frees;
mod streams_apart;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[&streams_apart::REQUIREMENT, &cancel_frees::REQUIREMENT];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[
    ("CONCURRENCY-002", "no check is written yet"),
    ("CONCURRENCY-004", "no check is written yet"),
    ("CONCURRENCY-005", "no check is written yet"),
    ("CONCURRENCY-006", "no check is written yet"),
    ("CONCURRENCY-007", "no check is written yet"),
    ("CONCURRENCY-008", "no check is written yet"),
    ("CONCURRENCY-009", "no check is written yet"),
    ("CONCURRENCY-010", "no check is written yet"),
    ("CONCURRENCY-011", "no check is written yet"),
    ("CONCURRENCY-012", "no check is written yet"),
    ("CONCURRENCY-013", "no check is written yet"),
    ("CONCURRENCY-014", "no check is written yet"),
    ("CONCURRENCY-015", "no check is written yet"),
    ("CONCURRENCY-016", "no check is written yet"),
];
