//! `conformance bench run`: reach the target, warm it up, load it, say what came of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::HeaderValue;
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    address::Address,
    bench::{
        Endpoint,
        arrivals::Load,
        load::{self, CannotStart, Job, Tally},
        metrics::{Metric, quantile},
        prompts::Prompts,
        record::{Recording, RequestRecord, Setup},
        report::{Objectives, Report, csv},
    },
    cli::{
        patience::{interrupted, told},
        run::{DialectChoice, dialect, refuse},
        tls::TlsArgs,
    },
    exit::Exit,
    reports::text,
    runner::{Surveyed, survey},
    targets::Target,
};

/// Arguments of `conformance bench run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchRunArgs {
    /// The endpoint: unix:///abs/path, host:port or https://host:port. Without it, the reference sidecar beside this program
    /// is started
    #[arg(long, value_name = "ADDR")]
    pub target: Option<Address>,
    /// Start this command first and stop it afterwards; it is ready when --target takes connections or, without
    /// --target, when it has printed `listening on ADDR`
    #[arg(long, value_name = "CMD")]
    pub spawn: Option<String>,
    /// When requests are sent: closed:CLIENTS, constant:RATE, poisson:RATE, ramp:FROM..TO or trace:FILE, rates in requests
    /// a second. Only the last four show what a stall does to those who come meanwhile
    #[arg(long, value_name = "LOAD", default_value = "closed:1")]
    pub load: Load,
    /// How long
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = humantime::parse_duration)]
    pub length: Duration,
    /// What is asked: short, long, chinese, mixed, or file:PATH with a prompt a line
    #[arg(long, value_name = "SET", default_value = "short")]
    pub prompts: Prompts,
    /// Tokens to ask for
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub tokens: u32,
    /// Connections to spread requests over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = connections)]
    pub connections: usize,
    /// Requests under way at once; those that are due meanwhile wait [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub most_running: Option<u32>,
    /// Longest wait for a request
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Longest warm-up; it ends when the time to the first token does not change any more
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = humantime::parse_duration)]
    pub warm_up: Duration,
    /// Prompts and arrivals follow from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The wire dialect: auto asks for `contract` first, then `cy.llm`
    #[arg(long, value_name = "DIALECT", default_value = "auto", value_parser = dialect)]
    pub dialect: DialectChoice,
    /// The model to use [default: the first that list_models names]
    #[arg(long, value_name = "ID")]
    pub model: Option<String>,
    /// Bearer token; better given by the environment than on the command line
    #[arg(long, value_name = "TOKEN", env = "CONFORMANCE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Goodput counts requests whose first token came within this time
    #[arg(long, value_name = "DUR", default_value = "450ms", value_parser = humantime::parse_duration)]
    pub ttft: Duration,
    /// And whose later tokens came at least so often, on the average
    #[arg(long, value_name = "DUR", default_value = "40ms", value_parser = humantime::parse_duration)]
    pub tpot: Duration,
    /// Where report.json, requests.csv and requests.jsonl.gz go
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub output: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// TLS
    #[command(flatten)]
    pub tls: TlsArgs,
}

const EXAMPLES: &str = "\
Examples:
  conformance bench run                                               the reference sidecar, one client
  conformance bench run --target localhost:50051 --load closed:8      eight clients in a loop
  conformance bench run --target localhost:50051 --load poisson:20 --length 2m
  conformance bench run --target unix:///tmp/a.sock --prompts mixed --load ramp:1..50

Times are taken from the planned send time, so that a stall is seen by every request that should have been sent in it.

Exit codes: 0 measured, 2 wrong usage, 3 the target could not be reached, 4 the figures are invalid (the report says why),
130 interrupted; what was measured until then is reported.";

/// Measures.
pub(super) async fn run(args: BenchRunArgs) -> anyhow::Result<Exit> {
    let tls = match args.tls.read() {
        Ok(tls) => tls,
        Err(bad) => return Ok(refuse(Exit::Usage, &bad)),
    };
    if let Some(target) = &args.target
        && let Some(option) = args.tls.idle(std::slice::from_ref(target))
    {
        let why = format!("{option} is for TLS, and the target has none; write --target https://host:port");
        return Ok(refuse(Exit::Usage, &why));
    }
    let prompts = match args.prompts.draw(PROMPTS, args.seed) {
        Ok(prompts) => prompts,
        Err(error) => return Ok(refuse(Exit::Usage, &format!("--prompts {}: {error}", args.prompts))),
    };
    if let Err(error) = fs::create_dir_all(&args.output) {
        return Ok(refuse(Exit::Usage, &format!("cannot write into {}: {error}", args.output.display())));
    }
    let (addresses, log) = (args.target.as_slice(), args.output.join("target.log"));
    let reached = tokio::select! {
        reached = told("waiting for the target to start", Target::reach(args.spawn.as_deref(), addresses, &log)) => reached,
        () = interrupted() => return Ok(Exit::Interrupted),
    };
    let target = match reached {
        Ok(target) => target,
        Err(error) => return Ok(refuse(Exit::Unreachable, &error)),
    };
    let exit = measure(&args, &target, &tls, prompts).await;
    target.stop().await;
    exit
}

