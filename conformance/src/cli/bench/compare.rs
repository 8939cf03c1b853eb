//! `conformance bench compare`: both sides in turns, block by block, until it is clear which is slower.

use std::{fs, path::PathBuf, str::FromStr, sync::Arc};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use statistics::Plan;

use super::common::{LoadArgs, warm_up};
use crate::{
    address::Address,
    bench::{
        Endpoint,
        compare::{Comparison, Conclusion, Pair, goals, judge},
        html,
        load::{self, CannotStart, Job, Tally},
        metrics::{Metric, quantile},
        record::Recording,
    },
    cli::{
        call::{reach, refuse},
        patience::interrupted,
    },
    exit::Exit,
    probe::Tls,
    reports::text,
    targets::Target,
};

/// Arguments of `conformance bench compare`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CompareArgs {
    /// What was: an address, or cmd:COMMAND to start afresh for every block; the command is ready when it has printed
    /// `listening on ADDR`
    #[arg(long, value_name = "SIDE")]
    pub baseline: Side,
    /// What is to be judged, likewise
    #[arg(long, value_name = "SIDE")]
    pub candidate: Side,
    /// Numbers of blocks after which to look whether it is clear
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [6, 12, 20])]
    pub looks: Vec<usize>,
    /// How much slower the candidate may be at the median: 0.05 is 5 %
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, value_parser = share)]
    pub delta: f64,
    /// And at the 99th percentile, which is judged where a block has a hundred requests
    #[arg(long, value_name = "SHARE", default_value_t = 0.10, value_parser = share)]
    pub tail_delta: f64,
    /// Both sides are greedy, and yet may say different things
    #[arg(long)]
    pub texts_may_differ: bool,
    /// Load
    #[command(flatten)]
    pub load: LoadArgs,
    /// Where comparison.html, comparison.json and comparison.md go
    #[arg(long, value_name = "DIR", default_value = "target/bench-compare")]
    pub output: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  conformance bench compare --baseline localhost:50051 --candidate localhost:50052 --length 5s
  conformance bench compare --baseline 'cmd:./old serve' --candidate 'cmd:./new serve' --load closed:4 --length 3s

--length is of each side in each block; sides that are commands are started for each block and stopped after it.

Exit codes: 0 PASS, the candidate is no slower than it may be; 1 FAIL, it is; 2 wrong usage; 3 INCONCLUSIVE, or a side could
not be reached; 4 INVALID, the sides must not be compared (failed requests, a client that was late, other texts);
130 interrupted.";

/// One side of a comparison.
#[derive(Clone, Debug)]
pub enum Side {
    /// It runs already.
    Address(Address),
    /// It is started.
    Command(String),
}

impl FromStr for Side {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("cmd:") {
            Some("") => Err("expected a command after cmd:".to_owned()),
            Some(command) => Ok(Self::Command(command.to_owned())),
            None => text.parse().map(Self::Address).map_err(|error| format!("{error}")),
        }
    }
}

impl Side {
    fn name(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Command(command) => command.clone(),
        }
    }

    fn address(&self) -> Option<&Address> {
        match self {
            Self::Address(address) => Some(address),
            Self::Command(_) => None,
        }
    }

    fn command(&self) -> Option<&str> {
        match self {
            Self::Address(_) => None,
            Self::Command(command) => Some(command),
        }
    }
}

/// Compares.
pub(super) async fn run(args: CompareArgs) -> anyhow::Result<Exit> {
    let addresses: Vec<_> =
        [&args.baseline, &args.candidate].into_iter().filter_map(Side::address).cloned().collect();
    let (tls, prompts) = match args.load.read(&addresses) {
        Ok(read) => read,
        Err(exit) => return Ok(exit),
    };
    let plan = Plan { looks: args.looks.clone(), seed: args.load.seed, ..Plan::default() };
    if let Err(error) = plan.levels(plan.alpha) {
        return Ok(refuse(Exit::Usage, &format!("--looks: {error}")));
    }
    if let Err(error) = fs::create_dir_all(&args.output) {
        return Ok(refuse(Exit::Usage, &format!("cannot write into {}: {error}", args.output.display())));
    }
    tokio::select! {
        exit = blocks(&args, &plan, &tls, &prompts) => exit,
        () = interrupted() => Ok(Exit::Interrupted),
    }
}

