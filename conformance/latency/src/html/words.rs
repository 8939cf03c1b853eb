//! Figures as a reader says them.

use present::text::visible;
use statistics::{Finding, Verdict};

use crate::{metrics::Metric, plot::grouped, record::Setup};

/// A metric in words.
pub(super) const fn meaning(metric: Metric) -> &'static str {
    match metric {
        Metric::Ttft => "time to the first token",
        Metric::TtftActual => "time to the first token from the actual send",
        Metric::Itl => "gap between tokens",
        Metric::Tpot => "time per later token",
        Metric::E2e => "time to the last token",
        Metric::Lag => "lateness of this client",
        Metric::CancelToFree => "time from a cancel until the server is free",
    }
}

/// A finding's metric and quantile in words.
pub(super) fn subject(finding: &Finding) -> String {
    let metric = Metric::ALL.into_iter().find(|metric| metric.name() == finding.metric);
    let metric = metric.map_or_else(|| visible(&finding.metric), |metric| meaning(metric).to_owned());
    if is_median(finding) {
        return metric;
    }
    format!("{metric} at the {} percentile", nth(finding.quantile))
}

/// As tables and programs write it: `ttft p50`.
pub(super) fn short(finding: &Finding) -> String {
    format!("{} p{}", visible(&finding.metric), finding.quantile * 100.0)
}

/// A quantile as an ordinal percentile, such as "99th".
fn nth(quantile: f64) -> String {
    let number = (quantile * 1e4).round() / 1e2;
    let ending = match number as u64 % 100 {
        11..=13 => "th",
        other => match other % 10 {
            1 => "st",
            2 => "nd",
            3 => "rd",
            _ => "th",
        },
    };
    format!("{number}{ending}")
}

fn is_median(finding: &Finding) -> bool {
    (finding.quantile - 0.5).abs() < 1e-9
}

/// As "20 % longer [17 %, 23 %]": the centre and its limits.
pub(super) fn change(finding: &Finding) -> String {
    let [centre, low, high] = [finding.centre, finding.low, finding.high].map(|ratio| ratio - 1.0);
    let near = high - low < NEAR && ![centre, low, high].into_iter().all(is_whole);
    let decimals = usize::from(near);
    // Both limits turn with the sign of what they are limits of.
    let (size, low, high, word) =
        if centre < 0.0 { (-centre, -high, -low, "shorter") } else { (centre, low, high, "longer") };
    let percent = |share: f64| percent(share, decimals);
    format!("{} {word} [{}, {}]", percent(size), percent(low), percent(high))
}

/// A share in percent, such as "5 %".
pub(super) fn share(share: f64) -> String {
    percent(share, usize::from(share.abs() < 0.1 && !is_whole(share)))
}

fn percent(share: f64, decimals: usize) -> String {
    format!("{}{NO_BREAK}%", grouped(share * 100.0, decimals))
}

/// Whether a share is a whole number of percent.
fn is_whole(share: f64) -> bool {
    (share * 100.0 - (share * 100.0).round()).abs() < 1e-6
}

/// Milliseconds with their unit.
pub(super) fn milliseconds(ms: f64) -> String {
    format!("{}{NO_BREAK}ms", digits(ms))
}

/// Milliseconds with about three significant digits.
pub(super) fn digits(ms: f64) -> String {
    let decimals = match ms.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    grouped(ms, decimals)
}

/// Seconds since the start.
pub(super) fn seconds(seconds: f64) -> String {
    format!("{}{NO_BREAK}s", grouped(seconds, 1))
}

/// A count with its noun, such as "1 request" or "2 requests".
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{} {what}{}", grouped(count as f64, 0), if count == 1 { "" } else { "s" })
}

/// A verdict's word and its sign.
pub(super) const fn verdict(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Pass => ("pass", "✓ PASS"),
        Verdict::Fail => ("fail", "✗ FAIL"),
        Verdict::Inconclusive => ("inconclusive", "? INCONCLUSIVE"),
    }
}

/// What was asked, and where.
pub(super) fn load(setup: &Setup) -> Vec<super::Fact> {
    load_of(setup, &setup.shown_model())
}

/// The same for two sides: `model` says which was asked for which.
pub(super) fn load_of(setup: &Setup, model: &str) -> Vec<super::Fact> {
    let connections = counted(setup.connections, "connection");
    vec![
        ("model", format!("{model} (dialect {})", visible(&setup.dialect))),
        ("load", format!("{}, over {connections}", visible(&setup.load))),
        (
            "requests",
            format!(
                "{} prompts, {} tokens asked for, seed {}",
                visible(&setup.prompts),
                setup.tokens,
                setup.seed
            ),
        ),
        ("measured", format!("{} on {}", visible(&setup.started), visible(&setup.host))),
    ]
}

/// Between a number and its unit.
const NO_BREAK: char = '\u{a0}';
/// Limits so near to each other differ in tenths of a percent.
const NEAR: f64 = 0.03;

#[cfg(test)]
mod tests {
    use super::*;

    fn spaced(text: &str) -> String {
        text.replace(NO_BREAK, " ")
    }

    fn finding(quantile: f64, centre: f64, low: f64, high: f64) -> Finding {
        Finding {
            metric: "ttft".to_owned(),
            quantile,
            centre,
            low,
            high,
            threshold: 0.05,
            requested: 0.05,
            floor: None,
            detectable: 0.1,
            verdict: Verdict::Pass,
            ratios: vec![centre],
        }
    }

    #[test]
    fn a_change_is_said_with_its_limits() {
        assert_eq!(spaced(&change(&finding(0.5, 1.2, 1.171, 1.228))), "20 % longer [17 %, 23 %]");
        assert_eq!(spaced(&change(&finding(0.5, 1.003, 0.991, 1.02))), "0.3 % longer [−0.9 %, 2.0 %]");
        assert_eq!(spaced(&change(&finding(0.5, 0.5, 0.4, 0.7))), "50 % shorter [30 %, 60 %]");
        assert_eq!(subject(&finding(0.5, 1.0, 1.0, 1.0)), "time to the first token");
        assert_eq!(subject(&finding(0.99, 1.0, 1.0, 1.0)), "time to the first token at the 99th percentile");
        assert_eq!(nth(0.999), "99.9th");
        assert_eq!(short(&finding(0.99, 1.0, 1.0, 1.0)), "ttft p99");
    }

    #[test]
    fn shares_and_times_have_the_digits_that_matter() {
        assert_eq!(
            [0.05, 0.015, 0.1, 3.0, 12.5].map(|s| spaced(&share(s))),
            ["5 %", "1.5 %", "10 %", "300 %", "1,250 %"]
        );
        let times = [0.0, 0.0213, 5.031, 20.44, 335.2, 1_021.7].map(|ms| spaced(&milliseconds(ms)));
        assert_eq!(times, ["0 ms", "0.021 ms", "5.03 ms", "20.4 ms", "335 ms", "1,022 ms"]);
    }
}
