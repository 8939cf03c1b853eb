//! When requests are to be sent: decided before the first is, and by nothing that the server does.

use std::{fmt, fs, path::PathBuf, str::FromStr, time::Duration};

use rand::{RngExt as _, rngs::StdRng};
use thiserror::Error;

use super::record::Nanos;

/// How load comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// So many clients, each of which sends its next request when its last one has ended. A server that stalls is asked
    /// less: good for throughput, blind for latency under load.
    Closed {
        /// Number of clients.
        clients: usize,
    },
    /// A request every 1/rate seconds, whatever the server does.
    Constant {
        /// Requests a second.
        rate: f64,
    },
    /// The same rate at random times, as by independent clients.
    Poisson {
        /// Requests a second, on the average.
        rate: f64,
    },
    /// A rate that grows evenly over the run.
    Ramp {
        /// Requests a second at the start.
        from: f64,
        /// Requests a second at the end.
        to: f64,
    },
    /// Send times from a file: seconds since the start, one a line.
    Trace {
        /// The file with the send times.
        path: PathBuf,
    },
}

/// A load that cannot be understood or read.
#[derive(Debug, Error)]
pub enum BadLoad {
    /// Not one of the forms.
    #[error("{0:?} is not a load: write closed:8, constant:20, poisson:20, ramp:5..50 or trace:FILE")]
    Form(String),
    /// A rate must be a positive number.
    #[error(
        "{0:?} is not a number above zero: write up to {MOST_CLIENTS} clients, or up to {HIGHEST_RATE} requests a second"
    )]
    Number(String),
    /// More requests than the client can plan.
    #[error("the load plans {0:.0} requests; at most {MOST_PLANNED} can be planned for one run")]
    TooMany(f64),
    /// The trace file cannot be used.
    #[error("cannot read the trace {}: {why}", .path.display())]
    Trace {
        /// The trace file that cannot be used.
        path: PathBuf,
        /// Why not, with the line.
        why: String,
    },
}

impl FromStr for Load {
    type Err = BadLoad;

    fn from_str(text: &str) -> Result<Self, BadLoad> {
        let number = |text: &str| match text.parse::<f64>() {
            Ok(number) if number > 0.0 && number <= HIGHEST_RATE => Ok(number),
            _ => Err(BadLoad::Number(text.to_owned())),
        };
        let form = || BadLoad::Form(text.to_owned());
        let (kind, value) = text.split_once(':').ok_or_else(form)?;
        Ok(match kind {
            "closed" => match value.parse() {
                Ok(clients @ 1..=MOST_CLIENTS) => Self::Closed { clients },
                _ => return Err(BadLoad::Number(value.to_owned())),
            },
            "constant" => Self::Constant { rate: number(value)? },
            "poisson" => Self::Poisson { rate: number(value)? },
            "ramp" => {
                let (from, to) = value.split_once("..").ok_or_else(form)?;
                Self::Ramp { from: number(from)?, to: number(to)? }
            }
            "trace" => Self::Trace { path: value.into() },
            _ => return Err(form()),
        })
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { clients } => write!(f, "closed:{clients}"),
            Self::Constant { rate } => write!(f, "constant:{rate}"),
            Self::Poisson { rate } => write!(f, "poisson:{rate}"),
            Self::Ramp { from, to } => write!(f, "ramp:{from}..{to}"),
            Self::Trace { path } => write!(f, "trace:{}", path.display()),
        }
    }
}

impl Load {
    /// Whether a run of this length can be planned: reads a trace, and bounds the number of requests.
    pub fn check(&self, length: Duration, most: Option<u64>) -> Result<(), BadLoad> {
        let seconds = length.as_secs_f64();
        let expected = match self {
            Self::Closed { .. } => 0.0,
            Self::Constant { rate } | Self::Poisson { rate } => rate * seconds,
            Self::Ramp { from, to } => (from + to) / 2.0 * seconds,
            Self::Trace { path } => read_trace(path, seconds)?.len() as f64,
        };
        let expected = most.map_or(expected, |most| expected.min(most as f64));
        if expected > MOST_PLANNED as f64 { Err(BadLoad::TooMany(expected)) } else { Ok(()) }
    }