async fn blocks(args: &CompareArgs, plan: &Plan, tls: &Tls, prompts: &[String]) -> anyhow::Result<Exit> {
    let goals = goals(args.delta, args.tail_delta);
    let mut sides = [Measured::new(&args.baseline), Measured::new(&args.candidate)];
    let mut rng = StdRng::seed_from_u64(args.load.seed);
    let mut pairs = Vec::new();
    loop {
        let number = pairs.len();
        let mut recordings = [None, None];
        let first = usize::from(rng.random::<bool>());
        for at in [first, 1 - first] {
            match sides[at].measure(args, number, tls, prompts).await {
                Ok(recording) => recordings[at] = Some(recording),
                Err(exit) => return Ok(exit),
            }
        }
        let [Some(baseline), Some(candidate)] = recordings else { return Ok(Exit::Harness) };
        let ratio = |metric| Some(median(&candidate, metric)? / median(&baseline, metric)?);
        let shown = |metric: Metric| ratio(metric).map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
        eprintln!("block {:>2}  ttft {}  tpot {}", number + 1, shown(Metric::Ttft), shown(Metric::Tpot));
        pairs.push(Pair { baseline, candidate });
        let judged = judge(&pairs, &goals, plan, args.texts_may_differ);
        let judged = match judged {
            Ok(judged) => judged,
            Err(error) => return Ok(refuse(Exit::Harness, &error)),
        };
        if let Some((comparison, None)) = judged {
            return conclude(args, &comparison, &pairs);
        }
    }
}

fn conclude(args: &CompareArgs, comparison: &Comparison, pairs: &[Pair]) -> anyhow::Result<Exit> {
    let table = comparison.table();
    text::print(&table)?;
    fs::write(args.output.join("comparison.json"), serde_json::to_string_pretty(comparison)? + "\n")?;
    fs::write(args.output.join("comparison.html"), html::comparison(comparison, pairs, |_| None)?)?;
    fs::write(args.output.join("comparison.md"), table)?;
    Ok(match comparison.conclusion {
        Conclusion::Pass => Exit::Success,
        Conclusion::Fail => Exit::NonConformant,
        Conclusion::Inconclusive => Exit::Unreachable,
        Conclusion::Invalid => Exit::Harness,
    })
}

/// A side, and what was learnt of it in the first block.
struct Measured<'a> {
    side: &'a Side,
    job: Option<Job>,
}

impl<'a> Measured<'a> {
    fn new(side: &'a Side) -> Self {
        Self { side, job: None }
    }

    async fn measure(
        &mut self,
        args: &CompareArgs,
        block: usize,
        tls: &Tls,
        prompts: &[String],
    ) -> Result<Recording, Exit> {
        let addresses = self.side.address().map_or(&[][..], std::slice::from_ref);
        let target = reach(self.side.command(), addresses, &args.output.join("target.log")).await?;
        let recorded = self.load(args, block, &target, tls, prompts).await;
        target.stop().await;
        recorded
    }

    async fn load(
        &mut self,
        args: &CompareArgs,
        block: usize,
        target: &Target,
        tls: &Tls,
        prompts: &[String],
    ) -> Result<Recording, Exit> {
        let known = match self.job.take() {
            Some(job) => job,
            None => args.load.job(target, tls, prompts.to_vec()).await?,
        };
        // Both sides of a block see the same prompts at the same times; another block sees others.
        let seed = args.load.seed.wrapping_add(block as u64);
        let endpoint = Endpoint { address: target.addresses()[0].clone(), ..(*known.endpoint).clone() };
        let job = Job { endpoint: Arc::new(endpoint), seed, ..known };
        let unreachable = |error: CannotStart| refuse(Exit::Unreachable, &error);
        warm_up(&job, &Tally::default(), args.load.warm_up).await.map_err(unreachable)?;
        let requests = load::run(&job, &Tally::default()).await.map_err(unreachable)?;
        let recording = Recording { setup: args.load.setup(&job, self.side.name()), requests };
        self.job = Some(job);
        Ok(recording)
    }
}

fn median(recording: &Recording, metric: Metric) -> Option<f64> {
    quantile(metric.values(&recording.requests), 0.5).filter(|value| *value > 0.0)
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=10.0).contains(&share) => Ok(share),
        _ => Err("expected a share: 0.05 is 5 %".to_owned()),
    }
}
