//! Interleaved rounds: in each, every width; for each width, every engine; both in an order drawn for the round.
//!
//! A machine's speed drifts, by heat and by neighbours. Engines that are measured within seconds of each other share
//! the drift, and a ratio within a round loses it.

use std::{
    fmt::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use benches::process::processor_time;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use reference_sidecar::text::Tokenizer;
use serde::Serialize;
use tokio::runtime::Runtime;

use super::{
    engine::{Kind, Measured, Task},
    first_token::FirstToken,
    grpc::Served,
    options::{Options, Role},
    peer::Peer,
    workload,
};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) cells: Vec<Cell>,
    pub(crate) first_token: Vec<FirstToken>,
}

/// One engine at one width in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) round: usize,
    pub(crate) streams: usize,
    pub(crate) engine: Kind,
    /// All sequences together.
    pub(crate) tokens_per_second: f64,
    #[serde(flatten)]
    pub(crate) measured: Measured,
    /// Processor time that the other engines took meanwhile, as a share of one core; should be nothing.
    pub(crate) others: Option<f64>,
}

/// Starts all engines, warms them up, and runs the rounds.
pub(crate) fn run(
    options: &Options,
    package: &Path,
    tokenizer: &Tokenizer,
    runtime: &Runtime,
) -> anyhow::Result<Vec<Cell>> {
    let mut engines = Vec::new();
    for kind in options.engines() {
        let engine = Engine::start(kind, options, package, runtime);
        let engine =
            engine.with_context(|| format!("cannot start {kind} (or leave it out: --without {kind})"))?;
        eprintln!("{kind:<9} {}", engine.describe());
        engines.push((kind, engine));
    }
    let mut cells = Vec::new();
    let mut rng = StdRng::seed_from_u64(options.seed);
    // Round 0 is the warm-up: memory is taken and pages are touched; nothing of it is kept.
    for round in 0..=options.rounds {
        let mut widths = options.streams.clone();
        widths.shuffle(&mut rng);
        for streams in widths {
            let task = workload::draw(&mut rng, tokenizer, streams, options.prompt, options.tokens)?;
            let mut order: Vec<usize> = (0..engines.len()).collect();
            order.shuffle(&mut rng);
            let mut line = format!("round {round:>2}  {streams:>3} streams ");
            for at in order {
                // A thread pool that has just worked spins for a moment: let it go to sleep.
                thread::sleep(SETTLE);
                let others: Vec<u32> = pids(&engines, at);
                let (before, began) = (time_of(&others), Instant::now());
                let (kind, engine) = &mut engines[at];
                let measured = engine.measure(&task, runtime);
                let measured = measured.with_context(|| format!("{kind} failed at {streams} streams"))?;
                let wall = began.elapsed();
                let share =
                    |after: Duration, before| after.saturating_sub(before).as_secs_f64() / wall.as_secs_f64();
                let others = time_of(&others).zip(before).map(|(after, before)| share(after, before));
                let (engine, tokens_per_second) = (*kind, measured.rate());
                cells.push(Cell { round, streams, engine, tokens_per_second, measured, others });
                let _ = write!(line, "  {kind} {tokens_per_second:.0}");
            }
            eprintln!("{line} tokens/s{}", if round == 0 { " (warm-up)" } else { "" });
        }
    }
    cells.retain(|cell| cell.round > 0);
    Ok(cells)
}

enum Engine {
    Sidecar(Served),
    Peer(Peer),
}

impl Engine {
    fn start(kind: Kind, options: &Options, package: &Path, runtime: &Runtime) -> anyhow::Result<Self> {
        Ok(match kind {
            Kind::Sidecar => Self::Sidecar(Served::start(options, package, runtime)?),
            Kind::Bare => Self::Peer(Peer::ourselves(Role::Bare, package, options)?),
            Kind::Backend => Self::Peer(Peer::ourselves(Role::Backend, package, options)?),
            Kind::Genai | Kind::LlamaCpp => Self::Peer(Peer::python(kind, options)?),
        })
    }

    fn describe(&self) -> &str {
        match self {
            Self::Sidecar(_) => "over gRPC on a Unix socket",
            Self::Peer(peer) => &peer.name,
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Sidecar(served) => served.pid(),
            Self::Peer(peer) => peer.pid(),
        }
    }

    fn measure(&mut self, task: &Task, runtime: &Runtime) -> anyhow::Result<Measured> {
        match self {
            Self::Sidecar(served) => served.measure(task, runtime),
            Self::Peer(peer) => peer.measure(task),
        }
    }
}

fn pids(engines: &[(Kind, Engine)], without: usize) -> Vec<u32> {
    let others = engines.iter().enumerate().filter(|(at, _)| *at != without);
    others.map(|(_, (_, engine))| engine.pid()).collect()
}

fn time_of(pids: &[u32]) -> Option<Duration> {
    pids.iter().map(|pid| processor_time(*pid)).sum()
}

/// ONNX Runtime's threads spin for some milliseconds after a run, llama.cpp's for less.
const SETTLE: Duration = Duration::from_millis(150);
