//! How the time to the first token grows with the load.

use super::{
    Figure,
    words::{counted, milliseconds as told_ms},
};
use crate::{
    metrics::{Metric, milliseconds},
    plot::{Axis, Ink, Layer, Mark, Plot, Scale, Shape, Size, Spot, grouped},
    record::{Nanos, RequestRecord},
};

/// Against the arrival rate where it grows, else against the number of requests under way.
pub(super) fn against_load(load: &str, requests: &[RequestRecord]) -> Figure {
    let (axis, caption, points) = if load.starts_with("ramp:") {
        let axis = "requests due a second";
        let caption = "Each dot is a request, at the rate at which requests came when it was due. Where the lines leave \
                       the floor, the endpoint no longer keeps up.";
        (axis, caption, by_rate(requests))
    } else {
        let axis = "other requests under way when it was due";
        let caption = "Each dot is a request. Where the lines rise to the right, requests wait for each other; where \
                       they are level, the endpoint serves them side by side.";
        (axis, caption, by_company(requests))
    };
    let bins = bins(&points);
    let heading = "First token against load";
    if bins.len() < 2 {
        let why = "The load was the same all the time, so there is nothing to compare: --load poisson:RATE and \
                   ramp:FROM..TO vary it.";
        return Figure::none(heading, why);
    }
    let named = |name: &str, ink, shape| Layer { name: name.to_owned(), ink, shape };
    let line = |of: fn(&Bin) -> f64| bins.iter().map(|bin| (bin.x, of(bin))).collect::<Vec<_>>();
    let spots = |of: fn(&Bin) -> f64, word: &str| {
        let told = |bin: &Bin| {
            let (x, count) = (grouped(bin.x, 1), counted(bin.count, "request"));
            format!("{word} {} of {count} about {x} on the axis", told_ms(of(bin)))
        };
        bins.iter().map(|bin| Spot { at: (bin.x, of(bin)), told: told(bin) }).collect::<Vec<_>>()
    };
    let dots = points.iter().map(|at| Spot { at: *at, told: String::new() }).collect();
    let plot = Plot {
        label: format!("Time to the first token against {axis}: {}", trend(&bins)),
        x: Axis { title: axis.to_owned(), scale: Scale::linear(0.0, last(&points)), ticks: None },
        y: Axis {
            title: "ttft, milliseconds".to_owned(),
            scale: Scale::of(points.iter().map(|(_, ms)| *ms)),
            ticks: None,
        },
        layers: vec![
            named("a request", Ink::Quiet, Shape::Marks(Mark::Round, dots)),
            named("median", Ink::A, Shape::Line(line(Bin::median))),
            named("", Ink::A, Shape::Marks(Mark::Round, spots(Bin::median, "median"))),
            named("90th percentile", Ink::B, Shape::Line(line(Bin::p90))),
            named("", Ink::B, Shape::Marks(Mark::Diamond, spots(Bin::p90, "90th percentile"))),
        ],
    };
    Figure::new(heading, caption, &plot, Size::WIDE)
}

fn last(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|(x, _)| *x).fold(0.0, f64::max)
}

fn trend(bins: &[Bin]) -> String {
    let say = |bin: &Bin| format!("median {} at {}", told_ms(bin.median), grouped(bin.x, 0));
    bins.first().zip(bins.last()).map_or_else(String::new, |(a, b)| format!("{}, {}", say(a), say(b)))
}

/// How many others were due and had not ended when it was due: those that waited are load too.
fn by_company(requests: &[RequestRecord]) -> Vec<(f64, f64)> {
    let mut due: Vec<Nanos> = requests.iter().map(|request| request.planned).collect();
    let mut ended: Vec<Nanos> = requests.iter().map(|request| request.ended).collect();
    due.sort_unstable();
    ended.sort_unstable();
    let company = |at: Nanos| {
        let begun = due.partition_point(|due| *due < at);
        begun.saturating_sub(ended.partition_point(|ended| *ended <= at))
    };
    points(requests, |request| company(request.planned) as f64)
}

/// At how many a second requests came about then.
fn by_rate(requests: &[RequestRecord]) -> Vec<(f64, f64)> {
    let mut due: Vec<Nanos> = requests.iter().map(|request| request.planned).collect();
    due.sort_unstable();
    let around = (due.len() / (2 * BINS)).max(5);
    points(requests, |request| {
        let at = due.partition_point(|due| *due < request.planned);
        let (from, to) = (at.saturating_sub(around), (at + around).min(due.len() - 1));
        let seconds = (due[to] - due[from]) as f64 / 1e9;
        if seconds > 0.0 { (to - from) as f64 / seconds } else { 0.0 }
    })
}

fn points(requests: &[RequestRecord], x: impl Fn(&RequestRecord) -> f64) -> Vec<(f64, f64)> {
    let complete = requests.iter().filter(|request| request.is_complete());
    let point = |r: &RequestRecord| Some((x(r), milliseconds(*Metric::Ttft.of(r).first()?)));
    complete.filter_map(point).collect()
}

/// Requests under about the same load.
#[derive(Debug, PartialEq)]
struct Bin {
    x: f64,
    median: f64,
    p90: f64,
    count: usize,
}

/// By load, of about equally many requests each; equal loads are never parted.
fn bins(points: &[(f64, f64)]) -> Vec<Bin> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let least = (sorted.len() / BINS).max(LEAST_IN_BIN);
    let (mut bins, mut open): (Vec<Bin>, Vec<(f64, f64)>) = (Vec::new(), Vec::new());
    for level in sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        open.extend(level);
        if open.len() >= least {
            bins.extend(Bin::of(&open));
            open.clear();
        }
    }
    // What is left over says less than it seems to, unless there is enough of it.
    if open.len() >= LEAST_IN_BIN {
        bins.extend(Bin::of(&open));
    }
    bins
}

impl Bin {
    fn of(points: &[(f64, f64)]) -> Option<Self> {
        let mut times: Vec<f64> = points.iter().map(|(_, ms)| *ms).collect();
        times.sort_by(f64::total_cmp);
        let at = |q| statistics::quantile(&times, q);
        let x = points.iter().map(|(x, _)| x).sum::<f64>() / points.len() as f64;
        Some(Self { x, median: at(0.5)?, p90: at(0.9)?, count: points.len() })
    }

    fn median(&self) -> f64 {
        self.median
    }

    fn p90(&self) -> f64 {
        self.p90
    }
}

const BINS: usize = 20;
/// Fewer have no 90th percentile.
const LEAST_IN_BIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_loads_are_one_bin() {
        let points: Vec<_> = (0..60).map(|n| (f64::from(n / 30), f64::from(n % 30))).collect();
        let bins = bins(&points);
        assert_eq!(bins.iter().map(|bin| (bin.x, bin.count)).collect::<Vec<_>>(), [(0.0, 30), (1.0, 30)]);
        assert!((bins[0].median - 14.5).abs() < 1e-9 && bins[0].p90 > 25.0);
    }

    #[test]
    fn many_loads_are_gathered_and_few_requests_are_no_bin() {
        let points: Vec<_> = (0..1_000).map(|n| (f64::from(n), 1.0)).collect();
        let bins = bins(&points);
        assert_eq!(bins.len(), BINS);
        assert_eq!(super::bins(&points[..9]), []);
    }
}
