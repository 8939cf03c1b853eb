//! What was added, with its interval: for people and for programs.

use serde::{Deserialize, Serialize};
use statistics::{hodges_lehmann, student_t_quantile};

use super::{
    block::{Block, Leg},
    journey::Faults,
};
use crate::{
    metrics::{LEAST_FOR_P99, quantile},
    record::Nanos,
};

/// What was measured, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HopSetup {
    /// The proxy's address, or the command that was spawned.
    pub front: String,
    /// The tap's address.
    pub behind: String,
    /// `contract` or `cy.llm`.
    pub dialect: String,
    /// Generations at once.
    pub streams: usize,
    /// Between messages, in milliseconds.
    pub gap_ms: f64,
    /// Messages of a generation.
    pub chunks: u32,
    /// Bytes of each message's text.
    pub chunk_bytes: usize,
    /// Seconds of each way in each block.
    pub seconds: f64,
    /// The order within blocks follows from it.
    pub seed: u64,
    /// When the measurement began, in RFC 3339 form.
    pub started: String,
    /// The machine on which it was measured.
    pub host: String,
}

/// What a proxy adds. `schema` names this form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HopReport {
    /// Always `ai-inference-bench/hop/1`.
    pub schema: String,
    /// What was measured, and how.
    pub setup: HopSetup,
    /// Blocks, each of both ways.
    pub blocks: usize,
    /// Messages that were timed on the way through.
    pub messages: u64,
    /// Per direction and quantile.
    pub rows: Vec<Row>,
    /// Share of neighbouring messages that left apart and arrived together: direct, and through the proxy.
    pub together: [f64; 2],
    /// What did not come as it was sent, through the proxy.
    pub faults: Faults,
    /// Most that the median may be, in milliseconds.
    pub most_ms: Option<f64>,
    /// The rows' medians that certainly lie above it.
    pub above: Vec<String>,
    /// Why the figures must not be used; empty for a valid run.
    pub invalid: Vec<String>,
}

/// A quantile of one direction; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `hop_up`, requests, or `hop_down`, answers.
    pub metric: String,
    /// The formula's id: arrival at one end - departure from the other, by one clock.
    pub formula: String,
    /// The quantile, such as 0.5.
    pub quantile: f64,
    /// Milliseconds without the proxy.
    pub direct_ms: f64,
    /// Milliseconds through the proxy.
    pub through_ms: f64,
    /// The centre of the blocks' differences (Hodges and Lehmann).
    pub added_ms: f64,
    /// Lower limit at 95 %, by Student's t over the blocks.
    pub low_ms: f64,
    /// Upper limit at 95 %, by Student's t over the blocks.
    pub high_ms: f64,
}

impl HopReport {
    /// Computes every figure from the blocks.
    pub fn new(setup: HopSetup, blocks: &[Block], most_ms: Option<f64>) -> Self {
        let rows: Vec<_> = DIRECTIONS
            .iter()
            .flat_map(|(name, of)| [MEDIAN, 0.9, 0.99].map(|q| row(name, *of, q, blocks)))
            .flatten()
            .collect();
        let above = |row: &&Row| row.quantile <= MEDIAN && most_ms.is_some_and(|most| row.low_ms > most);
        let (mut faults, mut direct) = (Faults::default(), Faults::default());
        for block in blocks {
            faults.add(block.through.faults);
            direct.add(block.direct.faults);
        }
        let mut invalid = faults.words();
        invalid.extend(direct.words().iter().map(|what| format!("{what}, without the proxy")));
        if rows.is_empty() {
            invalid.push("nothing came through".to_owned());
        }
        Self {
            schema: "ai-inference-bench/hop/1".to_owned(),
            setup,
            blocks: blocks.len(),
            messages: blocks
                .iter()
                .map(|block| (block.through.down.len() + block.through.up.len()) as u64)
                .sum(),
            above: rows.iter().filter(above).map(|row| row.metric.clone()).collect(),
            rows,
            together: [together(blocks, |block| &block.direct), together(blocks, |block| &block.through)],
            faults,
            most_ms,
            invalid,
        }
    }
}

fn row(name: &str, of: fn(&Leg) -> &Vec<Nanos>, q: f64, blocks: &[Block]) -> Option<Row> {
    let at = |values: &Vec<Nanos>| quantile(values.clone(), q).map(|nanos| nanos / 1e6);
    let pooled = |side: fn(&Block) -> &Leg| -> Vec<Nanos> {
        blocks.iter().flat_map(|block| of(side(block)).iter().copied()).collect()
    };
    let (direct, through) = (pooled(|block| &block.direct), pooled(|block| &block.through));
    let fewest = blocks.iter().flat_map(|b| [of(&b.direct).len(), of(&b.through).len()]).min()?;
    let fewest_pooled = direct.len().min(through.len()) as u64;
    // A tail is there when there are enough values for one: in all blocks together, and some in each.
    if q > 0.95 && (fewest_pooled < LEAST_POOLED || (fewest as u64) < LEAST_FOR_P99) {
        return None;
    }
    let difference = |block: &Block| Some(at(of(&block.through))? - at(of(&block.direct))?);
    let differences: Vec<f64> = blocks.iter().filter_map(difference).collect();
    let (added_ms, low_ms, high_ms) = interval(&differences)?;
    Some(Row {
        metric: name.to_owned(),
        formula: format!("{name}/1"),
        quantile: q,
        direct_ms: at(&direct)?,
        through_ms: at(&through)?,
        added_ms,
        low_ms,
        high_ms,
    })
}

