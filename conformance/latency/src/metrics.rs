//! What is measured: one name, one formula, and the formula's id in every output.

use std::fmt;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::record::{Nanos, RequestRecord};
use crate::tail::ranks;

/// A latency. Only complete requests count; the others are counted as what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// First text-bearing chunk, less the planned send time.
    Ttft,
    /// First text-bearing chunk, less the actual send time.
    TtftActual,
    /// Every gap between text-bearing chunks, of all requests together.
    Itl,
    /// Mean gap of one request.
    Tpot,
    /// The last text-bearing chunk, less the planned send time.
    E2e,
    /// How late the client itself was.
    Lag,
    /// From a client's cancel to the server's word that nothing runs; of cancelled requests.
    CancelToFree,
}

impl Metric {
    /// All metrics, in the order of reports.
    pub const ALL: [Self; 7] =
        [Self::Ttft, Self::TtftActual, Self::Itl, Self::Tpot, Self::E2e, Self::Lag, Self::CancelToFree];

    /// The metric's name, as reports and options write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::TtftActual => "ttft_actual",
            Self::Itl => "itl",
            Self::Tpot => "tpot",
            Self::E2e => "e2e",
            Self::Lag => "client_lag",
            Self::CancelToFree => "cancel_to_free",
        }
    }

    /// Name and version: another formula gets another id.
    pub const fn formula_id(self) -> &'static str {
        match self {
            Self::Ttft => "ttft/1",
            Self::TtftActual => "ttft_actual/1",
            Self::Itl => "itl/1",
            Self::Tpot => "tpot/1",
            Self::E2e => "e2e/1",
            Self::Lag => "client_lag/1",
            Self::CancelToFree => "cancel_to_free/1",
        }
    }

    /// The formula in words.
    pub const fn formula(self) -> &'static str {
        match self {
            Self::Ttft => "time of the first non-empty chunk - planned send time",
            Self::TtftActual => "time of the first non-empty chunk - actual send time",
            Self::Itl => "every gap between non-empty chunks, pooled over requests",
            Self::Tpot => "(last non-empty chunk - first) / (non-empty chunks - 1), per request",
            Self::E2e => "time of the last non-empty chunk - planned send time",
            Self::Lag => "actual send time - planned send time - time that it waited for a stream",
            Self::CancelToFree => {
                "first answer of Health with requests_inflight = 0 (and slots_busy = 0) - time of the cancel"
            }
        }
    }

    /// One request's values, in nanoseconds.
    pub fn of(self, request: &RequestRecord) -> Vec<Nanos> {
        let (Some(&first), Some(&last)) = (request.chunks.first(), request.chunks.last()) else {
            return Vec::new();
        };
        match self {
            Self::Ttft => vec![first.saturating_sub(request.planned)],
            Self::TtftActual => vec![first.saturating_sub(request.sent)],
            Self::Itl => request.chunks.windows(2).map(|pair| pair[1] - pair[0]).collect(),
            Self::Tpot if request.chunks.len() < 2 => Vec::new(),
            Self::Tpot => vec![(last - first) / (request.chunks.len() as u64 - 1)],
            Self::E2e => vec![last.saturating_sub(request.planned)],
            Self::Lag => vec![request.sent.saturating_sub(request.planned + request.waited)],
            Self::CancelToFree => {
                request.freed.iter().map(|freed| freed.saturating_sub(request.ended)).collect()
            }
        }
    }

    /// The values of all requests that have them: complete ones, or cancelled ones for what is theirs.
    pub fn values<'a>(self, requests: impl IntoIterator<Item = &'a RequestRecord>) -> Vec<Nanos> {
        let has = |request: &&RequestRecord| request.is_complete() || self == Self::CancelToFree;
        requests.into_iter().filter(has).flat_map(|request| self.of(request)).collect()
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A distribution, in milliseconds. A quantile is `None` where there are too few values to see it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Number of values.
    pub count: u64,
    /// Smallest value.
    pub min: f64,
    /// Arithmetic mean of the values.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile; from 100 values on.
    pub p99: Option<f64>,
    /// The limits between which the true 99th percentile lies with 95 % confidence. Few values give no upper one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_low: Option<f64>,
    /// Upper limit of the 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_high: Option<f64>,
    /// 99.9th percentile; from 3,000 values on.
    pub p999: Option<f64>,
    /// Largest value.
    pub max: f64,
}

