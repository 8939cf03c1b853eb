//! The loop: choose, mutate, execute in batches, look whether the server is well, keep what was new.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinSet;

use crate::{bytes::pick, corpus, corpus::Corpus, panics};

/// Something to feed inputs to.
pub trait Target: Clone + Send + Sync + 'static {
    /// In file names and on the command line.
    const NAME: &'static str;

    /// A fresh input.
    fn generate(&self, rng: &mut StdRng) -> Vec<u8>;

    /// A changed input; `other` is another one of the corpus.
    fn mutate(&self, rng: &mut StdRng, input: &[u8], other: &[u8]) -> Vec<u8>;

    /// Feeds it: what the server was seen to do, or what it must not do.
    fn execute(&self, input: Vec<u8>) -> impl Future<Output = Result<String, String>> + Send;

    /// What must hold between inputs.
    fn check(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// How a campaign ended well.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Number of inputs executed.
    pub executed: u64,
    /// Inputs in the corpus.
    pub corpus: usize,
    /// Number of different behaviours seen.
    pub behaviours: usize,
}

/// A broken invariant, and the inputs that broke it.
#[derive(Debug)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// One input if it does it alone, else the batch.
    pub inputs: Vec<Vec<u8>>,
}

/// Runs for some time.
pub async fn run<T: Target>(
    target: &T,
    corpus: &mut Corpus,
    seed: u64,
    time: Duration,
    mut progress: impl FnMut(Done, f64),
) -> anyhow::Result<Result<Done, Finding>> {
    panics::watch();
    let mut rng = StdRng::seed_from_u64(seed);
    let (began, mut told) = (Instant::now(), Instant::now());
    let mut executed = 0;
    // All of the corpus first: it is the regression test.
    let mut known: Vec<_> = corpus.inputs().to_vec();
    loop {
        let batch: Vec<_> =
            (0..BATCH).map(|_| known.pop().unwrap_or_else(|| next(target, &mut rng, corpus))).collect();
        match execute(target, &batch).await {
            Ok(outcomes) => {
                for (input, signature) in outcomes {
                    corpus.learn(&input, signature)?;
                }
            }
            Err(what) => return Ok(Err(narrow(target, batch, what).await)),
        }
        executed += batch.len() as u64;
        let done = Done { executed, corpus: corpus.inputs().len(), behaviours: corpus.behaviours() };
        if told.elapsed() > Duration::from_secs(2) {
            told = Instant::now();
            progress(done, executed as f64 / began.elapsed().as_secs_f64());
        }
        if began.elapsed() >= time && known.is_empty() {
            return Ok(Ok(done));
        }
    }
}

/// Executes inputs side by side, then checks.
pub async fn execute<T: Target>(target: &T, batch: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, String)>, String> {
    let mut running = JoinSet::new();
    for input in batch.iter().cloned() {
        let target = target.clone();
        running.spawn(async move {
            let outcome = tokio::time::timeout(HANG, target.execute(input.clone())).await;
            outcome
                .unwrap_or_else(|_| Err("an input hangs for more than 20 s".to_owned()))
                .map(|seen| (input, seen))
        });
    }
    let outcomes = running.join_all().await;
    let well = target.check().await;
    // Whatever else is wrong, a panic belongs to this batch and not to the next one that is looked at.
    panics::check()?;
    let mut seen = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    well?;
    // In one order, whichever input was first: the corpus grows the same from the same seed, as far as the server lets
    // it.
    seen.sort();
    Ok(seen)
}

/// The one input of a batch that does it alone, if there is one.
async fn narrow<T: Target>(target: &T, batch: Vec<Vec<u8>>, what: String) -> Finding {
    for input in &batch {
        if let Err(what) = execute(target, std::slice::from_ref(input)).await {
            return Finding { what, inputs: vec![input.clone()] };
        }
    }
    Finding { what, inputs: batch }
}

fn next<T: Target>(target: &T, rng: &mut StdRng, corpus: &Corpus) -> Vec<u8> {
    let inputs = corpus.inputs();
    if inputs.is_empty() || rng.random_bool(FRESH) {
        return target.generate(rng);
    }
    let (input, other) = (pick(rng, inputs).clone(), pick(rng, inputs).clone());
    target.mutate(rng, &input, &other)
}

/// Writes a finding's inputs into `directory`.
pub fn save<T: Target>(finding: &Finding, directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let prefix = format!("{}-", T::NAME);
    finding.inputs.iter().map(|input| corpus::write(directory, &prefix, input)).collect()
}

/// Inputs between two checks.
const BATCH: usize = 32;
/// Share of new inputs among all inputs.
const FRESH: f64 = 0.3;
/// Longer than anything legal that an input can ask for.
const HANG: Duration = Duration::from_secs(20);