/// Centre and limits of what the blocks say.
fn interval(differences: &[f64]) -> Option<(f64, f64, f64)> {
    let count = differences.len() as f64;
    let centre = hodges_lehmann(differences)?;
    let t = student_t_quantile(1.0 - (1.0 - CONFIDENCE) / 2.0, count - 1.0)?;
    let mean = differences.iter().sum::<f64>() / count;
    let squares: f64 = differences.iter().map(|difference| (difference - mean).powi(2)).sum();
    let error = (squares / (count - 1.0) / count).sqrt();
    Some((centre, (mean - t * error).min(centre), (mean + t * error).max(centre)))
}

fn together(blocks: &[Block], side: fn(&Block) -> &Leg) -> f64 {
    let pairs: u64 = blocks.iter().map(|block| side(block).pairs).sum();
    let together: u64 = blocks.iter().map(|block| side(block).together).sum();
    if pairs == 0 { 0.0 } else { together as f64 / pairs as f64 }
}

type Direction = (&'static str, fn(&Leg) -> &Vec<Nanos>);

const DIRECTIONS: [Direction; 2] = [("hop_up", |side| &side.up), ("hop_down", |side| &side.down)];
pub(super) const MEDIAN: f64 = 0.5;
/// Values in all blocks together, below which a 99th percentile is not shown.
const LEAST_POOLED: u64 = 300;
const CONFIDENCE: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> HopSetup {
        HopSetup {
            front: "a proxy".to_owned(),
            behind: "127.0.0.1:1".to_owned(),
            dialect: "contract".to_owned(),
            streams: 1,
            gap_ms: 10.0,
            chunks: 32,
            chunk_bytes: 64,
            seconds: 1.0,
            seed: 1,
            started: "2026-01-01T00:00:00Z".to_owned(),
            host: "a machine".to_owned(),
        }
    }

    /// Blocks on a machine that gets slower; the proxy adds a millisecond, and a little more or less.
    fn blocks() -> Vec<Block> {
        let side = |base: u64| Leg {
            up: vec![base; 3],
            down: (0..100).map(|i| base + i * 1_000).collect(),
            pairs: 99,
            ..Leg::default()
        };
        let block = |at: u64| {
            let base = 200_000 + at * 100_000;
            Block { direct: side(base), through: side(base + 1_000_000 + (at % 3) * 10_000) }
        };
        (0..6).map(block).collect()
    }

    #[test]
    fn what_the_machine_costs_is_on_both_ways_and_is_not_the_proxys() {
        let report = HopReport::new(setup(), &blocks(), Some(2.0));
        let median =
            |metric: &str| report.rows.iter().find(|r| r.metric == metric && r.quantile < 0.6).unwrap();
        for metric in ["hop_up", "hop_down"] {
            let row = median(metric);
            assert!((row.added_ms - 1.01).abs() < 1e-6, "{row:?}");
            assert!(row.low_ms > 0.99 && row.low_ms < row.added_ms && row.high_ms < 1.03, "{row:?}");
        }
        let tails: Vec<_> =
            report.rows.iter().filter(|row| row.quantile > 0.9).map(|row| &row.metric).collect();
        assert_eq!(tails, ["hop_down"], "requests are too few for a tail");
        assert!(report.above.is_empty() && report.invalid.is_empty(), "{report:?}");
        assert!(report.table().contains("PASS"), "{}", report.table());
    }

    #[test]
    fn more_than_is_allowed_is_named() {
        let report = HopReport::new(setup(), &blocks(), Some(0.9));
        assert_eq!(report.above, ["hop_up", "hop_down"]);
        assert!(report.table().contains("FAIL: hop_up and hop_down"), "{}", report.table());
    }

    #[test]
    fn what_did_not_come_makes_it_invalid() {
        let mut blocks = blocks();
        blocks[2].through.faults.lost = 3;
        let report = HopReport::new(setup(), &blocks, Some(2.0));
        assert_eq!(report.invalid, ["3 messages were lost"]);
        assert!(report.table().contains("INVALID") && !report.table().contains("PASS"));
        assert_eq!(HopReport::new(setup(), &[], None).invalid, ["nothing came through"]);
    }
}
