//! TRANSPORT: the ways to reach a server, and how it starts and ends.

mod doors_alike;
mod drains;
mod drains_steadily;
mod keepalive;
mod protocol_abuse;
mod readiness;
mod silent_keepalive;
mod socket_mode;
mod stale_socket;
mod tls;

use crate::requirement::Requirement;

/// The requirements of this area, in the contract's order.
pub(super) static ALL: &[&Requirement] = &[
    &doors_alike::REQUIREMENT,
    &keepalive::REQUIREMENT,
    &drains::REQUIREMENT,
    &stale_socket::REQUIREMENT,
    &socket_mode::REQUIREMENT,
    &tls::REQUIREMENT,
    &protocol_abuse::REQUIREMENT,
    &silent_keepalive::REQUIREMENT,
    &drains_steadily::REQUIREMENT,
    &readiness::REQUIREMENT,
];

/// What the contract asks and nothing here checks, with the reason.
pub(super) static UNCHECKED: &[(&str, &str)] = &[];
