//! Words for what a check expects besides one answer: answers in time, a server that still works.

use std::time::Duration;

use super::Probe;
use crate::verdict::{Judgement, NotPassed};

/// Slow answers that make a slow server; fewer are the machine's.
const SLOW: usize = 3;

/// Repeated measurements against a limit.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    /// What was measured, for the reason.
    pub what: &'static str,
    /// The contract's limit.
    pub limit: Duration,
    /// How often it is measured; three slow answers among them are the server's.
    pub samples: usize,
}

impl Within {
    /// Measures until the samples are taken or the third one is above the limit.
    pub async fn judge<F, R>(self, probe: &Probe, mut measure: F) -> Judgement
    where
        F: FnMut() -> R,
        R: Future<Output = Result<Duration, NotPassed>>,
    {
        let mut slow = Vec::new();
        for taken in 1..=self.samples {
            let took = measure().await?;
            if took > self.limit {
                slow.push(format!("{:.1} s", took.as_secs_f64()));
            }
            probe.assert(slow.len() < SLOW, || {
                let (what, limit) = (self.what, self.limit.as_secs_f64());
                format!(
                    "{what} took {} in {SLOW} of {taken} calls; the limit is {limit:.1} s",
                    slow.join(", ")
                )
            })?;
        }
        Ok(())
    }
}

impl Probe {
    /// The positive control after a negative check: the server still does good work. `after` says what came before.
    pub async fn still_serves(&self, after: &str) -> Judgement {
        let after = format!("after {after}");
        let health = self.health(&self.trace_id()).await?;
        health.informative().map_err(|why| why.when(&after))?;
        let generation = self.predict(self.request(4)).await?;
        generation.served().map_err(|why| why.when(&after))?;
        self.assert(true, String::new)
    }
}
