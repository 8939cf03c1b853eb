//! The normal and Student's t distribution: upper tails and the points that leave a given tail.
//!
//! All work with the tail above a point, not with the share below it: at the levels of an early look the share below is
//! 1 − 10⁻⁵, and the digits that matter would be gone. Own code instead of a crate: two distributions need a hundred
//! lines, the crates bring dozens of distributions and linear algebra.

use std::f64::consts::PI;

/// Beyond this, Student's t is the normal distribution to twelve digits.
const AS_GOOD_AS_NORMAL: f64 = 1e8;
/// Where the series gives way to the continued fraction.
const FAR: f64 = 4.0;

/// The point of Student's t with `df` degrees of freedom below which `p` of it lies.
///
/// `None` unless `p` lies between 0 and 1 and `df` is above 0 (infinity is the normal distribution). The tail is
/// `½ I(df / (df + t²); df/2, ½)`, inverted by bisection. Source: Abramowitz & Stegun 26.5.27 and 26.7.
pub fn student_t_quantile(p: f64, df: f64) -> Option<f64> {
    if !(p > 0.0 && p < 1.0 && df > 0.0) {
        return None;
    }
    Some(if p < 0.5 { -student_point(p, df) } else { student_point(1.0 - p, df) })
}

/// The point above which `tail` of Student's t lies.
pub(crate) fn student_point(tail: f64, df: f64) -> f64 {
    point(tail, |t| student_upper(t, df))
}

/// The point above which `tail` of the standard normal distribution lies.
pub(crate) fn normal_point(tail: f64) -> f64 {
    point(tail, normal_upper)
}

/// How much of Student's t lies above `t`.
pub(crate) fn student_upper(t: f64, df: f64) -> f64 {
    if df > AS_GOOD_AS_NORMAL {
        return normal_upper(t);
    }
    if t < 0.0 {
        return 1.0 - student_upper(-t, df);
    }
    // Written so that neither a huge t nor a tiny one loses digits; an infinite t leaves nothing.
    let ratio = t / df.sqrt() * (t / df.sqrt());
    0.5 * incomplete_beta(1.0 / (1.0 + ratio), ratio / (1.0 + ratio), 0.5 * df, 0.5)
}

/// How much of the standard normal distribution lies above `z`.
///
/// Near the centre Marsaglia's series `½ − φ(z)(z + z³/3 + z⁵/15 + …)`, far out Laplace's continued fraction
/// `φ(z) / (z + 1/(z + 2/(z + 3/…)))`. Source: Marsaglia, "Evaluating the Normal Distribution", 2004.
pub(crate) fn normal_upper(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - normal_upper(-z);
    }
    if z > FAR {
        let fraction = (1..=50).rev().fold(z, |below, step| z + f64::from(step) / below);
        return normal_density(z) / fraction;
    }
    let (mut term, mut sum, mut odd) = (z, z, 1.0);
    while term > sum * 1e-17 {
        odd += 2.0;
        term *= z * z / odd;
        sum += term;
    }
    0.5 - normal_density(z) * sum
}

/// The density of the standard normal distribution.
pub(crate) fn normal_density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * PI).sqrt()
}

