//! The figures and what they should be: on the terminal, as Markdown, as JSON. Measures nothing.

use std::{fmt::Write as _, fs, io, path::Path};

use benches::{goal::Goal, statistics::Summary};
use serde_json::json;

use super::{
    clients::{Cell, Client},
    options::Options,
    rounds::Results,
};

/// Every goal, judged by the results.
pub(crate) fn goals(results: &Results) -> Vec<Goal> {
    let ratio = Summary::of(&ratios(&results.cells)).map(|ratio| {
        let what = "chunks/s for each core, conformance / ghz".to_owned();
        Goal::at_least(what, &ratio, LEAST_RATIO, |ratio| format!("{ratio:.2}"))
    });
    let lags: Vec<_> = results.lags.iter().map(|lag| lag.p99_ms).collect();
    let lag = Summary::of(&lags).map(|lag| {
        let what = format!("client lag, 99th percentile, at {:.0} chunks/s", results.half);
        Goal::at_most(what, &lag, MOST_LAG_MS, |ms| format!("{ms:.3} ms"))
    });
    let came: Vec<_> = results.lags.iter().map(|lag| lag.chunks_per_second).collect();
    let came = Summary::of(&came).map(|came| {
        let what = "the server kept up with that".to_owned();
        Goal::at_least(what, &came, results.half * LEAST_SERVED, |rate| format!("{rate:.0} chunks/s"))
    });
    ratio.into_iter().chain(lag).chain(came).collect()
}

/// Round by round, so that a machine that changes its speed does not count for or against either.
fn ratios(cells: &[Cell]) -> Vec<f64> {
    let of = |client| cells.iter().filter(move |cell| cell.client == client);
    let pairs = of(Client::Conformance).filter_map(|ours| {
        let theirs = of(Client::Ghz).find(|theirs| theirs.round == ours.round)?;
        Some(ours.per_core() / theirs.per_core())
    });
    pairs.collect()
}

/// Everything a person wants to see.
pub(crate) fn markdown(options: &Options, results: &Results, goals: &[Goal]) -> String {
    let mut out = String::new();
    let Options { rounds, seconds, streams, chunks, connections, .. } = options;
    let _ = writeln!(
        out,
        "\n{rounds} interleaved rounds of {seconds} s; {streams} streams of {chunks} chunks at once over {connections} \
         connection(s); {} cores{}{}\n",
        results.cores,
        if results.pinned { ", the server on one, the client on another" } else { "" },
        if results.first { ", before everything else that runs there" } else { "" }
    );
    let _ = writeln!(out, "| {}", Summary::HEAD);
    let mut row = |what: &str, values: Vec<f64>, digits: usize| {
        let Some(summary) = Summary::of(&values) else { return };
        let _ = writeln!(out, "| {what} {}", summary.columns(digits));
    };
    for client in [Client::Conformance, Client::Ghz] {
        let of = |value: fn(&Cell) -> f64| {
            results.cells.iter().filter(|cell| cell.client == client).map(value).collect()
        };
        row(&format!("{client:?}, chunks a second of processor time"), of(Cell::per_core), 0);
        row(
            &format!("{client:?}, share of its core that it used"),
            of(|cell| cell.processor_seconds / cell.seconds),
            2,
        );
    }
    row("ratio, round by round", ratios(&results.cells), 2);
    row("client lag p99 at half of that, ms", results.lags.iter().map(|lag| lag.p99_ms).collect(), 3);
    out.push('\n');
    for goal in goals {
        let _ = writeln!(out, "- {goal}");
    }
    out
}

/// `capacity.md` and `capacity.json`.
pub(crate) fn write(
    directory: &Path,
    options: &Options,
    results: &Results,
    goals: &[Goal],
) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join("capacity.md"), markdown(options, results, goals))?;
    let Options { rounds, seconds, streams, chunks, connections, seed, .. } = options;
    let report = json!({
        "schema": 1,
        "rounds": rounds,
        "seconds": seconds,
        "streams": streams,
        "chunks": chunks,
        "connections": connections,
        "seed": seed,
        "results": results,
        "goals": goals,
    });
    fs::write(directory.join("capacity.json"), serde_json::to_vec_pretty(&report)?)
}

/// Beside the gRPC load generator that people use.
const LEAST_RATIO: f64 = 2.0;
/// From which on a run is INVALID.
const MOST_LAG_MS: f64 = 1.0;
/// Of what was asked for; the first and the last stream of a run stand alone.
const LEAST_SERVED: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::Lag;

    fn results(ours: f64, p99_ms: f64, chunks_per_second: f64) -> Results {
        let cell = |client, chunks| Cell { round: 1, client, chunks, processor_seconds: 2.0, seconds: 5.0 };
        let cells = vec![cell(Client::Conformance, ours), cell(Client::Ghz, 1000.0)];
        let lags = vec![Lag { p99_ms, chunks_per_second }];
        Results { cells, half: 100.0, lags, pinned: true, cores: 2, first: true }
    }

    #[test]
    fn each_goal_is_met_at_its_limit_and_missed_beyond_it() {
        let met = |results| goals(&results).iter().map(|goal| goal.met).collect::<Vec<_>>();
        assert_eq!(met(results(2000.0, 1.0, 90.0)), [true, true, true]);
        assert_eq!(met(results(1999.0, 1.1, 89.0)), [false, false, false]);
    }

    #[test]
    fn only_what_was_measured_in_the_same_round_is_compared() {
        let mut one = results(2000.0, 0.5, 100.0);
        one.cells[1].round = 2;
        assert!(ratios(&one.cells).is_empty());
    }
}