async fn measure(
    args: &BenchRunArgs,
    target: &Target,
    tls: &crate::probe::Tls,
    prompts: Vec<String>,
) -> anyhow::Result<Exit> {
    let addresses = &target.addresses()[..1];
    let token = args.token.as_deref().or(target.token());
    let surveying = survey(
        addresses,
        tls,
        args.dialect.0,
        ai_inference_proto::Dialect::Contract,
        args.model.as_deref(),
        token,
        args.timeout,
    );
    let surveyed = tokio::select! {
        surveyed = told("looking at the target, which takes its time", surveying) => surveyed,
        () = interrupted() => return Ok(Exit::Interrupted),
    };
    let Surveyed { endpoint, .. } = match surveyed {
        Ok(surveyed) => surveyed,
        Err(unreachable) => return Ok(refuse(Exit::Unreachable, &unreachable)),
    };
    let token = token.map(|token| HeaderValue::try_from(format!("Bearer {token}"))).transpose();
    let token = match token {
        Ok(token) => token.map(|mut token| {
            token.set_sensitive(true);
            token
        }),
        Err(_) => return Ok(refuse(Exit::Usage, &"the token holds characters that no header may have")),
    };
    let job = Job {
        endpoint: Arc::new(Endpoint {
            address: addresses[0].clone(),
            tls: tls.clone(),
            dialect: endpoint.dialect,
            token,
        }),
        model: endpoint.model.clone(),
        load: args.load.clone(),
        length: args.length,
        prompts,
        tokens: args.tokens,
        connections: args.connections,
        most_running: args.most_running.map_or(usize::MAX, |most| most as usize),
        limit: args.timeout,
        seed: args.seed,
    };
    let (warming, measuring) = (Tally::default(), Tally::default());
    let both = [warming.clone(), measuring.clone()];
    // What was measured until a Ctrl-C is reported.
    let watch = tokio::spawn(async move {
        interrupted().await;
        both.iter().for_each(Tally::stop);
    });
    let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let loaded = warm_and_load(&job, &warming, &measuring, args.warm_up).await;
    let was_interrupted = watch.is_finished();
    watch.abort();
    let requests = match loaded {
        Ok(requests) => requests,
        Err(error @ CannotStart::Load(_)) => return Ok(refuse(Exit::Usage, &error)),
        Err(error) => return Ok(refuse(Exit::Unreachable, &error)),
    };
    let setup = Setup {
        target: args.spawn.clone().unwrap_or_else(|| job.endpoint.address.to_string()),
        dialect: job.endpoint.dialect.name().to_owned(),
        model: job.model.clone(),
        load: job.load.to_string(),
        prompts: args.prompts.to_string(),
        tokens: job.tokens,
        seed: job.seed,
        connections: job.connections,
        started,
        host: host(),
    };
    let milliseconds = |limit: Duration| limit.as_secs_f64() * 1e3;
    let objectives = Objectives { ttft_ms: milliseconds(args.ttft), tpot_ms: milliseconds(args.tpot) };
    let report = Report::new(setup.clone(), &requests, objectives);
    let invalid = !report.invalid.is_empty();
    let shown = if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.table() };
    let written = write(&args.output, &report, &Recording { setup, requests });
    text::print(&shown)?;
    if let Err(error) = written {
        return Ok(refuse(Exit::Harness, &format!("cannot write into {}: {error}", args.output.display())));
    }
    Ok(match (was_interrupted, invalid) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Harness,
        (false, false) => Exit::Success,
    })
}

/// Warms up until the first token comes no sooner than before, and measures.
async fn warm_and_load(
    job: &Job,
    warming: &Tally,
    measuring: &Tally,
    most: Duration,
) -> Result<Vec<RequestRecord>, CannotStart> {
    let bar = ProgressBar::new(job.length.as_millis() as u64);
    let style = ProgressStyle::with_template("{msg} {bar:30} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    if bar.is_hidden() {
        eprintln!("measuring {} for {}…", job.endpoint.address, humantime::format_duration(job.length));
    }
    bar.set_message("warming up");
    let began = Instant::now();
    let (mut before, mut round) = (None, Job { length: WARM_UP_ROUND, ..job.clone() });
    if !matches!(round.load, Load::Closed { .. }) {
        round.load = Load::Closed { clients: 1 };
    }
    while began.elapsed() < most && !warming.is_stopped() {
        let mut ttft = Metric::Ttft.values(&load::run(&round, warming).await?);
        ttft.sort_unstable();
        let now = quantile(&ttft, 0.5);
        if before.zip(now).is_some_and(|(before, now): (f64, f64)| (now / before - 1.0).abs() < FLAT) {
            break;
        }
        (before, round.seed) = (now, round.seed + 1);
    }
    bar.reset_elapsed();
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
                bar.set_message(format!(
                    "{:.1} requests/s, ttft {}, tpot {}, {} running, {} failed",
                    now.complete as f64 / seconds,
                    of(now.ttft),
                    of(now.tpot),
                    now.running,
                    now.failed
                ));
                bar.set_position(began.elapsed().as_millis() as u64);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });
    let requests = load::run(job, measuring).await;
    showing.abort();
    bar.finish_and_clear();
    requests
}

fn write(directory: &Path, report: &Report, recording: &Recording) -> io::Result<()> {
    fs::write(directory.join("report.json"), serde_json::to_string_pretty(report)? + "\n")?;
    fs::write(directory.join("requests.csv"), csv(&recording.requests))?;
    recording.write(&directory.join("requests.jsonl.gz"))
}

/// What the figures depend on besides the target: processor and cores.
fn host() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = information.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{}, {cores} cores", model.map_or("unknown processor", |(_, name)| name))
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=10_000) => Ok(number),
        _ => Err("expected a number from 1 to 10000".to_owned()),
    }
}

/// More than are under way at once, so that no two that run are equal.
const PROMPTS: usize = 1000;
const WARM_UP_ROUND: Duration = Duration::from_millis(500);
/// Two rounds whose medians differ by less are of a server that is warm.
const FLAT: f64 = 0.05;
