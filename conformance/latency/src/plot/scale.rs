//! From values to places between 0 and 1, and the round numbers on the way.

/// An axis' range, even or by powers of ten. Never empty, always finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// A linear scale: equal distances are equal differences.
    pub(crate) fn linear(low: f64, high: f64) -> Self {
        let (low, high) = (tame(low), tame(high));
        let (low, high) = if low <= high { (low, high) } else { (high, low) };
        let least = (low.abs().max(high.abs()) * FINEST).max(f64::MIN_POSITIVE.sqrt());
        if high - low < least {
            let room = (low.abs() * 0.1).max(0.5);
            return Self { low: low - room, high: high + room, log: false };
        }
        Self { low, high, log: false }
    }

    /// Steps of equal ratios.
    pub(crate) fn log(low: f64, high: f64) -> Self {
        let (low, high) = (tame(low).max(SMALLEST), tame(high).max(SMALLEST));
        let (low, high) = if low <= high { (low, high) } else { (high, low) };
        // Or all ticks would say the same.
        let lack = (LEAST_RATIO / (high / low)).max(1.0).sqrt();
        Self { low: low / lack, high: high * lack, log: true }
    }

    /// With all the values on it: even and from zero, or by powers of ten where they are too far apart for that.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = bounds(values);
        if low > 0.0 && high / low > FAR_APART {
            Self::log(low / ROOM, high * ROOM)
        } else {
            Self::linear(low.min(0.0), high * ROOM)
        }
    }

    /// Whether the scale is logarithmic.
    pub(crate) fn is_log(&self) -> bool {
        self.log
    }

    /// The lower end of the scale.
    pub(crate) fn low(&self) -> f64 {
        self.low
    }

    /// Where a value is, from 0 to 1; beyond the ends, at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(SMALLEST) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Round values, ascending; about `most` of them.
    pub(super) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        if !self.log {
            return self.even_ticks(most);
        }
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let within = |value: &f64| (self.low..=self.high).contains(value);
        let of = |heads: &[f64]| -> Vec<f64> {
            let values = decades.clone().flat_map(|power| heads.iter().map(move |h| h * 10_f64.powi(power)));
            values.filter(within).collect()
        };
        let mut values = of(&[1.0, 2.0, 5.0]);
        if values.len() > most.max(2) {
            values = of(&[1.0]);
        }
        if values.len() < 3 {
            return self.even_ticks(most);
        }
        let every = values.len().div_ceil(most.max(2));
        let label = |value: f64| (value, grouped(value, decimals(value)));
        values.into_iter().step_by(every).map(label).collect()
    }

    fn even_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let raw = (self.high - self.low) / most.max(2) as f64;
        let power = 10_f64.powf(raw.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|head| head * power).into_iter().find(|step| *step >= raw * 0.999);
        let step = step.unwrap_or(raw);
        let (from, decimals) = ((self.low / step).ceil(), decimals(step));
        let value = |n: u32| (from + f64::from(n)) * step;
        let values = (0..=2 * most as u32).map(value).take_while(|value| *value <= self.high + step * 1e-9);
        // Zero has no sign.
        values.map(|value| (value, grouped(value + 0.0, decimals))).collect()
    }
}

/// The least and the largest; 0 and 1 without any.
fn bounds(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let finite = values.into_iter().filter(|value| value.is_finite());
    let found = finite.fold(None, |found: Option<(f64, f64)>, value| {
        Some(found.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
    });
    found.unwrap_or((0.0, 1.0))
}

/// With commas between thousands; a dash for what is no number.
pub(crate) fn grouped(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(w, r)| (w, Some(r)));
    let mut shown = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    if let Some(rest) = rest {
        shown = format!("{shown}.{rest}");
    }
    // A value that rounds to nothing has no sign either.
    let negative = value < 0.0 && text.contains(|digit: char| ('1'..='9').contains(&digit));
    if negative { format!("−{shown}") } else { shown }
}

/// As many as a step of this size needs.
fn decimals(step: f64) -> usize {
    (-(step.abs().log10() + 1e-9).floor()).clamp(0.0, 6.0) as usize
}

fn tame(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(-LARGEST, LARGEST) }
}

/// Of anything that is drawn; beyond it floating point has no neighbours to tell apart.
const LARGEST: f64 = 1e15;
/// On a logarithmic axis: in milliseconds, a nanosecond.
const SMALLEST: f64 = 1e-6;
/// Ranges that are relatively smaller are empty.
const FINEST: f64 = 1e-9;
/// Values whose ratio is larger do not fit on an even axis: the small ones would lie on its floor.
const FAR_APART: f64 = 20.0;
/// From end to end of a logarithmic axis.
const LEAST_RATIO: f64 = 1.3;
/// Above the largest value.
const ROOM: f64 = 1.08;

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, most: usize) -> Vec<String> {
        scale.ticks(most).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(Scale::linear(0.0, 1.0), 5), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Scale::linear(-12.0, 31.0), 5), ["−10", "0", "10", "20", "30"]);
        assert_eq!(labels(Scale::linear(0.0, 5_200.0), 4), ["0", "2,000", "4,000"]);
        assert_eq!(labels(Scale::log(3.0, 3_000.0), 4), ["10", "100", "1,000"]);
        assert_eq!(labels(Scale::log(15.0, 60.0), 8), ["20", "30", "40", "50", "60"]);
        assert_eq!(labels(Scale::log(0.02, 3.0), 9), ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]);
    }

    #[test]
    fn any_range_has_a_few_ticks_on_it() {
        let ends = [
            f64::NAN,
            f64::NEG_INFINITY,
            -1e300,
            -3.0,
            0.0,
            1e-300,
            1e-9,
            7.0,
            7.000_000_1,
            1e18,
            f64::INFINITY,
        ];
        for low in ends {
            for high in ends {
                for scale in [Scale::linear(low, high), Scale::log(low, high), Scale::of([low, high])] {
                    let ticks = scale.ticks(6);
                    assert!((1..=14).contains(&ticks.len()), "{low} to {high}: {ticks:?}");
                    assert!(ticks.iter().all(|(value, _)| (0.0..=1.0).contains(&scale.place(*value))));
                    assert!(scale.place(low).is_finite() && scale.place(high).is_finite());
                }
            }
        }
    }

    #[test]
    fn values_far_apart_are_shown_by_powers_of_ten_and_others_from_zero() {
        assert!(Scale::of([5.0, 2_000.0]).is_log());
        let near = Scale::of([18.0, 25.0, f64::NAN]);
        assert!(!near.is_log() && near.low() == 0.0 && near.place(25.0) > 0.9);
        let middle = Scale::log(1.0, 10_000.0).place(100.0);
        assert!((middle - 0.5).abs() < 1e-12, "equal ratios are equally far: {middle}");
    }
}
