//! The times in which no request got an answer, though requests were under way.

use crate::{
    metrics::{Metric, quantile},
    record::{Nanos, Outcome, RequestRecord},
};

/// A time in which no request got an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stall {
    pub(super) from: Nanos,
    pub(super) to: Nanos,
    /// Requests that were under way at its end.
    pub(super) caught: usize,
}

/// The stalls of a run, by time; of many, the longest.
///
/// Silence alone is none: between two tokens, and before the first, there always is some. It must last several times as
/// long as either does at the median.
pub(super) fn stalls(requests: &[RequestRecord]) -> Vec<Stall> {
    let median = |metric: Metric| quantile(metric.values(requests), 0.5).unwrap_or(0.0);
    let least =
        (median(Metric::Itl) * GAPS).max(median(Metric::TtftActual) * FIRSTS).max(LEAST as f64) as Nanos;
    let answered = |request: &&RequestRecord| !matches!(request.outcome, Outcome::Late | Outcome::Cut);
    let ends = requests.iter().filter(answered).map(|request| request.ended);
    let mut signs: Vec<Nanos> = requests.iter().flat_map(|r| &r.chunks).copied().chain(ends).collect();
    signs.sort_unstable();
    let mut silences: Vec<(Nanos, Nanos)> = signs.windows(2).map(|pair| (pair[0], pair[1])).collect();
    silences.retain(|(from, to)| to - from >= least);
    // Idle times are among them; those that are left out are shorter than what is drawn.
    silences.sort_by_key(|(from, to)| std::cmp::Reverse(to - from));
    silences.truncate(MOST_SILENCES);
    let stall = |(from, to): (Nanos, Nanos)| {
        let caught = requests.iter().filter(|request| request.sent < to && request.ended >= to);
        let sent: Vec<_> = caught.map(|request| request.sent).collect();
        let from = from.max(sent.iter().copied().min()?);
        (to - from >= least).then_some(Stall { from, to, caught: sent.len() })
    };
    let mut found: Vec<_> = silences.into_iter().filter_map(stall).take(MOST).collect();
    found.sort_by_key(|stall| stall.from);
    found
}

/// Times the median gap between tokens.
const GAPS: f64 = 10.0;
/// Times the median time to the first token.
const FIRSTS: f64 = 3.0;
/// In nanoseconds: users do not notice shorter ones.
const LEAST: Nanos = 100_000_000;
/// Looked at, as each looks at all requests.
const MOST_SILENCES: usize = 1000;
/// That a picture has room for.
const MOST: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sent: Nanos, chunks: &[Nanos]) -> RequestRecord {
        let chunks: Vec<_> = chunks.iter().map(|ms| ms * 1_000_000).collect();
        let sent = sent * 1_000_000;
        RequestRecord {
            prompt: 0,
            planned: sent,
            sent,
            waited: 0,
            ended: chunks.last().copied().unwrap_or(sent),
            chunks,
            outcome: Outcome::Complete,
            text: 0,
            server_ttft_ms: None,
            server_tokens_per_second: None,
            freed: None,
            message: None,
        }
    }

    #[test]
    fn a_time_in_which_all_stood_still_is_one_stall() {
        let caught = [request(0, &[10, 20, 30, 530, 540, 550]), request(5, &[15, 25, 35, 532, 542])];
        assert_eq!(stalls(&caught), [Stall { from: 35_000_000, to: 530_000_000, caught: 2 }]);
        let late = [request(0, &[10, 20]), request(5, &[15, 25]), request(400, &[900, 910])];
        let waited = Stall { from: 400_000_000, to: 900_000_000, caught: 1 };
        assert_eq!(stalls(&late), [waited], "it begins when there is a request that waits");
    }

    #[test]
    fn one_that_stands_still_while_another_goes_on_is_none() {
        let goes_on: Vec<_> = (0..60).map(|n| n * 10).collect();
        assert_eq!(stalls(&[request(0, &[10, 20, 30, 530, 540, 550]), request(0, &goes_on)]), []);
        assert_eq!(stalls(&[request(0, &[10]), request(900, &[910])]), [], "nor is a time without requests");
        assert_eq!(stalls(&[request(0, &[400, 800, 1200])]), [], "nor an even pace");
        assert_eq!(stalls(&[]), []);
    }
}
