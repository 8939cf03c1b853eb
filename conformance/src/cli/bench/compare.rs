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
use statistics::LookSchedule;
use wire::Tls;

use super::{
    common::{BLOCK, LoadSettings, written},
    contestant::{Common, Measured, block, said},
    floors::FloorArgs,
    raw::LoadArgs,
    side::Side,
    values::slowdown,
};
use crate::{
    cli::{call::refuse, patience::interrupted},
    exit::Exit,
};

/// Arguments of `conformance bench compare`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CompareArgs {
    /// The side to compare with: an address; cmd:COMMAND, container:IMAGE or file:TARGET, started anew for each block; or
    /// saved:PATH, which was measured earlier. A command is ready when it has printed `listening on ADDR`, a container when
    /// its port speaks HTTP/2
    #[arg(long, value_name = "SIDE")]
    pub baseline: Side,
    /// The side to judge, written like --baseline: an address, cmd:COMMAND, container:IMAGE or saved:PATH
    #[arg(long, value_name = "SIDE")]
    pub candidate: Side,
    /// The candidate's model, if it is not --model: `--baseline HOST --candidate HOST` compares two models of one server
    #[arg(long, value_name = "ID")]
    pub candidate_model: Option<String>,
    /// Numbers of blocks after which to look whether it is clear
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [6, 12, 20])]
    pub looks: Vec<usize>,
    /// How much slower the candidate may be at the median, as 4% or 0.04
    #[arg(long, value_name = "SHARE", default_value = "4%", value_parser = slowdown)]
    pub delta: f64,
    /// How much slower the candidate may be at the 99th percentile of ttft, as 5% or 0.05. This percentile is judged where
    /// each block has at least 100 requests of each side
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = slowdown)]
    pub tail_delta: f64,
    /// Print the comparison as JSON
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Print the comparison as Markdown; comparison.md is written in any case
    #[arg(long)]
    pub markdown: bool,
    /// Compare although the sides answer the same prompts with different texts
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

Exit codes: 0 PASS, the candidate is not slower than the limits allow; 1 FAIL, it is slower; 2 wrong usage; 3 INCONCLUSIVE, or a side could
not be reached; 4 INVALID, the sides must not be compared (failed requests, a client that was late, other texts);
130 interrupted.";

/// Runs `conformance bench compare`.
pub(super) async fn run(args: CompareArgs) -> anyhow::Result<Exit> {
    let resolved = args.load.clone().resolve();
    let mut prepared = match resolved.and_then(|load| prepare(&args, load)) {
        Ok(prepared) => prepared,
        Err(exit) => return Ok(exit),
    };
    // As long as what is saved.
    let saved = prepared.saved.iter().flatten().find_map(|side| side.first().setup.length.parse().ok());
    prepared.load.default_length(saved.map_or(BLOCK, humantime::Duration::into));
    if let Err(exit) = prepared.load.check_arrivals() {
        return Ok(exit);
    }
    tokio::select! {
        exit = blocks(&args, prepared) => exit,
        () = interrupted() => Ok(Exit::Interrupted),
    }
}

/// Everything that can be wrong before anything is started.
struct Prepared {
    load: LoadSettings,
    tls: Tls,
    prompts: Vec<String>,
    saved: [Option<Saved>; 2],
    terms: Terms,
    plan: LookSchedule,
    store: Store,
}

fn prepare(args: &CompareArgs, load: LoadSettings) -> Result<Prepared, Exit> {
    let sides = [&args.baseline, &args.candidate];
    if args.candidate_model.is_some() && matches!(args.candidate, Side::Saved(_)) {
        let why = "--candidate-model is for a candidate that is measured now; a saved one has its model";
        return Err(refuse(Exit::Usage, &why));
    }
    let addresses: Vec<_> = sides.into_iter().filter_map(Side::address).cloned().collect();
    sides.into_iter().try_for_each(|side| side.read(args.container_port))?;
    let (tls, prompts) = load.read(&addresses)?;
    let mut plan = LookSchedule { looks: args.looks.clone(), seed: load.seed, ..LookSchedule::default() };
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
    Ok(Prepared { load, tls, prompts, saved, terms, plan, store })
}

/// A side's blocks where it is saved; the error is said already.
fn saved(side: &Side, output: &Path) -> Result<Option<Saved>, Exit> {
    let Side::Saved(path) = side else { return Ok(None) };
    Saved::read(path, output).map(Some).map_err(|bad| refuse(Exit::Usage, &bad))
}

async fn blocks(args: &CompareArgs, prepared: Prepared) -> anyhow::Result<Exit> {
    let Prepared { load, tls, prompts, saved, terms, plan, store } = prepared;
    let mut goals = goals(args.delta, args.tail_delta);
    let like: Vec<_> = saved.iter().flatten().map(|side| side.first().setup.clone()).collect();
    let model = load.call.model.as_deref();
    let (load, port) = (&load, args.container_port);
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
    text::print(&if args.json {
        serde_json::to_string_pretty(comparison)? + "\n"
    } else if args.markdown {
        comparison.markdown()
    } else {
        comparison.table()
    })?;
    fs::write(args.output.join("comparison.json"), serde_json::to_string_pretty(comparison)? + "\n")?;
    fs::write(args.output.join("comparison.html"), html::comparison(comparison, pairs)?)?;
    fs::write(args.output.join("comparison.md"), comparison.markdown())?;
    written(&args.output, &["comparison.html", "comparison.json", "comparison.md", "blocks/"]);
    Ok(match comparison.conclusion {
        Conclusion::Pass => Exit::Success,
        Conclusion::Fail => Exit::Slower,
        Conclusion::Inconclusive => Exit::Inconclusive,
        Conclusion::Invalid => Exit::InvalidFigures,
    })
}
