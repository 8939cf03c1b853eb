//! All requirements, in the contract's order: those with a check, and those without one.

mod auth;
mod concurrency;
mod control;
mod enterprise;
mod error;
mod gateway;
mod health;
mod proxy;
mod sampling;
mod stream;
mod transport;
mod wire;

use std::sync::LazyLock;

use crate::requirement::Requirement;

/// The rows of the contract whose identifiers begin with one word.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// `STREAM` of `STREAM-001`.
    pub name: &'static str,
    /// The rows with a check, in the contract's order.
    pub requirements: &'static [&'static Requirement],
    /// The rows without one, each with the reason.
    pub unchecked: &'static [(&'static str, &'static str)],
}

/// Every area, in the contract's order.
pub static AREAS: LazyLock<Vec<Area>> = LazyLock::new(|| {
    vec![
        Area { name: "WIRE", requirements: wire::ALL, unchecked: wire::UNCHECKED },
        Area { name: "HEALTH", requirements: health::ALL, unchecked: health::UNCHECKED },
        Area { name: "CONTROL", requirements: control::ALL, unchecked: control::UNCHECKED },
        Area { name: "STREAM", requirements: stream::ALL, unchecked: stream::UNCHECKED },
        Area { name: "SAMPLING", requirements: sampling::ALL, unchecked: sampling::UNCHECKED },
        Area { name: "ERROR", requirements: error::ALL, unchecked: error::UNCHECKED },
        Area { name: "CONCURRENCY", requirements: concurrency::ALL, unchecked: concurrency::UNCHECKED },
        Area { name: "TRANSPORT", requirements: transport::ALL, unchecked: transport::UNCHECKED },
        Area { name: "AUTH", requirements: auth::ALL, unchecked: auth::UNCHECKED },
        Area { name: "PROXY", requirements: proxy::ALL, unchecked: proxy::UNCHECKED },
        Area { name: "GATEWAY", requirements: gateway::ALL, unchecked: gateway::UNCHECKED },
        Area { name: "ENTERPRISE", requirements: enterprise::ALL, unchecked: enterprise::UNCHECKED },
    ]
});

/// Every requirement that has a check: listing, docs, help and the self-test follow from it.
pub static ALL: LazyLock<Vec<&'static Requirement>> =
    LazyLock::new(|| AREAS.iter().flat_map(|area| area.requirements).copied().collect());
