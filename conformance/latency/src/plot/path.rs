//! The `d` of SVG paths, from places in pixels. A tenth of a pixel is fine enough, and short.

use std::fmt::Write as _;

use super::plane::Mark;

pub(super) fn line(places: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (at, (x, y)) in places.iter().enumerate() {
        let _ = write!(d, "{}{} {}", if at == 0 { 'M' } else { 'L' }, tenth(*x), tenth(*y));
    }
    d
}

/// Along the height of each place to the next, and then to its height.
pub(super) fn step(places: &[(f64, f64)]) -> String {
    let mut d = String::new();
    for (at, (x, y)) in places.iter().enumerate() {
        let _ = if at == 0 {
            write!(d, "M{} {}", tenth(*x), tenth(*y))
        } else {
            write!(d, "H{}V{}", tenth(*x), tenth(*y))
        };
    }
    d
}

/// All in one path; marks that fall together are drawn once.
pub(super) fn marks(mark: Mark, places: &[(f64, f64)]) -> String {
    let mut drawn: Vec<_> = places.iter().map(|(x, y)| (ten_times(*x), ten_times(*y))).collect();
    drawn.sort_unstable();
    drawn.dedup();
    let mut d = String::new();
    for (x, y) in drawn {
        let (x, y) = (x as f64 / 10.0, y as f64 / 10.0);
        let _ = match mark {
            // Nothing but its round cap.
            Mark::Round => write!(d, "M{x} {y}h0"),
            Mark::Diamond => write!(d, "M{x} {}l3 3-3 3-3-3z", tenth(y - 3.0)),
            Mark::Cross => write!(d, "M{} {}l7 7m0-7l-7 7", tenth(x - 3.5), tenth(y - 3.5)),
        };
    }
    d
}

/// A bar with a foot at both ends.
pub(super) fn interval(x: f64, from: f64, to: f64) -> String {
    let (x, from, to) = (tenth(x), tenth(from), tenth(to));
    format!("M{} {from}h12M{x} {from}V{to}M{} {to}h12", tenth(x - 6.0), tenth(x - 6.0))
}

pub(super) fn area(left: f64, top: f64, right: f64, bottom: f64) -> String {
    format!("M{} {}H{}V{}H{}z", tenth(left), tenth(top), tenth(right), tenth(bottom), tenth(left))
}

fn ten_times(x: f64) -> i64 {
    (x * 10.0).round() as i64
}

pub(super) fn tenth(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_short() {
        assert_eq!(line(&[(0.0, 1.04), (2.55, 3.0)]), "M0 1L2.6 3");
        assert_eq!(step(&[(0.0, 9.0), (5.0, 4.0)]), "M0 9H5V4");
        assert_eq!(marks(Mark::Round, &[(5.0, 1.0), (1.01, 1.0), (1.0, 1.0)]), "M1 1h0M5 1h0");
        assert_eq!(area(1.0, 2.0, 3.0, 4.0), "M1 2H3V4H1z");
        assert_eq!(line(&[]), "");
    }
}
