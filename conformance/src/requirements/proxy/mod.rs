//! PROXY: what stands between a client and a server.

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[
    ("PROXY-001", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-002", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-003", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-004", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-005", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-006", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-007", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-008", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-009", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-010", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-011", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-012", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-013", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-014", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-015", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-016", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-017", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-018", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-019", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-020", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-021", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-022", "no check is written yet: needs a scripted endpoint behind the target"),
    ("PROXY-023", "no check is written yet: needs a scripted endpoint behind the target"),
];
