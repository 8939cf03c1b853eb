//! The exemplar at a pace that is asked for: what a benchmark must measure right, because the answer is known.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use ai_inference_proto::GenerationRequest;
use futures_util::StreamExt as _;

use super::{
    behaviour::{Behaviour, Responses},
    language::{self, Script},
};

/// How fast it answers.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From a request to its first chunk.
    pub ttft: Duration,
    /// Time from a chunk to the next.
    pub gap: Duration,
    /// One request in so many is slow; 0 for none.
    pub slow_one_in: u64,
    /// By so much its first chunk comes later.
    pub slow_by: f64,
    /// Length of a pause in which nothing is sent.
    pub stall: Duration,
    /// Time from the start of one pause to the start of the next.
    pub stall_every: Duration,
}

/// Keeps the contract, at a pace.
#[derive(Debug)]
pub struct Paced {
    pace: Pace,
    began: Instant,
    requests: AtomicU64,
}

impl Paced {
    /// From now on; the first stall ends the first period.
    pub fn new(pace: Pace) -> Self {
        Self { pace, began: Instant::now(), requests: AtomicU64::new(0) }
    }
}

impl Pace {
    /// What is left of a stall, so long after the start.
    fn stalled(&self, since: Duration) -> Option<Duration> {
        if self.stall.is_zero() || self.stall_every.is_zero() {
            return None;
        }
        let into = since.as_nanos() % self.stall_every.as_nanos();
        let left = self.stall_every.saturating_sub(Duration::from_nanos(into as u64));
        (left <= self.stall).then_some(left)
    }
}

impl Behaviour for Paced {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let Pace { ttft, gap, slow_one_in, slow_by, .. } = self.pace;
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let slow = slow_one_in > 0 && number % slow_one_in == slow_one_in - 1;
        let first_after = if slow { ttft.mul_f64(slow_by) } else { ttft };
        Script { first_after, gap, ..language::speak(request) }
    }

    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let (pace, began) = (self.pace, self.began);
        Box::pin(responses.then(move |response| async move {
            if let Some(left) = pace.stalled(began.elapsed()) {
                tokio::time::sleep(left).await;
            }
            response
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_ends_each_period() {
        let seconds = Duration::from_secs;
        let pace = Pace {
            ttft: seconds(0),
            gap: seconds(0),
            slow_one_in: 0,
            slow_by: 1.0,
            stall: seconds(1),
            stall_every: seconds(10),
        };
        assert_eq!(pace.stalled(seconds(5)), None);
        assert_eq!(pace.stalled(Duration::from_millis(9_250)), Some(Duration::from_millis(750)));
        assert_eq!(pace.stalled(seconds(10)), None);
        assert_eq!(pace.stalled(Duration::from_millis(19_500)), Some(Duration::from_millis(500)));
        assert_eq!(Pace { stall: Duration::ZERO, ..pace }.stalled(Duration::from_millis(9_500)), None);
    }
}
