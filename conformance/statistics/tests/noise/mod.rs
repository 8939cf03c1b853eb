//! Machines as they are: requests scatter log-normally with a heavy tail, the machine drifts from block to block, each
//! run drifts on its own by a few percent, and now and then a run takes twice as long.

use std::f64::consts::TAU;

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use statistics::{Block, Figure, Judgement, LookSchedule, Samples, Verdict, judge};

/// What a simulated machine does.
#[derive(Clone, Copy)]
pub(crate) struct Noise {
    /// Requests on each side of a block.
    pub(crate) requests: usize,
    /// Log-normal deviation of a request.
    pub(crate) request: f64,
    /// The share of requests with a Pareto-like tail.
    pub(crate) heavy: f64,
    /// Deviation of the drift that both runs of a block share.
    pub(crate) shared: f64,
    /// Deviation of each run's own drift: from and to, drawn for each comparison.
    pub(crate) own: (f64, f64),
    /// The share of blocks of which one run takes twice as long.
    pub(crate) outliers: f64,
}

/// What the candidate does differently.
#[derive(Clone, Copy)]
pub(crate) enum Effect {
    /// Every request takes so many times as long.
    All(f64),
    /// One request in 50 is slow on both sides, by a factor of three; the candidate's slow ones take so many times as
    /// long.
    Slowest(f64),
    /// One request in 50 takes so many times as long on the candidate's side only.
    OneIn50(f64),
}

impl Noise {
    /// A small shared machine.
    pub(crate) const SHARED: Self =
        Self { requests: 100, request: 0.15, heavy: 0.01, shared: 0.1, own: (0.03, 0.05), outliers: 0.03 };
    /// A machine that runs nothing else.
    pub(crate) const QUIET: Self = Self { own: (0.01, 0.02), ..Self::SHARED };

    /// As many blocks as asked for, of one comparison.
    pub(crate) fn blocks(&self, count: usize, effect: Effect, rng: &mut Xoshiro256PlusPlus) -> Vec<Block> {
        let own = rng.random_range(self.own.0..=self.own.1);
        (0..count).map(|_| self.block(own, effect, rng)).collect()
    }

    fn block(&self, own: f64, effect: Effect, rng: &mut Xoshiro256PlusPlus) -> Block {
        let shared = (self.shared * normal(rng)).exp();
        let outlier = rng.random::<f64>() < self.outliers;
        let slow_is_candidate = rng.random::<bool>();
        let mut side = |is_candidate: bool| {
            let twice = if outlier && slow_is_candidate == is_candidate { 2.0 } else { 1.0 };
            let run = 1e8 * shared * (own * normal(rng)).exp() * twice;
            Samples::singles((0..self.requests).map(|at| {
                let tail = if rng.random::<f64>() < self.heavy {
                    rng.random_range(0.1_f64..1.0).recip()
                } else {
                    1.0
                };
                let changed = match effect {
                    Effect::All(by) if is_candidate => by,
                    Effect::Slowest(by) if at % 50 == 0 => 3.0 * if is_candidate { by } else { 1.0 },
                    Effect::OneIn50(by) if at % 50 == 0 && is_candidate => by,
                    _ => 1.0,
                };
                (run * (self.request * normal(rng)).exp() * tail * changed) as u64
            }))
        };
        Block { baseline: side(false), candidate: side(true) }
    }
}

/// Looks as a caller does: at each look of the plan in turn, until there is a verdict. The figures share their blocks.
pub(crate) fn compare(blocks: &[Block], figures: &[(f64, f64)], plan: &LookSchedule) -> Judgement {
    for (look, count) in (1..).zip(&plan.looks) {
        let figure = |(quantile, delta): &(f64, f64)| Figure {
            metric: "ttft".into(),
            quantile: *quantile,
            delta: *delta,
            floor: None,
            blocks: blocks[..*count].to_vec(),
        };
        let figures: Vec<Figure> = figures.iter().map(figure).collect();
        let judgement = judge(&figures, look, plan).expect("the figures can be judged");
        if judgement.next.is_none() {
            return judgement;
        }
    }
    unreachable!("the last look has no next")
}

/// How often `count` comparisons came to each verdict, and at which looks they failed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) fail: usize,
    pub(crate) pass: usize,
    pub(crate) inconclusive: usize,
    /// FAILs at each look.
    pub(crate) fails_at: [usize; 3],
}

/// Compares `count` times, each time with a seed of its own.
pub(crate) fn tally(
    count: u64,
    noise: Noise,
    effect: Effect,
    figures: &[(f64, f64)],
    plan: &LookSchedule,
) -> Tally {
    let most = plan.looks.last().copied().unwrap_or_default();
    let mut tally = Tally::default();
    for seed in 0..count {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let judgement = compare(&noise.blocks(most, effect, &mut rng), figures, plan);
        match judgement.verdict {
            Verdict::Fail => {
                tally.fail += 1;
                tally.fails_at[judgement.look - 1] += 1;
            }
            Verdict::Pass => tally.pass += 1,
            Verdict::Inconclusive => tally.inconclusive += 1,
        }
    }
    tally
}

/// Box and Muller.
fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
    let (radius, angle) = (rng.random_range(1e-300_f64..1.0), rng.random_range(0.0..TAU));
    (-2.0 * radius.ln()).sqrt() * angle.cos()
}
