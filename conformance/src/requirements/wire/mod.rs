//! WIRE: service, schema, framing.

mod all_methods;
mod broken_message;
mod broken_message_status;
mod content_type;
mod cut_short;
mod documented_name;
mod frame_flag;
mod gzip_request;
mod large_message;
mod long_prompt;
mod parameters_arrive;
mod reflected_schema;
mod reflection_served;
mod standard_health;
mod status_at_end;
mod unasked_encoding;
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
    &gzip_request::REQUIREMENT,
    &content_type::REQUIREMENT,
    &status_at_end::REQUIREMENT,
    &standard_health::REQUIREMENT,
    &long_prompt::REQUIREMENT,
    &parameters_arrive::REQUIREMENT,
    &unasked_encoding::REQUIREMENT,
    &broken_message_status::REQUIREMENT,
    &cut_short::REQUIREMENT,
    &frame_flag::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[];
