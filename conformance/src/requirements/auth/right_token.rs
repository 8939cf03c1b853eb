//! AUTH-003.

use http::HeaderMap;
use tonic::Status;

use super::refusals::{METHODS, bearer, call, token};
use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// The right token is served.
    ///
    /// # Why it matters
    /// A server that refuses the right token on one of its methods, or at the second call, looks like an expired token to
    /// its users.
    ///
    /// # How it is checked
    /// StreamPredict and Control are called with legal messages and the token, each three times, after a call with a wrong one
    /// in between. Every call with the token must end OK with an answer.
    ///
    /// # What a violation looks like
    /// UNAUTHENTICATED, though the token is right.
    ///
    /// # References
    /// Contract, AUTH-003.
    id: "AUTH-003",
    level: Must,
    dialects: [Contract, CyLlm],
    needs: [Token],
    since: "0.1.0",
    title: "the right token is served",
    check: check,
    mutant: NotOnControl, fault: "Control refuses the right token", seen_as: "Control with the token was answered UNAUTHENTICATED",
}

const ROUNDS: usize = 3;

async fn check(probe: &Probe) -> Judgement {
    let right = bearer(token(probe)?);
    for _ in 0..ROUNDS {
        for method in METHODS {
            let answer = call(probe, method, &[&right], "the token").await?;
            probe.assert(answer.end.is_ok() && !answer.messages.is_empty(), || {
                format!("{} and {} messages, not OK with an answer", answer.told(), answer.messages.len())
            })?;
            call(probe, method, &["Bearer wrong"], "a wrong token").await?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct NotOnControl;

impl Behaviour for NotOnControl {
    fn authorize(&self, state: &State, method: &str, headers: &HeaderMap) -> Result<(), Status> {
        match method {
            "Health" => Ok(()),
            "Control" => Err(Status::unauthenticated("a bearer token is needed")),
            _ => state.authorize(headers),
        }
    }
}
