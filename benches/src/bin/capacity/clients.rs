//! The two clients, each as a child process, and what a measurement of one says.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use benches::process::processor_time_of_children;
use clap::ValueEnum;
use latency::report::Report;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::options::Options;

/// A client: a program that puts load on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Client {
    /// `conformance bench run`.
    Conformance,
    /// The load generator ghz.
    Ghz,
}

/// One client in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) round: usize,
    pub(crate) client: Client,
    /// Text-bearing, of streams that ended well.
    pub(crate) chunks: f64,
    /// Processor time of the whole process, from its start to its end.
    pub(crate) processor_seconds: f64,
    pub(crate) seconds: f64,
}

impl Cell {
    /// What a core takes in a second.
    pub(crate) fn per_core(&self) -> f64 {
        self.chunks / self.processor_seconds
    }
}

/// As many streams at once as was asked for, in a closed loop.
pub(crate) fn load(
    round: usize,
    client: Client,
    options: &Options,
    address: &str,
    work: &Path,
) -> anyhow::Result<Cell> {
    let report = work.join("report.json");
    let mut command = match client {
        Client::Conformance => conformance(options, address, &format!("closed:{}", options.streams), work)?,
        Client::Ghz => ghz(options, address, &report),
    };
    let (before, began) = (processor_time_of_children(), Instant::now());
    run(&mut command)?;
    let (after, seconds) = (processor_time_of_children(), began.elapsed().as_secs_f64());
    let processor = after.zip(before).map(|(after, before)| after.saturating_sub(before).as_secs_f64());
    let processor_seconds =
        processor.context("the system does not say how much processor time a child took")?;
    let read = fs::read_to_string(&report).with_context(|| format!("{client:?} left no report"))?;
    let streams = match client {
        Client::Conformance => streams_of(&serde_json::from_str(&read)?)?,
        Client::Ghz => serde_json::from_str::<GhzReport>(&read)?.streams()?,
    };
    let chunks = streams * f64::from(options.chunks);
    Ok(Cell { round, client, chunks, processor_seconds, seconds })
}

/// Requests at a rate that no answer changes; how late the client was, and how many chunks came.
pub(crate) fn paced(options: &Options, address: &str, rate: f64, work: &Path) -> anyhow::Result<Report> {
    run(&mut conformance(options, address, &format!("constant:{rate:.1}"), work)?)?;
    Ok(serde_json::from_str(&fs::read_to_string(work.join("report.json"))?)?)
}

fn conformance(options: &Options, address: &str, load: &str, work: &Path) -> anyhow::Result<Command> {
    let program = match &options.conformance {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("conformance"),
    };
    let mut command = Command::new(program);
    command.args(["bench", "run", "--target", address, "--dialect", "contract", "--load", load]);
    command.args(["--length", &format!("{}s", options.seconds), "--warm-up", "0s"]);
    command.args(["--tokens", &options.chunks.to_string()]);
    command.args(["--connections", &options.connections.to_string()]);
    command.arg("--output").arg(work).env_remove("CONFORMANCE_TOKEN");
    Ok(command)
}

/// With a single core, as the other has: more threads would cost it more for each chunk.
fn ghz(options: &Options, address: &str, report: &Path) -> Command {
    let message = json!({
        "prompt": "What follows from this?",
        "generation": { "max_new_tokens": options.chunks, "temperature": 0.01, "top_p": 0.001 },
        "metadata": { "trace_id": "bench-1234" },
    });
    let mut command = Command::new(&options.ghz);
    command.args(["--insecure", "--cpus", "1", "--call", "AiInference.StreamPredict", "--proto"]);
    command.arg(&options.proto).args(["--data", &message.to_string()]);
    command.args(["--concurrency", &options.streams.to_string()]);
    command.args(["--connections", &options.connections.to_string()]);
    command.args(["--duration", &format!("{}s", options.seconds), "--duration-stop", "wait"]);
    command.args(["--format", "json", "--output"]).arg(report).arg(address);
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    // INVALID is a report as well: what it is invalid for is what is asked here.
    if !output.status.success() && output.status.code() != Some(INVALID) {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn streams_of(report: &Report) -> anyhow::Result<f64> {
    let complete = report.outcomes.get("complete").copied().unwrap_or_default();
    ensure!(report.outcomes.len() == 1 && complete > 0, "not all streams ended well: {:?}", report.outcomes);
    Ok(complete as f64)
}

/// What is read of ghz's own report.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GhzReport {
    status_code_distribution: std::collections::BTreeMap<String, u64>,
}

impl GhzReport {
    fn streams(&self) -> anyhow::Result<f64> {
        let ended = &self.status_code_distribution;
        let complete = ended.get("OK").copied().unwrap_or_default();
        ensure!(ended.len() == 1 && complete > 0, "not all of ghz's streams ended well: {ended:?}");
        Ok(complete as f64)
    }
}

/// The exit code of a run that must not be used, which is here the client's lag.
const INVALID: i32 = 4;