impl Distribution {
    /// `None` without values.
    pub fn of(values: &[Nanos]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let mut histogram = Histogram::<u64>::new(3).ok()?;
        for value in values {
            histogram.record(*value).ok()?;
        }
        let count = histogram.len();
        let shows_tail = count >= LEAST_FOR_P99;
        let (p99_low, p99_high) = if shows_tail { limits(values) } else { (None, None) };
        let at = |quantile: f64| milliseconds(histogram.value_at_quantile(quantile));
        Some(Self {
            count,
            min: milliseconds(histogram.min()),
            mean: histogram.mean() / 1e6,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: shows_tail.then(|| at(0.99)),
            p99_low,
            p99_high,
            p999: (count >= LEAST_FOR_P999).then(|| at(0.999)),
            max: milliseconds(histogram.max()),
        })
    }
}

/// Between which the 99th percentile lies, in milliseconds.
fn limits(values: &[Nanos]) -> (Option<f64>, Option<f64>) {
    let Some((low, high)) = ranks(values.len(), 0.99) else { return (None, None) };
    let mut values = values.to_vec();
    let mut at = |rank: usize| {
        let (_, value, _) = values.select_nth_unstable(rank);
        milliseconds(*value)
    };
    (Some(at(low)), high.map(at))
}

/// The exact quantile, in nanoseconds, between neighbours by their distance; `None` without values.
pub fn quantile(mut values: Vec<Nanos>, quantile: f64) -> Option<f64> {
    values.sort_unstable();
    let sorted: Vec<_> = values.into_iter().map(|nanos| nanos as f64).collect();
    statistics::quantile(&sorted, quantile)
}

/// Converts nanoseconds to milliseconds.
pub fn milliseconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e6
}

/// Values from which on a 99th percentile is shown, with its limits.
pub const LEAST_FOR_P99: u64 = 100;
/// Values from which on a 99.9th percentile is shown.
pub const LEAST_FOR_P999: u64 = 3000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;

    fn request(planned: Nanos, sent: Nanos, chunks: &[Nanos]) -> RequestRecord {
        RequestRecord {
            prompt: 0,
            planned,
            sent,
            waited: 1,
            chunks: chunks.to_vec(),
            ended: chunks.last().copied().unwrap_or(sent),
            outcome: Outcome::Complete,
            text: 0,
            server_ttft_ms: None,
            server_tokens_per_second: None,
            freed: None,
            message: None,
        }
    }

    #[test]
    fn every_formula_by_hand() {
        let one = request(10, 12, &[20, 25, 40]);
        let of = |metric: Metric| metric.of(&one);
        assert_eq!(of(Metric::Ttft), [10]);
        assert_eq!(of(Metric::TtftActual), [8]);
        assert_eq!(of(Metric::Itl), [5, 15]);
        assert_eq!(of(Metric::Tpot), [10]);
        assert_eq!(of(Metric::E2e), [30]);
        assert_eq!(of(Metric::Lag), [1]);
    }

    #[test]
    fn a_cancelled_request_has_one_figure_of_its_own() {
        let cancelled = RequestRecord { outcome: Outcome::Cancelled, ..request(0, 0, &[5]) };
        let cancelled = RequestRecord { ended: 6, freed: Some(9), ..cancelled };
        assert_eq!(Metric::CancelToFree.values([&cancelled]), [3]);
        assert!(Metric::Ttft.values([&cancelled]).is_empty());
        assert!(!cancelled.has_failed());
    }

    #[test]
    fn a_request_that_failed_has_no_latency() {
        let failed = RequestRecord { outcome: Outcome::Late, ..request(0, 0, &[5]) };
        assert!(Metric::Ttft.values([&failed]).is_empty());
        assert!(Metric::Tpot.of(&request(0, 0, &[5])).is_empty(), "one chunk has no gap");
    }

    #[test]
    fn a_tail_is_not_shown_before_there_is_one() {
        let values = |count: u64| (1..=count).map(|i| i * 1_000_000).collect::<Vec<_>>();
        assert_eq!(Distribution::of(&values(99)).unwrap().p99, None);
        let few = Distribution::of(&values(100)).unwrap();
        assert!(few.p99.is_some() && few.p99_low.unwrap() < 99.0, "{few:?}");
        assert_eq!(few.p99_high, None, "a hundred values do not say how high it may be");
        let enough = Distribution::of(&values(300)).unwrap();
        assert!((enough.p99.unwrap() - 297.0).abs() < 1.0, "{enough:?}");
        let many = Distribution::of(&values(2000)).unwrap();
        assert!(many.p99_low < many.p99 && many.p99 < many.p99_high, "{many:?}");
        assert!((enough.p50 - 150.0).abs() < 1.0);
        assert_eq!(enough.p999, None);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(vec![40, 10, 20], 0.5), Some(20.0));
        assert_eq!(quantile(vec![10, 20], 0.25), Some(12.5));
        assert_eq!(quantile(vec![], 0.5), None);
    }
}
