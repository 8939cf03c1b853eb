//! AUTH-005.

use http::HeaderMap;
use tonic::{Code, Status};

use super::refusals::{METHODS, bearer, call, token};
use crate::{
    exemplar::{Behaviour, State},
    probe::{Probe, wire::End},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// Two `authorization` values in one call are refused.
    ///
    /// # Why it matters
    /// A gateway in front may look at one of the two, and the server behind it at the other. Then a call goes through with a
    /// token that nobody has checked.
    ///
    /// # How it is checked
    /// StreamPredict and Control are called with legal messages and two values of `authorization`: the right token and a wrong
    /// one, in both orders, and both in one header with a comma between them. Each call must be refused before any
    /// message: UNAUTHENTICATED, PERMISSION_DENIED or INVALID_ARGUMENT, an HTTP error, or a reset. Then the server must still
    /// serve a request with the token.
    ///
    /// # What a violation looks like
    /// The call is served, because the first value is the right one.
    ///
    /// # References
    /// Contract, AUTH-005; RFC 9110, section 5.3 (a field that is no list has one value).
    id: "AUTH-005",
    level: Should,
    dialects: [Contract, CyLlm],
    needs: [Token],
    since: "0.1.0",
    title: "two values of authorization are refused",
    check: check,
    mutant: TakesTheFirst, fault: "the first of two values is taken", seen_as: "the right token and then a wrong one was answered OK",
}

const WRONG: &str = "Bearer wrong";
const REFUSALS: [Code; 3] = [Code::Unauthenticated, Code::PermissionDenied, Code::InvalidArgument];

async fn check(probe: &Probe) -> Judgement {
    let right = bearer(token(probe)?);
    let joined = format!("{right}, {WRONG}");
    let cases: [(&str, &[&str]); 3] = [
        ("the right token and then a wrong one", &[&right, WRONG]),
        ("a wrong token and then the right one", &[WRONG, &right]),
        ("the right token, a comma and a wrong one", &[&joined]),
    ];
    for (what, values) in cases {
        for method in METHODS {
            let answer = call(probe, method, values, what).await?;
            probe.assert(is_refusal(&answer.end) && answer.messages.is_empty(), || {
                format!("{}: two values of authorization are refused with UNAUTHENTICATED", answer.told())
            })?;
        }
    }
    probe.still_serves("calls with two values of authorization").await
}

fn is_refusal(end: &End) -> bool {
    match end {
        End::Status(status) => REFUSALS.contains(&status.code),
        End::NoStatus { http } => (400..500).contains(http),
        End::Reset(_) => true,
        End::Closed(_) | End::Malformed(_) | End::TimedOut(_) => false,
    }
}

#[derive(Default)]
struct TakesTheFirst;

impl Behaviour for TakesTheFirst {
    fn authorize(&self, state: &State, method: &str, headers: &HeaderMap) -> Result<(), Status> {
        let mut first = HeaderMap::new();
        first.extend(headers.get("authorization").map(|value| (http::header::AUTHORIZATION, value.clone())));
        if method == "Health" { Ok(()) } else { state.authorize(&first) }
    }
}
