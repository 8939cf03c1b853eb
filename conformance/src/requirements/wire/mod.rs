//! WIRE: service, schema, framing.

mod all_methods;
mod broken_message;
mod documented_name;
mod large_message;
mod reflected_schema;
mod reflection_served;
mod unknown_fields;
mod unknown_method;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[
    &documented_name::REQUIREMENT,
    &all_methods::REQUIREMENT,
    &reflected_schema::REQUIREMENT,
    &reflection_served::REQUIREMENT,
    &unknown_fields::REQUIREMENT,
    &unknown_method::REQUIREMENT,
    &broken_message::REQUIREMENT,
    &large_message::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[
    ("WIRE-009", "no check is written yet: needs a client that compresses"),
    ("WIRE-010", "no check is written yet: needs a call with another content-type"),
    ("WIRE-011", "no check is written yet"),
    ("WIRE-012", "no check is written yet"),
    ("WIRE-013", "no check is written yet"),
    ("WIRE-014", "no check is written yet"),
    ("WIRE-015", "no check is written yet"),
    ("WIRE-016", "no check is written yet"),
    ("WIRE-017", "no check is written yet"),
    ("WIRE-018", "no check is written yet"),
];
