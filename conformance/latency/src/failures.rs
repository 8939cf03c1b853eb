//! What failed requests ended with: counted by message, with an example of each. Pure.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::record::{Outcome, RequestRecord};

/// Requests that failed alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How many requests failed like this.
    pub count: u64,
    /// How they ended, as `UNAVAILABLE` or `broken`.
    pub outcome: String,
    /// The first one's message; empty where there was none.
    pub example: String,
}

impl Failure {
    /// The most frequent kinds of failures, the most frequent one first. Messages that differ in digits alone are alike.
    pub(crate) fn of(requests: &[RequestRecord], word: impl Fn(&RequestRecord) -> String) -> Vec<Self> {
        let mut kinds: BTreeMap<(String, String), Self> = BTreeMap::new();
        for request in requests.iter().filter(|request| request.has_failed()) {
            let (outcome, example) = (word(request), message(request).to_owned());
            let alike = example.chars().map(|c| if c.is_numeric() { '0' } else { c }).collect();
            let kind = kinds.entry((outcome.clone(), alike));
            kind.or_insert(Self { count: 0, outcome, example }).count += 1;
        }
        let mut kinds: Vec<_> = kinds.into_values().collect();
        kinds.sort_by_key(|kind| Reverse(kind.count));
        kinds.truncate(MOST_KINDS);
        kinds
    }

    /// `12 × UNAVAILABLE, for example "no worker is free"`.
    pub(crate) fn line(&self) -> String {
        let Self { count, outcome, example } = self;
        if example.is_empty() {
            return format!("{count} × {outcome}");
        }
        format!("{count} × {outcome}, for example {example:?}")
    }
}

/// What is known of a request's end besides its outcome's name.
pub(crate) fn message(request: &RequestRecord) -> &str {
    match (&request.outcome, &request.message) {
        (Outcome::Broken(why), _) => why,
        (_, Some(message)) => message,
        (_, None) => "",
    }
}

/// More say nothing more.
const MOST_KINDS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_with_an_example_of_each() {
        let failed = |message: &str| RequestRecord {
            message: Some(message.to_owned()),
            ..RequestRecord::new(0, 0, Outcome::Status("UNAVAILABLE".to_owned()))
        };
        let requests = [
            failed("no model"),
            failed("request 17 was refused"),
            failed("request 18 was refused"),
            RequestRecord::new(0, 0, Outcome::Late),
            RequestRecord::new(0, 0, Outcome::Cancelled),
        ];
        let kinds = Failure::of(&requests, |request| match request.outcome {
            Outcome::Late => "late".to_owned(),
            _ => "UNAVAILABLE".to_owned(),
        });
        let lines: Vec<_> = kinds.iter().map(Failure::line).collect();
        assert_eq!(
            lines,
            [
                r#"2 × UNAVAILABLE, for example "request 17 was refused""#,
                r#"1 × UNAVAILABLE, for example "no model""#,
                "1 × late",
            ]
        );
    }
}
