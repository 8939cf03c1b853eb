//! A picture of a check's exchanges: a lane for each call, a mark for each thing sent or received. Pure geometry; the
//! template draws it.
//!
//! Time runs to the right, but every mark keeps a distance to the one before it: a check often exchanges ten messages
//! in a millisecond and then waits for seconds, and both must be seen. The axis says the real times.

use present::text::{cut, visible};
use serde::Serialize;

use crate::evidence::{Direction, Exchange};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 32.0;
const TOP: f64 = 12.0;
const LANE: f64 = 34.0;
const AXIS: f64 = 26.0;
/// What the marks keep between them, if there is room.
const APART: f64 = 12.0;
/// The part of the width that distances may take from the time scale.
const FOR_DISTANCES: f64 = 0.7;
/// The least room for a time on the axis.
const LABEL: f64 = 58.0;
/// Lanes beyond this are not drawn; the list of exchanges has them.
const LANES: usize = 24;
const HOVER: usize = 300;

/// What the template draws.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Timeline {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    axis: f64,
    lanes: Vec<Lane>,
    marks: Vec<Mark>,
    ticks: Vec<Tick>,
    /// Calls without a lane.
    hidden: usize,
}

#[derive(Clone, Debug, Serialize)]
struct Lane {
    y: f64,
    label: String,
    /// Where the first and the last mark are.
    from: f64,
    to: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Mark {
    x: f64,
    y: f64,
    sent: bool,
    title: String,
}

#[derive(Clone, Debug, Serialize)]
struct Tick {
    x: f64,
    label: String,
}

impl Timeline {
    /// The picture, if there is anything to draw.
    pub(super) fn of(evidence: &[Exchange]) -> Option<Self> {
        let mut calls: Vec<u32> = evidence.iter().map(|exchange| exchange.call).collect();
        calls.sort_unstable();
        calls.dedup();
        let hidden = calls.len().saturating_sub(LANES);
        calls.truncate(LANES);
        let mut drawn: Vec<&Exchange> = evidence.iter().filter(|e| calls.contains(&e.call)).collect();
        drawn.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        let (first, last) = (drawn.first()?.at_ms, drawn.last()?.at_ms);

        let lane_of = |call: u32| calls.iter().position(|c| *c == call).unwrap_or_default();
        let middle = |lane: usize| TOP + LANE * (lane as f64 + 0.5);
        let room = WIDTH - LEFT - RIGHT;
        let gaps = drawn.len().saturating_sub(1).max(1) as f64;
        let apart = APART.min(room * FOR_DISTANCES / gaps);
        let scale = (room - apart * gaps) / (last - first).max(f64::MIN_POSITIVE);
        let x = |n: usize, at_ms: f64| tenth(LEFT + apart * n as f64 + (at_ms - first) * scale);

        let marks = drawn.iter().enumerate().map(|(n, exchange)| Mark {
            x: x(n, exchange.at_ms),
            y: middle(lane_of(exchange.call)),
            sent: exchange.direction == Direction::Sent,
            title: hover(exchange),
        });
        let marks: Vec<_> = marks.collect();
        let lanes = calls.iter().enumerate().map(|(lane, call)| {
            let y = middle(lane);
            let of_lane = || marks.iter().filter(|mark| (mark.y - y).abs() < 0.5).map(|mark| mark.x);
            Lane {
                y,
                label: if *call == 0 { "connection".to_owned() } else { format!("call {call}") },
                from: of_lane().fold(WIDTH, f64::min),
                to: of_lane().fold(LEFT, f64::max),
            }
        });
        let lanes: Vec<_> = lanes.collect();
        let axis = TOP + LANE * lanes.len() as f64;
        let ticks = ticks(&marks, &drawn);
        Some(Self {
            width: WIDTH,
            height: axis + AXIS,
            left: LEFT,
            right: WIDTH - RIGHT,
            axis,
            lanes,
            marks,
            ticks,
            hidden,
        })
    }
}

/// The times of as many marks as there is room for.
fn ticks(marks: &[Mark], drawn: &[&Exchange]) -> Vec<Tick> {
    let mut ticks: Vec<Tick> = Vec::new();
    for (mark, exchange) in marks.iter().zip(drawn) {
        if ticks.last().is_none_or(|last| mark.x - last.x >= LABEL) {
            ticks.push(Tick { x: mark.x, label: time(exchange.at_ms) });
        }
    }
    ticks
}

/// A time as people say it.
pub(super) fn time(at_ms: f64) -> String {
    if at_ms >= 1e3 { format!("{:.2} s", at_ms / 1e3) } else { format!("{at_ms:.1} ms") }
}

fn hover(exchange: &Exchange) -> String {
    let word = match exchange.direction {
        Direction::Sent => "sent",
        Direction::Received => "received",
    };
    format!("{} {word}: {}", time(exchange.at_ms), cut(&visible(&exchange.what), HOVER))
}

fn tenth(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}
