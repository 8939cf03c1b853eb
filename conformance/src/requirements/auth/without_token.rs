//! AUTH-001.

use http::HeaderMap;
use tonic::Status;

use super::refusals::refused;
use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// StreamPredict and Control without `authorization: Bearer <token>` are UNAUTHENTICATED.
    ///
    /// # Why it matters
    /// Whoever reaches the port could use the model, and unload it. And a client that forgot its token learns from
    /// UNAUTHENTICATED what is missing; from any other status it does not.
    ///
    /// # How it is checked
    /// StreamPredict and Control are called with legal messages and without `authorization`, twice each. Every call must end
    /// as UNAUTHENTICATED before any message; HTTP 401 means the same to gRPC clients. Then the server must still serve a
    /// request with the token.
    ///
    /// # What a violation looks like
    /// The call is served; or it is PERMISSION_DENIED or INTERNAL.
    ///
    /// # References
    /// Contract, AUTH-001; gRPC, "Status codes" (UNAUTHENTICATED) and "HTTP to gRPC Status Code Mapping".
    id: "AUTH-001",
    level: Must,
    dialects: [Contract, CyLlm],
    needs: [Token],
    since: "0.1.0",
    title: "a call without the token is UNAUTHENTICATED",
    check: check,
    mutant: OpenToAll, fault: "a call without a token is served", seen_as: "was answered OK",
}

const ROUNDS: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    for _ in 0..ROUNDS {
        refused(probe, &[], "no authorization").await?;
    }
    probe.still_serves("calls without a token").await
}

/// Looks at a token only where there is one.
#[derive(Default)]
struct OpenToAll;

impl Behaviour for OpenToAll {
    fn authorize(&self, state: &State, method: &str, headers: &HeaderMap) -> Result<(), Status> {
        if method == "Health" || !headers.contains_key("authorization") {
            Ok(())
        } else {
            state.authorize(headers)
        }
    }
}
