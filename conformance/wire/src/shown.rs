//! How text, bytes and times appear in evidence and in reasons. Pure.

use std::time::Duration;

/// Text as it appears in evidence and reasons: quoted, control characters escaped, at most `limit` characters.
pub fn quote(text: &str, limit: usize) -> String {
    let count = text.chars().count();
    if count <= limit {
        return format!("{text:?}");
    }
    let cut: String = text.chars().take(limit).collect();
    format!("{cut:?}… ({count} characters)")
}

/// Bytes as they appear in evidence: hexadecimal, at most 32 of them.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes.iter().take(32) {
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > 32 {
        let _ = write!(text, "… ({} bytes)", bytes.len());
    }
    text
}

/// A time for people: `850 ms`, `1.2 s`, `20 s`, `2 min 5 s`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = seconds.round() as u64;
    match seconds {
        _ if time.is_zero() => "0 s".to_owned(),
        ..0.001 => format!("{:.2} ms", seconds * 1e3),
        ..0.995 => format!("{:.0} ms", seconds * 1e3),
        ..9.95 => format!("{seconds:.1} s").replace(".0 s", " s"),
        ..119.5 => format!("{whole} s"),
        _ if whole.is_multiple_of(60) => format!("{} min", whole / 60),
        _ => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_people() {
        for (seconds, shown) in [
            (0.0, "0 s"),
            (0.000_25, "0.25 ms"),
            (0.85, "850 ms"),
            (1.0, "1 s"),
            (1.234_567, "1.2 s"),
            (49.202_912_04, "49 s"),
            (60.0, "60 s"),
            (120.0, "2 min"),
            (125.4, "2 min 5 s"),
        ] {
            assert_eq!(time(Duration::from_secs_f64(seconds)), shown);
        }
    }
}
