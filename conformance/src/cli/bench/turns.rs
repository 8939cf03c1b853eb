//! Block by block: both sides in turns, in an order drawn for the block, and every recording kept.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use present::text::visible;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use wire::Tls;

use super::{
    common::{LoadArgs, warm_up},
    side::Side,
};
use crate::{
    bench::{
        Endpoint,
        compare::Pair,
        conditions::Conditions,
        load::{self, CannotStart, Job, Tally},
        metrics::{Metric, quantile},
        record::{Recording, Setup},
    },
    cli::call::refuse,
    exit::Exit,
    targets::Target,
};

/// What all blocks have in common.
pub(super) struct Common<'a> {
    pub(super) load: &'a LoadArgs,
    pub(super) tls: &'a Tls,
    pub(super) prompts: &'a [String],
    /// Inside a container.
    pub(super) port: u16,
    /// Where recordings and logs go.
    pub(super) output: &'a Path,
}

/// Where a side's blocks come from.
pub(super) enum Source<'a> {
    Fresh(Box<Measured<'a>>),
    Saved(Vec<Recording>),
}

/// Both sides, baseline first, and what draws the order.
pub(super) struct Turns<'a> {
    common: Common<'a>,
    sources: [Source<'a>; 2],
    rng: StdRng,
}

impl<'a> Turns<'a> {
    /// Ready for the first block; what an earlier comparison left in the output is removed.
    pub(super) fn new(common: Common<'a>, sources: [Source<'a>; 2]) -> Result<Self, Exit> {
        clear(&blocks_in(common.output)).map_err(|error| cannot_write(common.output, &error))?;
        let fresh = sources.iter().filter(|source| matches!(source, Source::Fresh(_))).count();
        if fresh > 0 {
            let length = humantime::format_duration(common.load.length());
            eprintln!(
                "measuring in blocks of {fresh} times {length}, after a warm-up each; ratios are candidate / baseline…"
            );
        }
        let rng = StdRng::seed_from_u64(common.load.seed);
        Ok(Self { common, sources, rng })
    }

    /// The next block; the error is said already.
    pub(super) async fn block(&mut self, number: usize) -> Result<Pair, Exit> {
        let mut recordings = [None, None];
        let first = usize::from(self.rng.random::<bool>());
        for at in [first, 1 - first] {
            let recording = match &mut self.sources[at] {
                Source::Fresh(side) => Some(side.measure(&self.common, number).await?),
                Source::Saved(blocks) => blocks.get(number).cloned(),
            };
            if let Some(recording) = &recording {
                let file = blocks_in(self.common.output).join(file_name(number, SIDES[at]));
                recording.write(&file).map_err(|error| cannot_write(&file, &error))?;
            }
            recordings[at] = recording;
        }
        let [Some(baseline), Some(candidate)] = recordings else {
            return Err(refuse(Exit::Harness, &"a saved side has no such block"));
        };
        let ratio = |metric| Some(median(&candidate, metric)? / median(&baseline, metric)?);
        let shown = |metric: Metric| ratio(metric).map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
        eprintln!("block {:>2}  ttft {}  tpot {}", number + 1, shown(Metric::Ttft), shown(Metric::Tpot));
        Ok(Pair { baseline, candidate })
    }
}

/// A side that is measured, and what was learnt of it in the first block.
pub(super) struct Measured<'a> {
    side: &'a Side,
    model: Option<&'a str>,
    /// What it must be measured like.
    like: Option<Setup>,
    job: Option<Job>,
}

impl<'a> Measured<'a> {
    pub(super) fn new(side: &'a Side, model: Option<&'a str>, like: Option<Setup>) -> Self {
        Self { side, model, like, job: None }
    }

    async fn measure(&mut self, common: &Common<'_>, block: usize) -> Result<Recording, Exit> {
        let target = self.side.reach(common.port, &common.output.join("target.log")).await?;
        let recorded = self.load(common, block, &target).await;
        target.stop().await;
        recorded
    }

    async fn load(&mut self, common: &Common<'_>, block: usize, target: &Target) -> Result<Recording, Exit> {
        let Common { load, tls, prompts, .. } = common;
        let known = match self.job.take() {
            Some(job) => job,
            None => self.as_agreed(load, load.job(target, self.model, tls, prompts.to_vec()).await?)?,
        };
        // Both sides of a block see the same prompts at the same times; another block sees others.
        let seed = load.seed.wrapping_add(block as u64);
        let endpoint = Endpoint { address: target.addresses()[0].clone(), ..(*known.endpoint).clone() };
        let job = Job { endpoint: Arc::new(endpoint), seed, ..known };
        let unreachable = |error: CannotStart| refuse(Exit::Unreachable, &error);
        warm_up(&job, &Tally::default(), load.warm_up).await.map_err(unreachable)?;
        let requests = load::run(&job, &Tally::default()).await.map_err(unreachable)?;
        let recording = Recording { setup: load.setup(&job, self.side.to_string()), requests };
        self.job = Some(job);
        Ok(recording)
    }

    /// Refuses to measure what could not be compared.
    fn as_agreed(&self, load: &LoadArgs, job: Job) -> Result<Job, Exit> {
        let Some(like) = &self.like else { return Ok(job) };
        let now = Conditions::of(&load.setup(&job, String::new()));
        let differences = Conditions::of(like).differences("in the saved blocks", &now, "now");
        if differences.is_empty() {
            return Ok(job);
        }
        let why = format!("the saved side was measured otherwise: {}", visible(&differences.join("; ")));
        Err(refuse(Exit::Usage, &why))
    }
}

/// Where a comparison's recordings are.
pub(super) fn blocks_in(output: &Path) -> PathBuf {
    output.join("blocks")
}

/// A block's file, numbered from 1, so that names sort as blocks do.
pub(super) fn file_name(number: usize, side: &str) -> String {
    format!("{:03}-{side}.jsonl.gz", number + 1)
}

/// Removes recordings, and nothing that somebody else put there.
fn clear(blocks: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(blocks) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let ours = |name: &str| SIDES.iter().any(|side| name.ends_with(&format!("-{side}.jsonl.gz")));
        if path.file_name().and_then(|name| name.to_str()).is_some_and(ours) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &io::Error) -> Exit {
    refuse(Exit::Harness, &format!("cannot write into {}: {error}", path.display()))
}

fn median(recording: &Recording, metric: Metric) -> Option<f64> {
    quantile(metric.values(&recording.requests), 0.5).filter(|value| *value > 0.0)
}

pub(super) const SIDES: [&str; 2] = ["baseline", "candidate"];
