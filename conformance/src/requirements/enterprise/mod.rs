//! ENTERPRISE: OAuth2, tenants and audit.

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[
    ("ENTERPRISE-001", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-002", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-003", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-004", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-005", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-006", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-007", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-008", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-009", "no check is written yet: needs an issuer of tokens and the audit rows"),
    ("ENTERPRISE-010", "no check is written yet: needs an issuer of tokens and the audit rows"),
    ("ENTERPRISE-011", "no check is written yet: needs an issuer of tokens and the audit rows"),
    ("ENTERPRISE-012", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-013", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-014", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-015", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-016", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-017", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-018", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-019", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-020", "no check is written yet: needs an issuer of tokens and the audit rows"),
    ("ENTERPRISE-021", "no check is written yet: needs an issuer of tokens and the audit rows"),
    ("ENTERPRISE-022", "no check is written yet: needs an issuer of tokens"),
    ("ENTERPRISE-023", "no check is written yet: needs an issuer of tokens"),
];
