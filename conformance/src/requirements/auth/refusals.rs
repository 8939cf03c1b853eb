//! Calls with other credentials than the endpoint's own, for the checks that they are refused.

use tonic::Code;

use crate::{
    probe::{
        Answer, Probe,
        wire::{End, framed},
    },
    requirement::{Judgement, NotPassed},
};

/// The methods that ask for the token.
pub(super) const METHODS: [&str; 2] = ["StreamPredict", "Control"];
/// HTTP 401, which gRPC clients read as UNAUTHENTICATED (gRPC, "HTTP to gRPC Status Code Mapping").
const UNAUTHORIZED: u16 = 401;

/// A call that is legal but for these values of `authorization`, which `what` describes.
pub(super) async fn call(
    probe: &Probe,
    method: &str,
    values: &[&str],
    what: &str,
) -> Result<Answer, NotPassed> {
    let other = probe.with_authorization(values)?;
    let message = framed(&other.legal(method, &other.trace_id()));
    other.ask(method, &message, what, &other.options()).await
}

/// Each method must be UNAUTHENTICATED with these values of `authorization`, before any message.
pub(super) async fn refused(probe: &Probe, values: &[&str], what: &str) -> Judgement {
    for method in METHODS {
        let answer = call(probe, method, values, what).await?;
        let count = answer.messages.len();
        probe.assert(is_unauthenticated(&answer.end) && count == 0, || {
            let after = if count == 0 { String::new() } else { format!(" after {count} messages") };
            format!("{}{after}, not UNAUTHENTICATED", answer.told())
        })?;
    }
    Ok(())
}

pub(super) fn is_unauthenticated(end: &End) -> bool {
    end.code() == Some(Code::Unauthenticated) || *end == End::NoStatus { http: UNAUTHORIZED }
}

/// The token that the endpoint asks for.
pub(super) fn token(probe: &Probe) -> Result<&str, NotPassed> {
    let none = || NotPassed::Skip("the run has no token".to_owned());
    probe.endpoint().token.as_deref().ok_or_else(none)
}

/// The `authorization` that is served.
pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
