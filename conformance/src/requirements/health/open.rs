//! HEALTH-006.

use http::HeaderMap;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// Health needs no credentials.
    ///
    /// # Why it matters
    /// Load balancers and orchestrators poll Health and hold no token. A server that asks for one is taken for dead
    /// by all of them.
    ///
    /// # How it is checked
    /// Health is called without any metadata; it must end OK with an answer.
    ///
    /// # What a violation looks like
    /// UNAUTHENTICATED or PERMISSION_DENIED.
    ///
    /// # References
    /// Contract, HEALTH-006.
    id: "HEALTH-006",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "Health needs no credentials",
    check: check,
    mutant: AsksForToken, fault: "Health without a token is UNAUTHENTICATED", seen_as: "UNAUTHENTICATED",
}

async fn check(probe: &Probe) -> Judgement {
    let connection = probe.connection().await?;
    let health = probe.health_on(&connection, &probe.trace_id(), &probe.anonymous()).await;
    health.informative()?;
    probe.assert(true, String::new)
}

#[derive(Default)]
struct AsksForToken;

impl Behaviour for AsksForToken {
    fn authorize(&self, state: &State, _method: &str, headers: &HeaderMap) -> Result<(), Status> {
        state.authorize(headers)
    }
}
