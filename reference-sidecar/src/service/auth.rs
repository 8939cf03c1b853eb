//! The bearer token, asked for before anything else of a call is looked at (AUTH-001 to AUTH-005).
//!
//! Health and reflection are open (HEALTH-006): a probe has no secret.

use std::hint::black_box;

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use tonic::Status;

use super::Refusal;
use crate::config::Token;

/// UNAUTHENTICATED for a guarded method without the token.
pub(super) fn check<B, R: Default>(token: Option<&Token>, request: &Request<B>) -> Option<Response<R>> {
    let token = token?;
    let method = request.uri().path().rsplit('/').next().unwrap_or_default();
    if !GUARDED.contains(&method) || carries(request.headers(), token) {
        return None;
    }
    Some(Status::from(Refusal::Unauthenticated).into_http())
}

/// Methods of either dialect that need the token.
const GUARDED: [&str; 2] = ["StreamPredict", "Control"];

fn carries(headers: &HeaderMap, token: &Token) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    // Two are refused: whoever checks the call before may have looked at the other one.
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, given)) = value.as_bytes().split_at_checked("Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ") && equal(given, token.as_bytes())
}

/// Takes as long for a guess that is nearly right as for one that is not.
fn equal(given: &[u8], token: &[u8]) -> bool {
    let difference = given.iter().zip(token).fold(0, |seen, (a, b)| black_box(seen | (a ^ b)));
    given.len() == token.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str, authorization: &[&str]) -> bool {
        let mut request = Request::builder().uri(path);
        for value in authorization {
            request = request.header(AUTHORIZATION, *value);
        }
        let token = Token::new("s3cret".to_owned());
        check::<(), ()>(token.as_ref(), &request.body(()).unwrap()).is_some()
    }

    #[test]
    fn only_the_right_token_passes() {
        let path = "/AiInference/Control";
        assert!(!refused(path, &["Bearer s3cret"]));
        assert!(!refused(path, &["bearer s3cret"]));
        for wrong in
            ["Bearer s3cre", "Bearer s3crets", "Bearer S3CRET", "Basic s3cret", "Bearer ", "", "s3cret"]
        {
            assert!(refused(path, &[wrong]), "{wrong}");
            assert!(
                refused(path, &["Bearer s3cret", wrong]) && refused(path, &[wrong, "Bearer s3cret"]),
                "{wrong}"
            );
        }
        assert!(refused("/cy.llm.AiInference/StreamPredict", &[]));
    }

    #[test]
    fn health_is_open() {
        assert!(!refused("/AiInference/Health", &[]));
        assert!(!refused("/grpc.health.v1.Health/Check", &["Bearer wrong"]));
    }
}
