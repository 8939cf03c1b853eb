//! Block by block: both sides in turns, in an order drawn for the block, and every recording kept.
//!
//! Talks to: the sides, through [`Contestant`]. How a side is started, and how it is found out what it serves, is not known
//! here. Prints nothing.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use present::text::visible;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use wire::Address;

use crate::{
    block_files::{SIDES, blocks_in, clear, file_name},
    client::Endpoint,
    compare::Pair,
    conditions::Conditions,
    load::{self, CannotStart, Job, Tally},
    record::{Recording, Setup},
    saved_files::Saved,
    warm_up::warm_up,
};

/// A side that can be measured.
pub trait Contestant {
    /// Why it cannot be started or asked.
    type Error;

    /// The name in reports.
    fn name(&self) -> String;

    /// Starts it, if need be. Returns where it listens.
    fn start(&mut self) -> impl Future<Output = Result<Address, Self::Error>>;

    /// Finds out what it serves, once: what is to be asked of it in every block.
    fn look(&mut self) -> impl Future<Output = Result<Job, Self::Error>>;

    /// Stops what was started.
    fn stop(&mut self) -> impl Future<Output = ()>;
}

/// Where a side's blocks come from.
pub enum Source<C> {
    /// It is measured now.
    Fresh {
        /// The side that is measured.
        contestant: C,
        /// What it must be measured like.
        like: Option<Box<Setup>>,
    },
    /// It was measured earlier.
    Saved(Saved),
}

/// Why a block could not be measured. What a contestant says of itself is its own matter.
#[derive(Debug, thiserror::Error)]
pub enum SessionError<E> {
    /// A side could not be started or asked.
    #[error("a side could not be measured")]
    Contestant(E),
    /// The load could not be started.
    #[error("{0}")]
    CannotStart(CannotStart),
    /// A recording could not be written.
    #[error("cannot write into {}: {error}", path.display())]
    Write {
        /// The file, or the directory.
        path: PathBuf,
        /// The error of the file system.
        error: io::Error,
    },
    /// It could not be compared with the saved side.
    #[error("the saved side was measured under different conditions: {0}")]
    Otherwise(String),
    /// More blocks were asked for than are saved.
    #[error("a saved side has no such block")]
    NoBlock,
}

/// What a session is doing now, for a line of progress. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Mutex<Stage>>);

/// A step within a block.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    /// `baseline` or `candidate`; empty before the first one.
    pub side: &'static str,
    /// What is done with it, as `measuring`.
    pub doing: &'static str,
    /// How far the load of this step is.
    pub tally: Tally,
}

impl Live {
    /// The step that runs now.
    pub fn stage(&self) -> Stage {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, side: &'static str, doing: &'static str) -> Tally {
        let tally = Tally::default();
        let stage = Stage { side, doing, tally: tally.clone() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
        tally
    }
}

/// Both sides, baseline first, and what draws the order.
pub struct Session<'a, C> {
    sources: [(Source<C>, Option<Job>); 2],
    output: &'a Path,
    prompts: String,
    seed: u64,
    warm_up: Duration,
    live: Live,
    rng: StdRng,
}

impl<'a, C: Contestant> Session<'a, C> {
    /// Ready for the first block; the recordings that an earlier comparison left in `output` are removed. `prompts` is what
    /// the set of prompts is called, `warm_up` the longest warm-up before a block.
    pub fn new(
        sources: [Source<C>; 2],
        output: &'a Path,
        prompts: String,
        seed: u64,
        warm_up: Duration,
    ) -> Result<Self, SessionError<C::Error>> {
        clear(output).map_err(|error| SessionError::Write { path: output.to_owned(), error })?;
        let sources = sources.map(|source| (source, None));
        let rng = StdRng::seed_from_u64(seed);
        Ok(Self { sources, output, prompts, seed, warm_up, live: Live::default(), rng })
    }

    /// How many sides are measured now.
    pub fn fresh(&self) -> usize {
        self.sources.iter().filter(|(source, _)| matches!(source, Source::Fresh { .. })).count()
    }

    /// What it is doing, from now on.
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// The next block: each side is measured, or read where it is saved.
    pub async fn block(&mut self, number: usize) -> Result<Pair, SessionError<C::Error>> {
        let mut recordings = [None, None];
        let first = usize::from(self.rng.random::<bool>());
        // Both sides of a block see the same prompts at the same times; another block sees others.
        let seed = self.seed.wrapping_add(number as u64);
        for at in [first, 1 - first] {
            let (source, job) = &mut self.sources[at];
            let recording = match source {
                Source::Fresh { contestant, like } => {
                    let live = (&self.live, SIDES[at]);
                    let turn = Turn { prompts: &self.prompts, seed, warm_up: self.warm_up, live };
                    Some(turn.measure(contestant, job, like.as_deref()).await?)
                }
                Source::Saved(saved) => saved.block(number).cloned(),
            };
            if let Some(recording) = &recording {
                let file = blocks_in(self.output).join(file_name(number, SIDES[at]));
                let written = recording.write(&file);
                written.map_err(|error| SessionError::Write { path: file, error })?;
            }
            recordings[at] = recording;
        }
        let [Some(baseline), Some(candidate)] = recordings else { return Err(SessionError::NoBlock) };
        Ok(Pair { baseline, candidate })
    }
}

/// One side in one block.
struct Turn<'a> {
    prompts: &'a str,
    seed: u64,
    warm_up: Duration,
    live: (&'a Live, &'static str),
}

impl Turn<'_> {
    fn doing(&self, doing: &'static str) -> Tally {
        let (live, side) = self.live;
        live.set(side, doing)
    }

    /// Starts the side, loads it and stops it. What was learnt of it stays in `job` for the next block.
    async fn measure<C: Contestant>(
        &self,
        contestant: &mut C,
        job: &mut Option<Job>,
        like: Option<&Setup>,
    ) -> Result<Recording, SessionError<C::Error>> {
        self.doing("starting");
        let address = contestant.start().await.map_err(SessionError::Contestant)?;
        let recorded = self.load(contestant, address, job, like).await;
        contestant.stop().await;
        recorded
    }

    async fn load<C: Contestant>(
        &self,
        contestant: &mut C,
        address: Address,
        known: &mut Option<Job>,
        like: Option<&Setup>,
    ) -> Result<Recording, SessionError<C::Error>> {
        let learnt = if let Some(job) = known.take() {
            job
        } else {
            let job = contestant.look().await.map_err(SessionError::Contestant)?;
            self.agrees(&job, like).map_err(SessionError::Otherwise)?;
            job
        };
        let endpoint = Endpoint { address, ..(*learnt.endpoint).clone() };
        let job = Job { endpoint: Arc::new(endpoint), seed: self.seed, ..learnt };
        warm_up(&job, &self.doing("warming up"), self.warm_up).await.map_err(SessionError::CannotStart)?;
        let requests = load::run(&job, &self.doing("measuring")).await.map_err(SessionError::CannotStart)?;
        let recording = Recording { setup: job.setup(&contestant.name(), self.prompts), requests };
        *known = Some(job);
        Ok(recording)
    }

    /// What differs from the saved side that it is to be compared with.
    fn agrees(&self, job: &Job, like: Option<&Setup>) -> Result<(), String> {
        let Some(like) = like else { return Ok(()) };
        let now = Conditions::of(&job.setup("", self.prompts));
        let differences = Conditions::of(like).differences("in the saved blocks", &now, "now");
        if differences.is_empty() { Ok(()) } else { Err(visible(&differences.join("; "))) }
    }
}
