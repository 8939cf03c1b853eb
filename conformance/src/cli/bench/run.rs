//! `conformance bench run`: reach the target, warm it up, load it, say what came of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use latency::{
    html,
    load::{CannotStart, Job, Tally},
    record::{Recording, RequestRecord},
    report::{Objectives, Report, csv},
    warm_up,
};
use present::{Progress, text};
use wire::Address;

use super::{
    beside::{BesideArgs, Seen},
    common::{LoadSettings, written},
    raw::LoadArgs,
    values::duration,
};
use crate::{
    cli::{
        call::{reach, refuse, stop},
        patience::interrupted,
        target_args::TargetArgs,
    },
    exit::Exit,
};

/// Arguments of `conformance bench run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchRunArgs {
    /// The endpoint: unix:///abs/path, host:port or https://host:port
    #[arg(long, value_name = "ADDR")]
    pub target: Option<Address>,
    /// Start this command first and stop it afterwards; it is ready when --target takes connections or, without
    /// --target, when it has printed `listening on ADDR`
    #[arg(long, value_name = "CMD")]
    pub spawn: Option<String>,
    /// Its description
    #[command(flatten)]
    pub described: TargetArgs,
    /// Beside it
    #[command(flatten)]
    pub beside: BesideArgs,
    /// Goodput counts a request only if its first token came within this time
    #[arg(long, value_name = "DUR", default_value = "450ms", value_parser = duration)]
    pub ttft: Duration,
    /// Goodput counts a request only if the mean time between its tokens is within this time
    #[arg(long, value_name = "DUR", default_value = "40ms", value_parser = duration)]
    pub tpot: Duration,
    /// Where report.html, report.json, requests.csv and requests.jsonl.gz go
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub output: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Load
    #[command(flatten)]
    pub load: LoadArgs,
}

const EXAMPLES: &str = "\
Examples:
  conformance bench run --target localhost:50051                      one client
  conformance bench run --target localhost:50051 --load closed:8      eight clients in a loop
  conformance bench run --target localhost:50051 --load poisson:20 --length 2m
  conformance bench run --target unix:///tmp/a.sock --prompts mixed --load ramp:1..50
  conformance bench run --target localhost:50051 --load closed:8 --per-stream 4      two streams, four requests on each
  conformance bench run --target localhost:50051 --metrics http://localhost:9464/metrics --health-every 100ms

Times are taken from the planned send time, so that a stall is seen by every request that should have been sent in it.

Exit codes: 0 measured, 2 wrong usage, 3 the target could not be reached, 4 the figures are invalid (the report says why),
130 interrupted; what was measured until then is reported.";

/// Runs `conformance bench run`.
pub(super) async fn run(mut args: BenchRunArgs) -> anyhow::Result<Exit> {
    let (targets, spawn) = (args.target.as_slice(), args.spawn.as_deref());
    let (file, start) = match args.described.resolve(targets, spawn, &mut args.load.call) {
        Ok(described) => described,
        Err(exit) => return Ok(exit),
    };
    let load = match args.load.clone().resolve() {
        Ok(load) => load,
        Err(exit) => return Ok(exit),
    };
    let (tls, prompts) = match load.read(&start.addresses) {
        Ok(read) => read,
        Err(exit) => return Ok(exit),
    };
    if let Err(exit) = load.check_arrivals() {
        return Ok(exit);
    }
    if let Err(error) = fs::create_dir_all(&args.output) {
        return Ok(refuse(Exit::Usage, &format!("cannot write into {}: {error}", args.output.display())));
    }
    let log = args.output.join("target.log");
    let target = match reach(start, &log).await {
        Ok(target) => target,
        Err(exit) => return Ok(exit),
    };
    let exit = match load.job(&target, load.call.model.as_deref(), &tls, prompts).await {
        Ok(job) => measure(&args, &load, &job, file.map(|file| file.name)).await,
        Err(exit) => Ok(exit),
    };
    stop(target.stop()).await;
    exit
}

