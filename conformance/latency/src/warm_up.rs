//! Load before the measurement, until the target answers no sooner than before.

use std::time::{Duration, Instant};

use crate::{
    arrivals::Load,
    load::{self, CannotStart, Job, Tally},
    metrics::{Metric, quantile},
};

/// Puts load on the target until its first token comes no sooner than before.
pub async fn warm_up(job: &Job, tally: &Tally, most: Duration) -> Result<(), CannotStart> {
    let (mut before, mut round) =
        (None, Job { length: ROUND, cancel_share: 0.0, requests: None, ..job.clone() });
    if !matches!(round.load, Load::Closed { .. }) {
        round.load = Load::Closed { clients: 1 };
    }
    let began = Instant::now();
    while began.elapsed() < most && !tally.is_stopped() {
        let now = quantile(Metric::Ttft.values(&load::run(&round, tally).await?), 0.5);
        if before.zip(now).is_some_and(|(before, now): (f64, f64)| (now / before - 1.0).abs() < FLAT) {
            break;
        }
        (before, round.seed) = (now, round.seed + 1);
    }
    Ok(())
}

const ROUND: Duration = Duration::from_millis(500);
/// Two rounds whose medians differ by less are of a server that is warm.
const FLAT: f64 = 0.05;
