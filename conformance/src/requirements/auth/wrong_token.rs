//! AUTH-002.

use http::HeaderMap;
use tonic::Status;

use super::refusals::{bearer, refused, token};
use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// A wrong token, a prefix of it, the token in other letter case, another scheme, an empty one: UNAUTHENTICATED. (The
    /// scheme word itself may be in any letter case, RFC 9110 §11.1: both answers to `bearer` are right.)
    ///
    /// # Why it matters
    /// A comparison that stops at the shorter of two texts, or that ignores case, makes a token guessable piece by piece.
    ///
    /// # How it is checked
    /// StreamPredict and Control are called with legal messages and each of these in the place of the token: another one of
    /// the same length; the first half of it, and all but its last character; the token with more behind it; in upper and in
    /// lower case, where that differs; the token under the schemes Basic and Token, without a scheme, and behind `Bearer`
    /// without a space; an empty token, and an empty header. Each call must end as UNAUTHENTICATED before any message (HTTP
    /// 401 will do). Then the server must still serve a request with the token.
    ///
    /// # What a violation looks like
    /// Half a token is served.
    ///
    /// # References
    /// Contract, AUTH-002; RFC 9110, section 11.1; RFC 6750, section 2.1.
    id: "AUTH-002",
    level: Must,
    dialects: [Contract, CyLlm],
    needs: [Token],
    since: "0.1.0",
    title: "a wrong token is UNAUTHENTICATED",
    check: check,
    mutant: PrefixWillDo, fault: "a prefix of the token is accepted", seen_as: "the first half of the token was answered OK",
}

async fn check(probe: &Probe) -> Judgement {
    for (what, value) in wrong(probe, token(probe)?) {
        refused(probe, &[&value], what).await?;
    }
    probe.still_serves("calls with a wrong token").await
}

/// Values of `authorization` that are not the right one, and what they are.
fn wrong(probe: &Probe, token: &str) -> Vec<(&'static str, String)> {
    // Each letter another one, so that no encoding makes two of them the same token.
    let other: String = token.chars().map(|c| if c == 'x' { 'q' } else { 'x' }).collect();
    let characters = token.chars().count();
    let begin = |count: usize| token.chars().take(count).collect::<String>();
    let mut wrong = vec![
        ("another token", bearer(&other)),
        ("the token with more behind it", bearer(&format!("{token}{}", probe.random(10)))),
        ("the scheme Basic", format!("Basic {token}")),
        ("the scheme Token", format!("Token {token}")),
        ("no scheme", token.to_owned()),
        ("no space behind the scheme", format!("Bearer{token}")),
        ("an empty token", "Bearer ".to_owned()),
        ("an empty authorization", String::new()),
    ];
    if characters > 1 {
        wrong.push(("the first half of the token", bearer(&begin(characters / 2))));
        wrong.push(("the token without its last character", bearer(&begin(characters - 1))));
    }
    let cases = [
        ("the token in upper case", token.to_uppercase()),
        ("the token in lower case", token.to_lowercase()),
    ];
    wrong.extend(
        cases.into_iter().filter(|(_, case)| case != token).map(|(what, case)| (what, bearer(&case))),
    );
    wrong
}

/// Compares as far as the given token goes.
#[derive(Default)]
struct PrefixWillDo;

impl Behaviour for PrefixWillDo {
    fn authorize(&self, state: &State, method: &str, headers: &HeaderMap) -> Result<(), Status> {
        let given = headers
            .get("authorization")
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.strip_prefix("Bearer "));
        let begins =
            |given: &str| !given.is_empty() && state.token().is_some_and(|token| token.starts_with(given));
        if method == "Health" || given.is_some_and(begins) { Ok(()) } else { state.authorize(headers) }
    }
}
