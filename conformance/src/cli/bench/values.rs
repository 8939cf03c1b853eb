//! How the values of `bench`'s options are read: a value that cannot be meant is refused, with the value that may be.
//! Pure.

use std::{ops::RangeInclusive, time::Duration};

/// A duration above zero, of a day at most.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match whole(text)? {
        Duration::ZERO => Err("a duration above zero is needed, such as 500ms or 30s".to_owned()),
        duration => Ok(duration),
    }
}

/// A duration of a day at most. Zero is allowed and means that there is none.
pub(super) fn duration_or_none(text: &str) -> Result<Duration, String> {
    whole(text)
}

fn whole(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text.trim())
        .map_err(|error| format!("{error}; a duration is written as 500ms, 30s or 2m"))?;
    if duration > LONGEST {
        return Err("longer than a day (24h), the longest duration that is accepted".to_owned());
    }
    Ok(duration)
}

/// How much slower a candidate may be: `4%` or `0.04`.
pub(super) fn slowdown(text: &str) -> Result<f64, String> {
    match share(text)? {
        share if share <= 0.0 => {
            Err("the share must be above zero: no measurement shows a difference of exactly nothing"
                .to_owned())
        }
        share => Ok(share),
    }
}

/// The share of the requests to cancel: `10%` or `0.1`.
pub(super) fn cancelled(text: &str) -> Result<f64, String> {
    match share(text)? {
        share if share <= MOST_CANCELLED => Ok(share),
        _ => Err(format!(
            "at most {:.0}% of the requests can be cancelled: the figures come from the others",
            MOST_CANCELLED * 100.0
        )),
    }
}

/// A whole number within limits.
pub(super) fn number<T: TryFrom<u64>>(text: &str, limits: RangeInclusive<u64>) -> Result<T, String> {
    let number = text.trim().parse::<u64>().ok().filter(|number| limits.contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("expected a number from {} to {}", limits.start(), limits.end()))
}

/// How many connections are opened.
pub(super) fn connections(text: &str) -> Result<usize, String> {
    number(text, 1..=10_000)
}

/// From 0 to 1, as a number or in percent.
fn share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let (digits, unit) = match text.strip_suffix('%') {
        Some(digits) => (digits.trim_end(), 100.0),
        None => (text, 1.0),
    };
    let number = digits.parse::<f64>().ok().filter(|number| number.is_finite());
    let number = number.ok_or("expected a share, such as 4% or 0.04")?;
    match number / unit {
        share if share < 0.0 => Err("a share cannot be negative".to_owned()),
        share if share > 1.0 && unit > 1.0 => Err("a share cannot be above 100%".to_owned()),
        share if share > 1.0 => Err(format!("a share cannot be above 1; did you mean {number}%?")),
        share => Ok(share),
    }
}

const LONGEST: Duration = Duration::from_hours(24);
/// Some requests must be answered completely, or nothing is measured.
const MOST_CANCELLED: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_in_percent_or_as_a_number() {
        for (text, share) in [("4%", 0.04), ("4 %", 0.04), ("0.04", 0.04), ("12.5%", 0.125), ("1", 1.0)] {
            let read = slowdown(text).unwrap();
            assert!((read - share).abs() < 1e-12, "{text}: {read}");
        }
        for (text, words) in [
            ("4", "did you mean 4%?"),
            ("400%", "above 100%"),
            ("-0.04", "negative"),
            ("0", "above zero"),
            ("NaN", "such as 4%"),
            ("inf", "such as 4%"),
            ("four", "such as 4%"),
        ] {
            let error = slowdown(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert_eq!(cancelled("0"), Ok(0.0));
        assert!(cancelled("95%").unwrap_err().contains("at most 90%"));
    }

    #[test]
    fn durations_that_cannot_be_meant_are_refused() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration_or_none("0s"), Ok(Duration::ZERO));
        for (text, words) in [("0s", "above zero"), ("-1s", "500ms"), ("1000h", "a day"), ("5", "500ms")] {
            let error = duration(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
