//! TRANSPORT: the ways to reach a server, and how it starts and ends.

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[
    ("TRANSPORT-001", "no check is written yet: needs a socket and a port of one target"),
    ("TRANSPORT-002", "no check is written yet"),
    ("TRANSPORT-003", "no check is written yet: needs a target that the run starts and stops itself"),
    ("TRANSPORT-004", "no check is written yet: needs a target that the run starts and stops itself"),
    ("TRANSPORT-005", "no check is written yet: needs a target that the run starts and stops itself"),
    ("TRANSPORT-006", "no check is written yet: needs certificates"),
    ("TRANSPORT-007", "no check is written yet"),
    ("TRANSPORT-008", "no check is written yet"),
    ("TRANSPORT-009", "no check is written yet: needs a target that the run starts and stops itself"),
    ("TRANSPORT-010", "no check is written yet"),
];