    /// The planned send times within `length`, ascending and `most` of them; none for a closed loop, which plans nothing.
    pub fn plan(&self, length: Duration, most: Option<u64>, rng: &mut StdRng) -> Result<Vec<Nanos>, BadLoad> {
        let end = length.as_secs_f64();
        let most = most.unwrap_or(u64::MAX);
        let nanos = |seconds: f64| (seconds * 1e9) as Nanos;
        let times: Vec<f64> = match self {
            Self::Closed { .. } => Vec::new(),
            Self::Constant { rate } => {
                (0..((end * rate).ceil() as u64).min(most)).map(|number| number as f64 / rate).collect()
            }
            Self::Poisson { rate } => {
                let mut times = Vec::new();
                let mut at = gap(rng, *rate);
                while at < end && (times.len() as u64) < most {
                    times.push(at);
                    at += gap(rng, *rate);
                }
                times
            }
            Self::Ramp { from, to } => {
                // After t seconds, `from t + (to - from) t² / (2 end)` requests have been sent; solved for t.
                let total = (from + to) / 2.0 * end;
                let slope = (to - from) / end;
                let at = |number: f64| {
                    if slope.abs() < 1e-9 {
                        number / from
                    } else {
                        ((from * from + 2.0 * slope * number).max(0.0).sqrt() - from) / slope
                    }
                };
                (0..(total as u64).min(most)).map(|number| at(number as f64)).collect()
            }
            Self::Trace { path } => {
                let mut times = read_trace(path, end)?;
                times.truncate(usize::try_from(most).unwrap_or(usize::MAX));
                times
            }
        };
        Ok(times.into_iter().map(nanos).collect())
    }
}

/// Between two arrivals of a Poisson process: exponential, by inversion.
fn gap(rng: &mut StdRng, rate: f64) -> f64 {
    -(1.0 - rng.random::<f64>()).ln() / rate
}

fn read_trace(path: &PathBuf, end: f64) -> Result<Vec<f64>, BadLoad> {
    let bad = |why: String| BadLoad::Trace { path: path.clone(), why };
    let text = fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let mut times = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.parse::<f64>() {
            Ok(at) if at.is_finite() && at >= 0.0 => times.push(at),
            _ => return Err(bad(format!("line {}: {line:?} is not a number of seconds", number + 1))),
        }
    }
    times.sort_by(f64::total_cmp);
    times.retain(|at| *at < end);
    if times.is_empty() { Err(bad("it holds no send time within the run".to_owned())) } else { Ok(times) }
}

/// More clients in one process measure the process.
const MOST_CLIENTS: usize = 100_000;
/// Requests a second.
const HIGHEST_RATE: f64 = 1e6;
/// Requests of one run: each needs a record in memory.
const MOST_PLANNED: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn plan(load: &str, seconds: u64) -> Vec<Nanos> {
        let load: Load = load.parse().unwrap();
        load.plan(Duration::from_secs(seconds), None, &mut StdRng::seed_from_u64(1)).unwrap()
    }

    #[test]
    fn loads_are_read_as_they_are_written() {
        for text in ["closed:8", "constant:2.5", "poisson:20", "ramp:5..50", "trace:/a/b"] {
            assert_eq!(text.parse::<Load>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "closed",
            "closed:0",
            "closed:1000000000",
            "poisson:1e12",
            "ramp:0..5",
            "constant:-1",
            "poisson:NaN",
            "ramp:5",
            "burst:1",
        ] {
            assert!(text.parse::<Load>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_plan_that_does_not_fit_into_memory_is_refused() {
        let check =
            |load: &str, hours| load.parse::<Load>().unwrap().check(Duration::from_hours(hours), None);
        assert!(check("constant:100", 1).is_ok() && check("closed:8", 24).is_ok());
        let error = check("constant:100000", 24).unwrap_err().to_string();
        assert!(error.contains("plans 8640000000 requests"), "{error}");
    }

    #[test]
    fn a_constant_rate_is_one() {
        assert_eq!(plan("constant:4", 1), [0, 250_000_000, 500_000_000, 750_000_000]);
    }

    #[test]
    fn a_poisson_process_has_its_rate_and_its_spread() {
        let times = plan("poisson:100", 100);
        assert!((9_700..10_300).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e9).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "an exponential's deviation is its mean");
    }

    #[test]
    fn a_ramp_sends_more_and_more() {
        let times = plan("ramp:10..30", 10);
        assert_eq!(times.len(), 200);
        let half = times.iter().filter(|at| **at < 5_000_000_000).count();
        assert_eq!(half, 75, "10 a second growing to 20");
        assert!(times.is_sorted());
    }

    #[test]
    fn a_trace_says_which_line_is_wrong() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "# seconds\n0.5\n0\n7\n").unwrap();
        let load = format!("trace:{}", file.path().display());
        assert_eq!(plan(&load, 5), [0, 500_000_000]);
        fs::write(&file, "0.5\nsoon\n").unwrap();
        let load: Load = load.parse().unwrap();
        let error = load.plan(Duration::from_secs(5), None, &mut StdRng::seed_from_u64(1)).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
