//! What was judged, and how: among others, whether memory grew. Pure.

use benches::statistics::{Interval, Trend, median};
use serde::Serialize;

use super::samples::Sample;

/// One thing that must hold.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) holds: bool,
    pub(crate) seen: String,
}

impl Verdict {
    pub(crate) fn new(what: impl Into<String>, holds: bool, seen: impl Into<String>) -> Self {
        Self { what: what.into(), holds, seen: seen.into() }
    }
}

/// The growth of the server's memory after its warm-up, the first quarter of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Growth {
    /// Medians of the first and the last quarter of what is left, in KiB.
    pub(crate) first_kib: f64,
    pub(crate) last_kib: f64,
    /// In KiB a minute, with its 95 % interval.
    pub(crate) slope: f64,
    pub(crate) interval: Interval,
}

impl Growth {
    /// `None` for too few samples to say.
    pub(crate) fn of(samples: &[Sample]) -> Option<Self> {
        let resident: Vec<(f64, f64)> = samples
            .iter()
            .filter_map(|sample| Some((sample.seconds / 60.0, sample.resident_kib? as f64)))
            .collect();
        let warm = &resident[resident.len() / 4..];
        let quarter = warm.len() / 4;
        if quarter < LEAST_QUARTER {
            return None;
        }
        let middle = |part: &[(f64, f64)]| median(&part.iter().map(|(_, kib)| *kib).collect::<Vec<_>>());
        let Trend { slope, interval } = Trend::fit(warm)?;
        let (first_kib, last_kib) = (middle(&warm[..quarter])?, middle(&warm[warm.len() - quarter..])?);
        Some(Self { first_kib, last_kib, slope, interval })
    }

    /// Less than 2 % or 8 MiB from the first quarter to the last.
    pub(crate) fn is_flat(&self) -> bool {
        let grown = self.last_kib - self.first_kib;
        grown < self.first_kib * MOST_SHARE || grown < MOST_KIB
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let Self { first_kib, last_kib, slope, interval } = self;
        let seen = format!(
            "{:.1} MiB in the first quarter after warm-up, {:.1} MiB in the last; {slope:+.0} KiB/min (95 %: {:+.0} to {:+.0})",
            first_kib / 1024.0,
            last_kib / 1024.0,
            interval.low,
            interval.high
        );
        Verdict::new("the server's memory does not grow", self.is_flat(), seen)
    }
}

/// Samples in a quarter, or a median says nothing.
const LEAST_QUARTER: usize = 3;
/// Room for an allocator's own ups and downs, and for one copy more or less of the model that comes and goes; a leak of one KiB a
/// request passes both within minutes.
const MOST_SHARE: f64 = 0.02;
const MOST_KIB: f64 = 8192.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// One sample every five seconds.
    fn samples(count: u32, kib: impl Fn(f64) -> f64) -> Vec<Sample> {
        let at = |i: u32| Sample {
            seconds: f64::from(i) * 5.0,
            resident_kib: Some(kib(f64::from(i)) as u64),
            ..Sample::default()
        };
        (0..count).map(at).collect()
    }

    #[test]
    fn a_warm_up_is_no_growth() {
        let growth = Growth::of(&samples(100, |i| if i < 20.0 { 50_000.0 + i * 1000.0 } else { 70_000.0 }));
        assert!(growth.unwrap().is_flat());
    }

    #[test]
    fn a_leak_is_growth() {
        let leak = Growth::of(&samples(100, |i| 100_000.0 + i * 200.0)).unwrap();
        assert!(!leak.is_flat(), "{leak:?}");
        // 200 KiB every 5 s.
        assert!((leak.slope - 2400.0).abs() < 1.0);
    }

    #[test]
    fn a_little_is_not_judged_a_leak_and_too_little_is_not_judged() {
        assert!(Growth::of(&samples(100, |i| 200_000.0 + i * 40.0)).unwrap().is_flat());
        assert_eq!(Growth::of(&samples(12, |_| 1000.0)), None);
    }
}
