//! `conformance bench compare`: both sides in turns, block by block, until it is clear which is slower.

use std::{
    fs,
    path::{Path, PathBuf},
};

use latency::{
    Saved, Session, Source,
    compare::{Comparison, Conclusion, Pair, goals},
    floors::Store,
    html,
    record::Setup,
    saved::Terms,
};
use present::text;
use statistics::Plan;
use wire::Tls;

use super::{
    common::{BLOCK, LoadArgs},
    contestant::{Common, Measured, block, said},
    floors::FloorArgs,
    side::Side,
};
use crate::{
    cli::{call::refuse, patience::interrupted},
    exit::Exit,
};

/// Arguments of `conformance bench compare`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CompareArgs {
    /// What was: an address; cmd:COMMAND or container:IMAGE to start afresh for every block; or saved:PATH, measured
    /// earlier. A command is ready when it has printed `listening on ADDR`, a container when its port speaks HTTP/2
    #[arg(long, value_name = "SIDE")]
    pub baseline: Side,
    /// What is to be judged, likewise
    #[arg(long, value_name = "SIDE")]
    pub candidate: Side,
    /// The candidate's model, if it is not --model: `--baseline HOST --candidate HOST` compares two models of one server
    #[arg(long, value_name = "ID")]
    pub candidate_model: Option<String>,
    /// Numbers of blocks after which to look whether it is clear
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [6, 12, 20])]
    pub looks: Vec<usize>,
    /// How much slower the candidate may be at the median: 0.04 is 4 %
    #[arg(long, value_name = "SHARE", default_value_t = 0.04, value_parser = share)]
    pub delta: f64,
    /// And at the 99th percentile, which is judged where a block has a hundred requests
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, value_parser = share)]
    pub tail_delta: f64,
    /// Both sides are greedy, and yet may say different things
    #[arg(long)]
    pub texts_may_differ: bool,
    /// The port that containers serve on, inside
    #[arg(long, value_name = "PORT", default_value_t = 50051)]
    pub container_port: u16,
    /// Floors
    #[command(flatten)]
    pub floors: FloorArgs,
    /// Where comparison.html, comparison.json, comparison.md and every block's recordings go (blocks/)
    #[arg(long, value_name = "DIR", default_value = "target/bench-compare")]
    pub output: PathBuf,
    /// Load
    #[command(flatten)]
    pub load: LoadArgs,
}

const EXAMPLES: &str = "\
Examples:
  conformance bench compare --baseline localhost:50051 --candidate localhost:50052
  conformance bench compare --baseline 'cmd:./old serve' --candidate 'cmd:./new serve' --load closed:4
  conformance bench compare --baseline 'container:me/server:1' --candidate 'container:me/server:2'
  conformance bench compare --baseline saved:target/bench-compare --candidate 'cmd:./new serve' --output target/bench-new

--length is of each side in each block; sides that are commands or containers are started for each block and stopped after \
it. What follows `container:` is the rest of a `docker run`: options, image, arguments. Give it secrets as `-e NAME`, which \
takes the value from the environment: the words are in the reports.

saved: takes a recording (requests.jsonl.gz of `bench run`), or the --output of a `bench run` or `bench compare`: of that, \
its candidate's blocks. It must have been measured under the same load and with the same seed, and is judged only if it was \
on the same host.

Exit codes: 0 PASS, the candidate is no slower than it may be; 1 FAIL, it is; 2 wrong usage; 3 INCONCLUSIVE, or a side could
not be reached; 4 INVALID, the sides must not be compared (failed requests, a client that was late, other texts);
130 interrupted.";

/// Compares.
pub(super) async fn run(mut args: CompareArgs) -> anyhow::Result<Exit> {
    let prepared = match prepare(&args) {
        Ok(prepared) => prepared,
        Err(exit) => return Ok(exit),
    };
    // As long as what is saved.
    let saved = prepared.saved.iter().flatten().find_map(|side| side.first().setup.length.parse().ok());
    args.load.length.get_or_insert(saved.map_or(BLOCK, humantime::Duration::into));
    tokio::select! {
        exit = blocks(&args, prepared) => exit,
        () = interrupted() => Ok(Exit::Interrupted),
    }
}

/// Everything that can be wrong before anything is started.
struct Prepared {
    tls: Tls,
    prompts: Vec<String>,
    saved: [Option<Saved>; 2],
    terms: Terms,
    plan: Plan,
    store: Store,
}

