//! GATEWAY: HTTP in front of an endpoint.

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[
    (
        "GATEWAY-001",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-002",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-003",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-004",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-005",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-006",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-007",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-008",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-009",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-010",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-011",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-012",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-013",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-014",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-015",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-016",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-017",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-018",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-019",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-020",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
    (
        "GATEWAY-021",
        "no check is written yet: needs an HTTP client and a scripted endpoint behind the target",
    ),
];