async fn measure(
    args: &BenchRunArgs,
    load: &LoadSettings,
    job: &Job,
    name: Option<String>,
) -> anyhow::Result<Exit> {
    let (warming, measuring) = (Tally::default(), Tally::default());
    let tally = measuring.clone();
    let both = [warming.clone(), measuring.clone()];
    // What was measured until a Ctrl-C is reported.
    let watch = tokio::spawn(async move {
        interrupted().await;
        both.iter().for_each(Tally::stop);
    });
    let container = args.described.container.as_ref().map(|run| format!("container:{run}"));
    let started = args.spawn.clone().or(container).or(name);
    let target = started.unwrap_or_else(|| job.endpoint.address.to_string());
    let setup = job.setup(&target, &load.prompts.to_string());
    let loaded = warm_and_load((args, load), job, &warming, &measuring).await;
    let was_interrupted = watch.is_finished();
    watch.abort();
    let (requests, seen) = match loaded {
        Ok(requests) => requests,
        Err(error @ CannotStart::Load(_)) => return Ok(refuse(Exit::Usage, &error)),
        Err(error) => return Ok(refuse(Exit::Unreachable, &error)),
    };
    let milliseconds = |limit: Duration| limit.as_secs_f64() * 1e3;
    let objectives = Objectives { ttft_ms: milliseconds(args.ttft), tpot_ms: milliseconds(args.tpot) };
    let report = Report::new(setup.clone(), &requests, objectives).beside(seen.server, seen.health);
    let report = report.ended_early(tally.ended_early());
    let invalid = !report.invalid.is_empty();
    let shown = if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.table() };
    let saved = write(&args.output, &report, &Recording { setup, requests });
    text::print(&shown)?;
    if let Err(error) = saved {
        return Ok(refuse(Exit::Harness, &format!("cannot write into {}: {error}", args.output.display())));
    }
    let files = ["report.html", "report.json", "requests.csv", "requests.jsonl.gz"];
    written(&args.output, &files);
    Ok(match (was_interrupted, invalid) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Harness,
        (false, false) => Exit::Success,
    })
}

/// Warms up until the first token comes no sooner than before, and measures.
async fn warm_and_load(
    (args, load): (&BenchRunArgs, &LoadSettings),
    job: &Job,
    warming: &Tally,
    measuring: &Tally,
) -> Result<(Vec<RequestRecord>, Seen), CannotStart> {
    let bar = Progress::timing(job.length);
    if bar.is_hidden() {
        let length = match job.requests {
            Some(requests) => format!("{requests} requests"),
            None => humantime::format_duration(job.length).to_string(),
        };
        eprintln!("measuring {} for {length}…", job.endpoint.address);
    }
    bar.say("warming up".to_owned());
    warm_up(job, warming, load.warm_up).await?;
    bar.restart_clock();
    let began = Instant::now();
    let showing = tokio::spawn({
        let (bar, tally) = (bar.clone(), measuring.clone());
        async move {
            loop {
                let now = tally.progress();
                let of = |nanos: Option<f64>| {
                    nanos.map_or("-".to_owned(), |nanos| format!("{:.1} ms", nanos / 1e6))
                };
                let seconds = began.elapsed().as_secs_f64().max(1e-3);
                bar.say(format!(
                    "{:.1} requests/s, ttft {}, tpot {}, {} running, {} failed",
                    now.complete as f64 / seconds,
                    of(now.ttft),
                    of(now.tpot),
                    now.running,
                    now.failed
                ));
                bar.passed(began.elapsed());
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });
    let (requests, seen) = args.beside.around(&job.endpoint, latency::load::run(job, measuring)).await;
    showing.abort();
    bar.clear();
    Ok((requests?, seen))
}

fn write(directory: &Path, report: &Report, recording: &Recording) -> io::Result<()> {
    fs::write(directory.join("report.json"), serde_json::to_string_pretty(report)? + "\n")?;
    fs::write(directory.join("report.html"), html::run(report, &recording.requests)?)?;
    fs::write(directory.join("requests.csv"), csv(&recording.requests))?;
    recording.write(&directory.join("requests.jsonl.gz"))
}
