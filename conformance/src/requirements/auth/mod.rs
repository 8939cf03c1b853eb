//! AUTH: what an endpoint does with a token, where it asks for one.

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[
    ("AUTH-001", "no check is written yet: needs a target that asks for a token"),
    ("AUTH-002", "no check is written yet: needs a target that asks for a token"),
    ("AUTH-003", "no check is written yet: needs a target that asks for a token"),
    ("AUTH-004", "no check is written yet: needs a target that asks for a token"),
    ("AUTH-005", "no check is written yet: needs a target that asks for a token"),
];
