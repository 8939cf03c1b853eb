//! The `grpc-timeout` header. tonic applies it until the response's headers are sent, which for a stream is at once;
//! the rest of the call is ours to bound (CONCURRENCY-004).

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// The time that the caller gives the call; `None` when it gives no limit, or none that can be read.
pub(super) fn of(metadata: &MetadataMap) -> Option<Duration> {
    parse(metadata.get("grpc-timeout")?.to_str().ok()?)
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        assert_eq!(parse("2H"), Some(Duration::from_hours(2)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
    }

    #[test]
    fn anything_else_is_no_limit() {
        for text in ["", "S", "1", "-1S", "123456789S", "1é", "1.5S", "+1S"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