/// Where a falling `upper` with `upper(0) = ½`, symmetric about 0, has come down to `tail`.
fn point(tail: f64, upper: impl Fn(f64) -> f64) -> f64 {
    if tail <= 0.0 {
        return f64::INFINITY;
    }
    if tail >= 1.0 {
        return f64::NEG_INFINITY;
    }
    if tail > 0.5 {
        return -point(1.0 - tail, upper);
    }
    let mut high = 1.0;
    while upper(high) > tail && high < f64::MAX / 2.0 {
        high *= 2.0;
    }
    let mut low = if high > 1.0 { high / 2.0 } else { 0.0 };
    // Each step adds a binary digit; a double has 53.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if upper(middle) > tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// `I(x; a, b)`, with `rest = 1 − x` given apart because it may be tiny. The continued fraction of Abramowitz & Stegun
/// 26.5.8, evaluated by Lentz's method; mirrored where it converges slowly.
fn incomplete_beta(x: f64, rest: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if rest <= 0.0 {
        return 1.0;
    }
    let front = (log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * x.ln() + b * rest.ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(rest, b, a) / b
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    /// Stands in for a denominator of zero, as Lentz's method asks.
    const TINY: f64 = 1e-300;
    let off_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut upper = 1.0;
    let mut lower = 1.0 / off_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = lower;
    for step in (1..=1000).map(f64::from) {
        let even = step * (b - step) * x / ((a + 2.0 * step - 1.0) * (a + 2.0 * step));
        let odd = -(a + step) * (a + b + step) * x / ((a + 2.0 * step) * (a + 2.0 * step + 1.0));
        let mut change = 1.0;
        for numerator in [even, odd] {
            lower = 1.0 / off_zero(1.0 + numerator * lower);
            upper = off_zero(1.0 + numerator / upper);
            change = upper * lower;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    fraction
}

/// `ln Γ(x)` for positive `x`, by Lanczos's approximation with g = 7 and nine terms.
fn log_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const FIRST: f64 = 0.999_999_999_999_809_9;
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // Euler's reflection, since the approximation holds to the right only.
        return (PI / (PI * x).sin()).ln() - log_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let sum = TERMS.iter().zip(1..).fold(FIRST, |sum, (term, at)| sum + term / (x + f64::from(at)));
    let base = x + G + 0.5;
    0.5 * (2.0 * PI).ln() + (x + 0.5) * base.ln() - base + sum.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn students_t_is_that_of_the_tables() {
        for (p, df, table) in [
            (0.975, 1.0, 12.706_204_736),
            (0.975, 2.0, 4.302_652_730),
            (0.975, 5.0, 2.570_581_836),
            (0.95, 5.0, 2.015_048_373),
            (0.975, 7.0, 2.364_624_252),
            (0.995, 10.0, 3.169_272_673),
            (0.9995, 5.0, 6.868_826_626),
            (0.95, 19.0, 1.729_132_812),
            (0.975, 30.0, 2.042_272_456),
            (0.975, f64::INFINITY, 1.959_963_985),
        ] {
            let got = student_t_quantile(p, df).unwrap();
            assert!((got - table).abs() < 1e-6, "{p} {df}: {got} is not {table}");
            let mirrored = student_t_quantile(1.0 - p, df).unwrap();
            assert!((mirrored + table).abs() < 1e-6, "{p} {df}: {mirrored}");
        }
        assert_eq!(student_t_quantile(0.5, 3.0).map(f64::abs).map(|t| t < 1e-12), Some(true));
    }

    #[test]
    fn one_and_two_degrees_of_freedom_have_formulas() {
        for tail in [0.4, 0.1, 1e-3, 1e-6, 1e-9] {
            let cauchy = 1.0 / (PI * tail).tan();
            assert!((student_point(tail, 1.0) / cauchy - 1.0).abs() < 1e-9, "{tail}");
            let two = (1.0 - 2.0 * tail) / (2.0 * tail * (1.0 - tail)).sqrt();
            assert!((student_point(tail, 2.0) / two - 1.0).abs() < 1e-9, "{tail}");
        }
    }

    #[test]
    fn what_is_no_share_has_no_quantile() {
        for (p, df) in [(0.0, 3.0), (1.0, 3.0), (f64::NAN, 3.0), (0.5, 0.0), (0.5, f64::NAN), (2.0, 1.0)] {
            assert_eq!(student_t_quantile(p, df), None, "{p} {df}");
        }
    }

    #[test]
    fn the_normal_tail_is_that_of_the_tables() {
        for (z, table) in [
            (0.0, 0.5),
            (1.0, 0.158_655_253_931_457_05),
            (1.96, 0.024_997_895_148_220_43),
            (3.999, 3.180_503_3e-5),
            (4.001, 3.153_730_4e-5),
            (6.0, 9.865_876_450_376_98e-10),
        ] {
            assert!((normal_upper(z) / table - 1.0).abs() < 1e-3, "{z}: {}", normal_upper(z));
            assert!((normal_upper(z) + normal_upper(-z) - 1.0).abs() < 1e-14);
        }
        // Both ways of computing it agree where they meet.
        let step = (normal_upper(FAR) - normal_upper(FAR + 1e-9)) / 1e-9;
        assert!((step / normal_density(FAR) - 1.0).abs() < 1e-3);
        assert!((normal_point(0.025) - 1.959_963_984_540_054).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn points_and_tails_are_inverse(tail in 1e-9_f64..0.999, df in 0.6_f64..500.0) {
            prop_assert!((student_upper(student_point(tail, df), df) / tail - 1.0).abs() < 1e-6);
            prop_assert!((normal_upper(normal_point(tail)) / tail - 1.0).abs() < 1e-6);
        }
    }
}