fn prepare(args: &CompareArgs) -> Result<Prepared, Exit> {
    let sides = [&args.baseline, &args.candidate];
    if args.candidate_model.is_some() && matches!(args.candidate, Side::Saved(_)) {
        let why = "--candidate-model is for a candidate that is measured now; a saved one has its model";
        return Err(refuse(Exit::Usage, &why));
    }
    let addresses: Vec<_> = sides.into_iter().filter_map(Side::address).cloned().collect();
    let (tls, prompts) = args.load.read(&addresses)?;
    let mut plan = Plan { looks: args.looks.clone(), seed: args.load.seed, ..Plan::default() };
    plan.levels(plan.alpha).map_err(|error| refuse(Exit::Usage, &format!("--looks: {error}")))?;
    let store = args.floors.read()?;
    fs::create_dir_all(&args.output).map_err(|error| {
        refuse(Exit::Usage, &format!("cannot write into {}: {error}", args.output.display()))
    })?;
    let [baseline, candidate] = sides.map(|side| saved(side, &args.output));
    let saved = [baseline?, candidate?];
    let mut terms = Terms::default();
    if let Some(beforehand) = Saved::beforehand(&saved).map_err(|bad| refuse(Exit::Usage, &bad))? {
        (terms, plan.looks) = beforehand.terms(&plan.looks);
    }
    Ok(Prepared { tls, prompts, saved, terms, plan, store })
}

/// A side's blocks where it is saved; the error is said already.
fn saved(side: &Side, output: &Path) -> Result<Option<Saved>, Exit> {
    let Side::Saved(path) = side else { return Ok(None) };
    Saved::read(path, output).map(Some).map_err(|bad| refuse(Exit::Usage, &bad))
}

async fn blocks(args: &CompareArgs, prepared: Prepared) -> anyhow::Result<Exit> {
    let Prepared { tls, prompts, saved, terms, plan, store } = prepared;
    let mut goals = goals(args.delta, args.tail_delta);
    let like: Vec<_> = saved.iter().flatten().map(|side| side.first().setup.clone()).collect();
    let model = args.load.call.model.as_deref();
    let (load, port) = (&args.load, args.container_port);
    let common = Common { load, tls: &tls, prompts: &prompts, port, output: &args.output };
    let source = |side, model, like: Option<Setup>, saved| match saved {
        Some(saved) => Source::Saved(saved),
        None => Source::Fresh { contestant: Measured::new(common, side, model), like: like.map(Box::new) },
    };
    let [baseline, candidate] = saved;
    let other = args.candidate_model.as_deref();
    let mut like_candidate = like.first().cloned();
    if let (Some(like), Some(other)) = (&mut like_candidate, other) {
        other.clone_into(&mut like.model);
    }
    let sources = [
        source(&args.baseline, model, like.first().cloned(), baseline),
        source(&args.candidate, other.or(model), like_candidate, candidate),
    ];
    let session = Session::new(sources, &args.output, load.prompts.to_string(), load.seed, load.warm_up);
    let mut session = match session.map_err(|error| said(&error)) {
        Ok(session) => session,
        Err(exit) => return Ok(exit),
    };
    let mut pairs = Vec::new();
    loop {
        match block(&mut session, pairs.len(), load).await {
            Ok(pair) => pairs.push(pair),
            Err(exit) => return Ok(exit),
        }
        let setup = &pairs[0].candidate.setup;
        if pairs.len() == 1 {
            store.apply(setup, &mut goals);
            store.hint(setup).inspect(|hint| eprintln!("{hint}"));
        }
        match terms.judge(&pairs, &goals, &plan, args.texts_may_differ) {
            Ok(Some((mut comparison, None))) => {
                comparison.note_what_is_longer();
                comparison.notes.extend(store.note(setup));
                return conclude(args, &comparison, &pairs);
            }
            Ok(_) => {}
            Err(error) => return Ok(refuse(Exit::Harness, &error)),
        }
    }
}

fn conclude(args: &CompareArgs, comparison: &Comparison, pairs: &[Pair]) -> anyhow::Result<Exit> {
    let table = comparison.table();
    text::print(&table)?;
    fs::write(args.output.join("comparison.json"), serde_json::to_string_pretty(comparison)? + "\n")?;
    fs::write(args.output.join("comparison.html"), html::comparison(comparison, pairs)?)?;
    fs::write(args.output.join("comparison.md"), table)?;
    Ok(match comparison.conclusion {
        Conclusion::Pass => Exit::Success,
        Conclusion::Fail => Exit::Slower,
        Conclusion::Inconclusive => Exit::Inconclusive,
        Conclusion::Invalid => Exit::InvalidFigures,
    })
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=10.0).contains(&share) => Ok(share),
        _ => Err("expected a share: 0.04 is 4 %".to_owned()),
    }
}
