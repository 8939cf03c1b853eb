//! Values of options that must be more than nothing and less than absurd. Pure.

use std::time::Duration;

use crate::vocabulary::Role;

/// A role by its name.
pub(super) fn role(name: &str) -> Result<Role, String> {
    Role::ALL
        .into_iter()
        .find(|role| role.to_string() == name)
        .ok_or_else(|| "expected server, proxy, gateway or enterprise".to_owned())
}

/// How many checks run at a time.
pub(super) fn jobs(text: &str) -> Result<usize, String> {
    number(text, 1, 256)
}

/// How often the plan is run.
pub(super) fn repeats(text: &str) -> Result<usize, String> {
    number(text, 1, 1000)
}

/// A time to wait for something.
pub(super) fn patience(text: &str) -> Result<Duration, String> {
    let given = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if (SHORTEST..=LONGEST).contains(&given) {
        return Ok(given);
    }
    let (shortest, longest) = (humantime::format_duration(SHORTEST), humantime::format_duration(LONGEST));
    Err(format!("expected a time from {shortest} to {longest}"))
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
}

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_negative_and_absurd_values_are_refused() {
        for bad in ["0", "-1", "1.5", "257", "99999999999999999999", "", "many"] {
            assert!(jobs(bad).is_err(), "{bad}");
        }
        for bad in ["0s", "-1s", "2h", "10000y", "5", "", "soon"] {
            assert!(patience(bad).is_err(), "{bad}");
        }
        assert_eq!(jobs("4"), Ok(4));
        assert_eq!(repeats("1000"), Ok(1000));
        assert_eq!(patience("1m"), Ok(Duration::from_mins(1)));
        assert_eq!(patience("0s").unwrap_err(), "expected a time from 1ms to 1h");
    }
}
