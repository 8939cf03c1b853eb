//! The figures: on the terminal, as Markdown, as JSON. Consumes results; measures nothing.

use std::{fmt::Write as _, fs, io, path::Path, thread};

use benches::{
    goal::Goal,
    statistics::{Summary, median},
};
use serde_json::json;

use super::{
    engine::Kind,
    goals::{Ratio, ratios, widths},
    options::Options,
    rounds::{Cell, Results},
};

/// Everything a person wants to see.
pub(crate) fn print(options: &Options, results: &Results, goals: &[Goal]) {
    print!("{}", markdown(options, results, goals));
}

/// `throughput.md` and `throughput.json`.
pub(crate) fn write(
    directory: &Path,
    options: &Options,
    results: &Results,
    goals: &[Goal],
) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join("throughput.md"), markdown(options, results, goals))?;
    let report = json!({
        "schema": 1,
        "cores": cores(),
        "threads": options.threads,
        "prompt_tokens": options.prompt,
        "tokens": options.tokens,
        "rounds": options.rounds,
        "seed": options.seed,
        "results": results,
        "ratios": ratios(&results.cells),
        "goals": goals,
    });
    fs::write(directory.join("throughput.json"), serde_json::to_vec_pretty(&report)?)
}

fn markdown(options: &Options, results: &Results, goals: &[Goal]) -> String {
    let mut out = String::new();
    let Options { rounds, prompt, tokens, threads, .. } = options;
    let _ = writeln!(
        out,
        "\n{rounds} interleaved rounds; prompts of {prompt} tokens, {tokens} generated; {threads} threads on {} cores\n",
        cores()
    );
    rates(&mut out, &results.cells);
    ratio_table(&mut out, &ratios(&results.cells));
    for first in &results.first_token {
        let _ =
            writeln!(out, "Time to the first token, {}, {} prompt tokens, ms:\n", first.when, first.prompt);
        let _ = writeln!(out, "| what {}", Summary::HEAD);
        for (what, summary) in [
            ("over gRPC", &first.over_grpc),
            ("in the server", &first.in_server),
            ("difference, request by request", &first.overhead),
        ] {
            let _ = writeln!(out, "| {what} {}", summary.columns(2));
        }
        let _ = writeln!(out);
    }
    if let Some(share) = disturbance(&results.cells) {
        let _ = writeln!(
            out,
            "WARNING: engines that should have been idle took up to {:.0} % of a core\n",
            share * 100.0
        );
    }
    for goal in goals {
        let _ = writeln!(out, "- {goal}");
    }
    out
}

fn rates(out: &mut String, cells: &[Cell]) {
    let widths = widths(cells);
    let _ = write!(
        out,
        "Decode, tokens/s of all streams together at each number of streams, median (and ms until all have their first):\n\n| engine |"
    );
    for width in &widths {
        let _ = write!(out, " {width} |");
    }
    let _ = writeln!(out, "\n|---|{}", "---|".repeat(widths.len()));
    for kind in Kind::ALL {
        let of = |width: usize, value: fn(&Cell) -> f64| {
            let cells = cells.iter().filter(|cell| cell.engine == kind && cell.streams == width);
            median(&cells.map(value).collect::<Vec<_>>())
        };
        if !cells.iter().any(|cell| cell.engine == kind) {
            continue;
        }
        let _ = write!(out, "| {kind} |");
        for width in &widths {
            let rate = of(*width, |cell| cell.tokens_per_second).unwrap_or_default();
            let prefill = of(*width, |cell| cell.measured.prefill_seconds * 1000.0).unwrap_or_default();
            let _ = write!(out, " {rate:.1} ({prefill:.0}) |");
        }
        let _ = writeln!(out);
    }
    let _ = writeln!(out);
}

fn ratio_table(out: &mut String, ratios: &[Ratio]) {
    if ratios.is_empty() {
        return;
    }
    let _ = writeln!(out, "Ratios, round by round:\n\n| sidecar / {}", Summary::HEAD);
    for ratio in ratios {
        let _ = writeln!(out, "| {} at {} {}", ratio.to, ratio.streams, ratio.summary.columns(3));
    }
    let _ = writeln!(out);
}

/// The worst case of idle engines that were not, if it is bad enough to be told.
fn disturbance(cells: &[Cell]) -> Option<f64> {
    cells.iter().filter_map(|cell| cell.others).reduce(f64::max).filter(|share| *share > MOST_DISTURBANCE)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Processor time is counted in steps of 10 ms, of which a short measurement has few.
const MOST_DISTURBANCE: f64 = 0.05;
