//! The counter `requests_inflight` of Health, where it is shown: whether it rises as work begins, and falls as work ends.

use std::time::{Duration, Instant};

use super::Probe;
use crate::verdict::NotPassed;

/// Between two looks at the counter: first as often as this, and then less often.
const GLANCE: Duration = Duration::from_millis(2);
const SELDOM: Duration = Duration::from_millis(25);
/// The counter rises as soon as a request is taken.
const RISES: usize = 10;

impl Probe {
    /// `requests_inflight` of Health, where it is shown.
    pub async fn requests_inflight(&self) -> Result<Option<i64>, NotPassed> {
        let health = self.health(&self.trace_id()).await?;
        let shown = health.informative()?.metrics.get("requests_inflight").and_then(|v| v.parse().ok());
        self.endpoint().seen.add_counter(shown.unwrap_or_default());
        Ok(shown)
    }

    /// Whether the counter shows that no request is in flight, and has shown before that it counts.
    pub(super) async fn shows_none_inflight(&self) -> bool {
        self.endpoint().seen.counter_moved() && matches!(self.requests_inflight().await, Ok(Some(0)))
    }

    /// Whether the counter rises soon.
    pub async fn inflight_rises_above(&self, before: Option<i64>) -> Result<bool, NotPassed> {
        for _ in 0..RISES {
            if self.requests_inflight().await? > before {
                return Ok(true);
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(false)
    }

    /// Waits for the counter to come back; what it shows if it has not come back so long after `since`.
    pub async fn inflight_stays_above(
        &self,
        before: i64,
        since: Instant,
        limit: Duration,
    ) -> Result<Option<i64>, NotPassed> {
        let mut pause = GLANCE;
        loop {
            let now = self.requests_inflight().await?.unwrap_or(before);
            if now <= before {
                return Ok(None);
            }
            if since.elapsed() > limit {
                return Ok(Some(now));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SELDOM);
        }
    }
}
