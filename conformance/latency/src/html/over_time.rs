//! Every request of a run at the time when it was due: what was slow, and when.

use present::text::{cut, visible};

use super::{
    Figure,
    stalls::stalls,
    words::{counted, milliseconds as told_ms, seconds},
};
use crate::{
    metrics::{Metric, milliseconds},
    plot::{Axis, Ink, Layer, Mark, Plot, Scale, Shape, Size, Spot},
    record::{Nanos, Outcome, RequestRecord},
};

/// `load` as `--load` is written.
pub(super) fn over_time(load: &str, requests: &[RequestRecord]) -> Figure {
    let heading = "Latency over time";
    if requests.is_empty() {
        return Figure::none(heading, "No request was sent, so there is nothing to show.");
    }
    let start = requests.iter().map(|request| request.planned).min().unwrap_or(0);
    let since = |at: Nanos| at.saturating_sub(start) as f64 / 1e9;
    let complete: Vec<_> = requests.iter().filter(|request| request.is_complete()).collect();
    let value =
        |metric: Metric, request: &RequestRecord| metric.of(request).first().map(|v| milliseconds(*v));
    let values = complete.iter().flat_map(|r| [value(Metric::Ttft, r), value(Metric::E2e, r)]).flatten();
    let y = Scale::of(values);
    let spots = |metric: Metric, words: &str| {
        let spot = |request: &&RequestRecord| {
            let ms = value(metric, request)?;
            Some((ms, Spot { at: (since(request.planned), ms), told: String::new() }))
        };
        let mut spots: Vec<_> = complete.iter().filter_map(spot).collect();
        spots.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (ms, spot) in spots.iter_mut().take(TELLING) {
            spot.told = format!("due at {}: {words} after {}", seconds(spot.at.0), told_ms(*ms));
        }
        spots.into_iter().map(|(_, spot)| spot).collect::<Vec<_>>()
    };
    let failed: Vec<_> = requests.iter().filter(|request| !request.is_complete()).collect();
    let failures = failed.iter().enumerate().map(|(at, request)| Spot {
        at: (since(request.planned), y.low()),
        told: if at < FAILURES { failure(request, since(request.planned)) } else { String::new() },
    });
    let stalls = stalls(requests);
    let stood_still = stalls.iter().enumerate().map(|(at, stall)| {
        let length = told_ms(milliseconds(stall.to - stall.from));
        let told =
            format!("for {length} nothing came, though {} were under way", counted(stall.caught, "request"));
        let name = if at == 0 { "nothing came" } else { "" };
        layer(name, Ink::Quiet, Shape::Span(since(stall.from), since(stall.to), told))
    });
    let mut layers: Vec<_> = stood_still.collect();
    for (name, ink, mark, spots) in [
        ("last token (e2e)", Ink::B, Mark::Diamond, spots(Metric::E2e, "last token")),
        ("first token (ttft)", Ink::A, Mark::Round, spots(Metric::Ttft, "first token")),
        ("failed", Ink::Bad, Mark::Cross, failures.collect()),
    ] {
        if !spots.is_empty() {
            layers.push(layer(name, ink, Shape::Marks(mark, spots)));
        }
    }
    let end = requests.iter().map(|request| since(request.planned)).fold(0.0, f64::max);
    let plot = Plot {
        label: label(complete.len(), failed.len(), stalls.len()),
        x: Axis {
            title: "seconds since the start, when the request was due".to_owned(),
            scale: Scale::linear(0.0, end),
            ticks: None,
        },
        y: Axis { title: "milliseconds".to_owned(), scale: y, ticks: None },
        layers,
    };
    let caption = caption(load, y.is_log(), !failed.is_empty(), !stalls.is_empty());
    Figure::new(heading, caption, &plot, Size::WIDE)
}

fn layer(name: &str, ink: Ink, shape: Shape) -> Layer {
    Layer { name: name.to_owned(), ink, shape }
}

fn label(complete: usize, failed: usize, stalls: usize) -> String {
    format!(
        "Times to the first and to the last token of {complete} requests by the time when each was due; {failed} failed; \
         {stalls} stalls"
    )
}

fn caption(load: &str, is_log: bool, some_failed: bool, some_stalled: bool) -> String {
    let mut text = "Each request has two marks above the time when it was due; lower is faster.".to_owned();
    if is_log {
        text += " The upright axis is logarithmic: equal distances are equal ratios.";
    }
    if some_stalled {
        text += " In the shaded times no request got an answer, though requests were under way.";
    }
    text += match (load.starts_with("closed:"), some_stalled) {
        (true, _) => {
            " In a closed loop few marks show a stall: a client that waits in it sends nothing else."
        }
        (false, true) => {
            " Marks that slope down to the end of one are requests that were due in it and waited."
        }
        (false, false) => {
            " Marks that slope down to one time would be a stall: requests due in it waited for its end."
        }
    };
    if some_failed {
        text += " Crosses on the axis are requests without a complete answer.";
    }
    text
}

fn failure(request: &RequestRecord, due: f64) -> String {
    let what = match &request.outcome {
        Outcome::Complete => "answered without text".to_owned(),
        Outcome::Status(name) => visible(name),
        Outcome::Broken(why) => format!("broken: {}", cut(&visible(why), REASON)),
        Outcome::Late => "given up after the time limit".to_owned(),
        Outcome::TooLong => "given up, because its answer had no end".to_owned(),
        Outcome::Cancelled => "cancelled by this client".to_owned(),
        Outcome::Cut => "cut by the end of the run".to_owned(),
    };
    format!("due at {}: {what}", seconds(due))
}

/// Of each kind of mark, the slowest, that say what they are.
const TELLING: usize = 12;
/// Failures that say why.
const FAILURES: usize = 100;
/// Characters of that.
const REASON: usize = 200;
