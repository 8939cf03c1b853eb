//! How long a run will take, said where it takes long: from the target's own speed before the first check, and from the checks
//! that are over after that.

use std::time::{Duration, Instant};

use wire::time;

use crate::{
    runner::{Plan, Surveyed},
    vocabulary::Isolation,
};

/// A run that is over sooner needs no forecast.
const WORTH_A_WORD: Duration = Duration::from_secs(30);
/// Between two words.
const PAUSE: Duration = Duration::from_secs(30);
/// Short generations that a check needs, on the average.
const GENERATIONS: f64 = 5.0;

/// What is known of the time that a run takes.
#[derive(Clone, Debug)]
pub(super) struct Forecast {
    planned: usize,
    finished: usize,
    first: Duration,
    began: Instant,
    told: Instant,
}

impl Forecast {
    /// From the speed of one generation and the width at which shared checks run.
    pub(super) fn new(plan: &Plan, target: &Surveyed, jobs: usize) -> Self {
        let width = target.width.min(jobs).max(1) as f64;
        let shared = plan.requirements.iter().filter(|r| r.isolation == Isolation::Shared).count() as f64;
        let alone = plan.requirements.len() as f64 - shared;
        let generations = GENERATIONS * (alone + shared / width);
        let now = Instant::now();
        Self {
            planned: plan.requirements.len(),
            finished: 0,
            first: target.generation.mul_f64(generations).min(Duration::from_hours(24)),
            began: now,
            told: now,
        }
    }

    /// One more check is over.
    pub(super) fn finished(&mut self) {
        self.finished += 1;
    }

    /// What is left by the checks so far, if it is time for a word.
    fn left(&mut self) -> Option<Duration> {
        if self.told.elapsed() < PAUSE || self.finished == 0 || self.finished >= self.planned {
            return None;
        }
        self.told = Instant::now();
        let left = (self.planned - self.finished) as f64 / self.finished as f64;
        Some(self.began.elapsed().mul_f64(left))
    }
}

/// Says before the first check how long the run takes, if it takes long.
pub(super) fn said(forecast: &Forecast) {
    if forecast.first >= WORTH_A_WORD {
        eprintln!("this target is slow: {} checks take about {}", forecast.planned, time(forecast.first));
    }
}

/// Says from time to time what is left.
pub(super) fn said_again(forecast: &mut Forecast) {
    if let Some(left) = forecast.left() {
        eprintln!("{} of {} checks are over, about {} left", forecast.finished, forecast.planned, time(left));
    }
}
