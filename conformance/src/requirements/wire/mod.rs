//! WIRE: service, schema, framing.

pub(super) mod all_methods;
pub(super) mod broken_message;
pub(super) mod documented_name;
pub(super) mod large_message;
pub(super) mod reflected_schema;
pub(super) mod reflection_served;
pub(super) mod unknown_fields;
pub(super) mod unknown_method;
