//! The gate on simulated machines: it stays silent about nothing and speaks up about something.

mod noise;

use noise::{Effect, Noise, tally};
use rand::{SeedableRng as _, rngs::Xoshiro256PlusPlus};
use statistics::{LookSchedule, Verdict};

/// Enough resamples for a verdict, few enough for a build without optimisation.
fn quick() -> LookSchedule {
    LookSchedule { resamples: 250, ..LookSchedule::default() }
}

/// A name, how often, on which machine, what differs, and the quantiles with their least effects.
type Case<'a> = (&'a str, u64, Noise, Effect, &'a [(f64, f64)]);

const MEDIAN_BY_4: &[(f64, f64)] = &[(0.5, 0.04)];

#[test]
fn nothing_raises_no_alarm() {
    let noise = Noise { requests: 30, ..Noise::SHARED };
    let tally = tally(300, noise, Effect::All(1.0), MEDIAN_BY_4, &quick());
    assert_eq!(tally.fail, 0, "{tally:?}");
    assert!(tally.pass > 150, "{tally:?}");
}

#[test]
fn a_fifth_slower_is_found_by_the_second_look() {
    let tally = tally(60, Noise::SHARED, Effect::All(1.2), MEDIAN_BY_4, &quick());
    assert!(tally.fails_at[0] + tally.fails_at[1] >= 57, "{tally:?}");
}

/// Near the limit of what twenty blocks can tell: at length 89 % are found with 200 requests a run, 81 % with 100.
#[test]
fn a_tenth_slower_is_found_with_twenty_blocks() {
    let noise = Noise { requests: 200, ..Noise::SHARED };
    let tally = tally(50, noise, Effect::All(1.1), MEDIAN_BY_4, &quick());
    assert!(tally.fail >= 45, "{tally:?}");
}

#[test]
fn a_twentieth_slower_is_found_on_a_quiet_machine_if_two_percent_matter() {
    let tally = tally(50, Noise::QUIET, Effect::All(1.05), &[(0.5, 0.02)], &quick());
    assert!(tally.fail >= 45, "{tally:?}");
}

#[test]
fn one_slow_request_in_fifty_is_found_by_p99_only() {
    let noise = Noise { requests: 200, ..Noise::QUIET };
    let tally = tally(20, noise, Effect::OneIn50(2.0), &[(0.99, 0.05)], &quick());
    assert!(tally.fail >= 18, "{tally:?}");
    let tally = noise::tally(10, noise, Effect::OneIn50(2.0), MEDIAN_BY_4, &quick());
    assert_eq!(tally.fail, 0, "{tally:?}");
}

#[test]
fn one_outlier_never_fails() {
    let noise = Noise { outliers: 0.0, ..Noise::SHARED };
    for seed in 0..20 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut blocks = noise.blocks(20, Effect::All(1.0), &mut rng);
        for request in blocks[2].candidate.0.iter_mut().flatten() {
            *request *= 2;
        }
        let judgement = noise::compare(&blocks, MEDIAN_BY_4, &quick());
        assert_ne!(judgement.verdict, Verdict::Fail, "{judgement:?}");
    }
}

/// The figures for the documentation; minutes in a release build.
#[test]
#[ignore = "minutes long: cargo test --release -p statistics --test gate -- --ignored --nocapture"]
fn at_length() {
    let plan = LookSchedule::default();
    let p99 = &[(0.99, 0.05)];
    let both: &[(f64, f64)] = &[(0.5, 0.04), (0.99, 0.05)];
    let long = |requests, noise: Noise| Noise { requests, ..noise };
    let cases: &[Case] = &[
        ("A/A p50", 600, Noise::SHARED, Effect::All(1.0), MEDIAN_BY_4),
        ("A/A p50 and p99", 300, Noise::SHARED, Effect::All(1.0), both),
        ("A/A p50, 2 %", 600, Noise::SHARED, Effect::All(1.0), &[(0.5, 0.02)]),
        ("A/A p50, 2 %, quiet", 300, Noise::QUIET, Effect::All(1.0), &[(0.5, 0.02)]),
        ("+4 % p50: the edge", 800, Noise::SHARED, Effect::All(1.04), MEDIAN_BY_4),
        ("+20 % p50", 300, Noise::SHARED, Effect::All(1.2), MEDIAN_BY_4),
        ("+10 % p50", 300, Noise::SHARED, Effect::All(1.1), MEDIAN_BY_4),
        ("+10 % p50, 200 requests", 300, long(200, Noise::SHARED), Effect::All(1.1), MEDIAN_BY_4),
        ("+10 % p50 beside p99", 300, Noise::SHARED, Effect::All(1.1), both),
        ("+5 % p50 at 2 %, quiet", 300, Noise::QUIET, Effect::All(1.05), &[(0.5, 0.02)]),
        (
            "+10 % on the slowest 2 %, p99 at 2 %",
            300,
            long(300, Noise::QUIET),
            Effect::Slowest(1.1),
            &[(0.99, 0.02)],
        ),
        ("1 in 50 slower by 100 %, p99", 150, long(300, Noise::QUIET), Effect::OneIn50(2.0), p99),
        ("1 in 50 slower by 50 %, p99", 150, long(300, Noise::QUIET), Effect::OneIn50(1.5), p99),
    ];
    for (name, count, noise, effect, figures) in cases {
        let tally = tally(*count, *noise, *effect, figures, &plan);
        println!("{name:40} of {count}: {tally:?}");
    }
}
