//! Whether the client's own lag leaves the figures standing. Pure.
//!
//! Lag is a part of every time that counts from the planned send time. How much it matters depends on what is measured:
//! 2 ms of lag are most of a first token after 3 ms, and nothing in one after 500 ms. So the lag is judged by its share of
//! the time to the first token, at the same quantile. The median stands or falls by itself: it needs few requests, and a
//! single hiccup of the machine does not move it. The tail is judged only where it is shown.

use crate::{
    metrics::{LEAST_FOR_P99, Metric, milliseconds, quantile},
    record::RequestRecord,
};

/// How much of the figures the client's own lag makes up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Lag {
    /// Share of the median time to the first token.
    median_share: f64,
    /// Share of its 99th percentile, where there are enough requests for one.
    tail_share: Option<f64>,
    /// The lag at the median, in milliseconds.
    median_ms: f64,
    /// The lag of the latest request, or at the 99th percentile where there is one.
    late_ms: f64,
}

impl Lag {
    pub(crate) fn of<'a>(requests: impl IntoIterator<Item = &'a RequestRecord>) -> Self {
        let complete = requests.into_iter().filter(|request| request.is_complete());
        let mut lags = Vec::new();
        let mut planned = Vec::new();
        let mut without = Vec::new();
        for request in complete {
            for (ttft, lag) in Metric::Ttft.of(request).into_iter().zip(Metric::Lag.of(request)) {
                lags.push(lag);
                planned.push(ttft);
                without.push(ttft.saturating_sub(lag));
            }
        }
        let has_tail = lags.len() as u64 >= LEAST_FOR_P99;
        let share = |q: f64| match (quantile(planned.clone(), q), quantile(without.clone(), q)) {
            (Some(with), Some(without)) if with > 0.0 => ((with - without) / with).max(0.0),
            _ => 0.0,
        };
        let at = |q: f64| quantile(lags.clone(), q).map_or(0.0, |nanos| milliseconds(nanos as u64));
        Self {
            median_share: share(0.5),
            tail_share: has_tail.then(|| share(0.99)),
            median_ms: at(0.5),
            late_ms: at(if has_tail { 0.99 } else { 1.0 }),
        }
    }

    /// Whether the 99th percentile is the target's, and not this machine's.
    pub(crate) fn leaves_the_tail(&self) -> bool {
        self.tail_share.is_none_or(|share| share <= WORTH_SAYING)
    }

    /// Why no figure stands, if none does.
    pub(crate) fn fault(&self) -> Option<String> {
        (self.median_share > MOST_SHARE).then(|| {
            format!(
                "the client sent requests late, by {:.1} ms at the median, which is {:.0} % of the median ttft: this machine \
                 is too busy for this load",
                self.median_ms,
                self.median_share * 100.0
            )
        })
    }

    /// What a reader must know where the medians stand.
    pub(crate) fn warning(&self) -> Option<String> {
        if self.fault().is_some() {
            return None;
        }
        if self.median_share > WORTH_SAYING {
            return Some(format!(
                "the client sent requests late, by {:.1} ms at the median, because this machine is busy. That is {:.0} % of the \
                 median ttft; ttft_actual is without it",
                self.median_ms,
                self.median_share * 100.0
            ));
        }
        if self.leaves_the_tail() {
            return None;
        }
        Some(format!(
            "the client sent some requests late, by {:.1} ms at the 99th percentile, because this machine is busy. That is \
             {:.0} % of the 99th percentile of ttft, which must not be used. The medians stand",
            self.late_ms,
            self.tail_share.unwrap_or_default() * 100.0
        ))
    }
}

/// Of a figure: about as much as two runs on one busy machine differ by anyway.
const MOST_SHARE: f64 = 0.1;
/// From here on a reader is told.
const WORTH_SAYING: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;

    /// A request with its lag and its time to the first token from the actual send time, in microseconds.
    fn request((lag, ttft): (u64, u64)) -> RequestRecord {
        let sent = lag * 1000;
        let first = sent + ttft * 1000;
        RequestRecord {
            sent,
            chunks: vec![first],
            ended: first,
            ..RequestRecord::new(0, 0, Outcome::Complete)
        }
    }

    fn lag(requests: impl IntoIterator<Item = (u64, u64)>) -> Lag {
        let requests: Vec<_> = requests.into_iter().map(request).collect();
        Lag::of(&requests)
    }

    #[test]
    fn lag_is_held_against_what_is_measured() {
        let slow = lag((0..200).map(|_| (2_000, 500_000)));
        assert_eq!((slow.fault(), slow.warning()), (None, None), "2 ms of 502");
        let fast = lag((0..200).map(|_| (2_000, 3_000)));
        assert!(fast.fault().unwrap().contains("by 2.0 ms at the median, which is 40 %"), "{fast:?}");
        let between = lag((0..200).map(|_| (2_000, 25_000)));
        assert_eq!(between.fault(), None);
        assert!(between.warning().unwrap().contains("7 % of the median ttft"), "{between:?}");
    }

    #[test]
    fn a_hiccup_is_a_warning_for_the_tail_and_nothing_for_few_requests() {
        let hiccups = |count: u64| lag((0..count).map(|n| (if n % 20 == 0 { 30_000 } else { 50 }, 50_000)));
        let many = hiccups(400);
        assert_eq!(many.fault(), None);
        assert!(many.warning().unwrap().contains("The medians stand"), "{many:?}");
        assert!(!many.leaves_the_tail());
        let few = hiccups(20);
        assert_eq!((few.fault(), few.warning()), (None, None), "one late request of twenty moves no median");
    }

    #[test]
    fn without_requests_nothing_is_said() {
        assert_eq!(lag([]), Lag::default());
    }
}
