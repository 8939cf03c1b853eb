//! When a run ends before its time: the target answers nothing any more, or the recording is full. Pure.

use std::{fmt, time::Duration};

use crate::record::Nanos;

/// Why a run ended before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every request failed for a while.
    Failing {
        /// Requests that failed since the last one that did not.
        failures: u64,
        /// What the last one ended with.
        last: String,
        /// Why no connection could be opened again, where that was tried.
        connection: Option<String>,
    },
    /// The recording takes no more.
    Full,
}

impl Ended {
    /// Whether the figures cannot be used: the load was not the one that was asked for.
    pub const fn is_fault(&self) -> bool {
        matches!(self, Self::Failing { .. })
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failing { failures, last, connection } => {
                write!(
                    f,
                    "the run was ended early, because {failures} requests in a row failed; the last one: {last}"
                )?;
                match connection {
                    Some(error) => write!(f, ". The target takes no new connection: {error}"),
                    None => Ok(()),
                }
            }
            Self::Full => write!(
                f,
                "the run was ended early, because its recording is full ({MOST_TIMES} chunk times and requests); \
                 measure for a shorter time (--length)"
            ),
        }
    }
}

/// Counts what a recording holds, and failures without an answer in between.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    failures: u64,
    /// When the first of these failures ended.
    since: Nanos,
    times: u64,
    connection: Option<String>,
}

impl Watch {
    /// A request ended at this time, with so many chunks; `failed` says how, if it has failed. Returns why the run must end.
    pub(crate) fn ended(&mut self, at: Nanos, chunks: usize, failed: Option<&str>) -> Option<Ended> {
        self.times += chunks as u64 + OF_A_REQUEST;
        let Some(last) = failed else {
            *self = Self { times: self.times, ..Self::default() };
            return (self.times > MOST_TIMES).then_some(Ended::Full);
        };
        if self.failures == 0 {
            self.since = at;
        }
        self.failures += 1;
        let lasted = Duration::from_nanos(at.saturating_sub(self.since));
        let enough = LIMITS.iter().any(|(failures, time)| self.failures >= *failures && lasted >= *time);
        enough.then(|| Ended::Failing {
            failures: self.failures,
            last: last.to_owned(),
            connection: self.connection.clone(),
        })
    }

    /// A connection could not be opened again.
    pub(crate) fn lost(&mut self, error: String) {
        self.connection = Some(error);
    }
}

/// So many failures in at least such a time. A server that restarts takes a second or two; one of which each answer times
/// out says so with the third.
const LIMITS: [(u64, Duration); 2] = [(20, Duration::from_secs(3)), (3, Duration::from_secs(10))];
/// Eight bytes each. With the copies that the figures need this stays under half a gibibyte.
const MOST_TIMES: u64 = 20_000_000;
/// What a record takes besides its chunks.
const OF_A_REQUEST: u64 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn a_target_that_answers_nothing_any_more_ends_the_run() {
        let mut watch = Watch::default();
        let ended: Vec<_> = (0..100).map(|n| watch.ended(n * SECOND / 10, 0, Some("UNAVAILABLE"))).collect();
        let at = ended.iter().position(Option::is_some).unwrap();
        assert_eq!(at, 30, "after three seconds");
        let why = ended[at].as_ref().unwrap();
        assert!(why.is_fault() && why.to_string().contains("31 requests in a row failed"), "{why}");

        let mut slow = Watch::default();
        let ended: Vec<_> = (0..3).map(|n| slow.ended(n * 60 * SECOND, 0, Some("late"))).collect();
        assert!(ended[0].is_none() && ended[1].is_none() && ended[2].is_some(), "{ended:?}");
    }

    #[test]
    fn a_target_that_answers_now_and_then_goes_on() {
        let mut watch = Watch::default();
        for n in 0..1000 {
            let failed = (n % 10 > 0).then_some("UNAVAILABLE");
            assert_eq!(watch.ended(n * SECOND / 10, 8, failed), None);
        }
    }

    #[test]
    fn a_recording_has_an_end() {
        let mut watch = Watch::default();
        let mut requests = 0;
        while watch.ended(0, 1_000_000, None).is_none() {
            requests += 1;
        }
        assert_eq!(requests, 19);
    }
}
