//! Words for what a check expects besides one answer: an answer in time, a server that still works.

use std::time::Duration;

use super::Probe;
use crate::requirement::{Judgement, NotPassed};

/// How often a slow answer is measured before it is judged.
const TRIES: u32 = 3;

/// The best of a few measurements against a limit.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    /// What was measured, for the reason.
    pub what: &'static str,
    /// The contract's limit.
    pub limit: Duration,
}

impl Within {
    /// Judges the best of `TRIES` measurements: one slow answer is the machine's, three are the server's.
    pub async fn judge<F, R>(self, probe: &Probe, mut measure: F) -> Judgement
    where
        F: FnMut() -> R,
        R: Future<Output = Result<Duration, NotPassed>>,
    {
        let mut seen = Vec::new();
        for _ in 0..TRIES {
            let took = measure().await?;
            if took <= self.limit {
                return probe.assert(true, String::new);
            }
            seen.push(took);
        }
        probe.assert(false, || {
            let best = seen.iter().min().copied().unwrap_or_default();
            format!(
                "{} took {:.1} s at best of {TRIES} tries; the limit is {:.1} s",
                self.what,
                best.as_secs_f64(),
                self.limit.as_secs_f64()
            )
        })
    }
}

impl Probe {
    /// The positive control after a negative check: the server still does good work. `after` says what came before.
    pub async fn still_serves(&self, after: &str) -> Judgement {
        let health = self.health(&self.trace_id()).await?;
        health.informative().map_err(|why| because(after, why))?;
        let generation = self.predict(self.request(4)).await?;
        generation.served().map_err(|why| because(after, why))?;
        self.assert(true, String::new)
    }
}

/// Puts the circumstance before the reason.
fn because(after: &str, why: NotPassed) -> NotPassed {
    match why {
        NotPassed::Fail(reason) => NotPassed::Fail(format!("after {after}, {reason}")),
        other => other,
    }
}
