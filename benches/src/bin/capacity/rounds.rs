//! Interleaved rounds: in each both clients, in an order drawn for the round, seconds apart. Then the client alone, at half of
//! what it can take.

use std::{process::Command, thread};

use anyhow::{Context as _, ensure};
use benches::statistics::median;
use latency::metrics::Metric;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde::Serialize;
use testkit::Server;

use super::{
    clients::{self, Cell, Client},
    cores,
    options::Options,
};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) cells: Vec<Cell>,
    /// Half of what a core of the client took at the median, in chunks a second.
    pub(crate) half: f64,
    pub(crate) lags: Vec<Lag>,
    /// Server and client had a core each.
    pub(crate) pinned: bool,
    pub(crate) cores: usize,
    /// They ran before everything else on the machine.
    pub(crate) first: bool,
}

/// One run at half of the capacity.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Lag {
    /// 99th percentile of how late the client was, in milliseconds.
    pub(crate) p99_ms: f64,
    pub(crate) chunks_per_second: f64,
}

/// Starts the server and runs the rounds.
pub(crate) fn run(options: &Options) -> anyhow::Result<Results> {
    ensure!(options.rounds > 0 && options.seconds > 0 && options.chunks > 0, "there is nothing to measure");
    let first = cores::go_first();
    let mut serve = Command::new(std::env::current_exe()?);
    let server = Server::start(serve.arg("--serve"), 1).context("cannot start the server")?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let pinned = cores::take_first();
    let work = tempfile::Builder::new().prefix("capacity-").tempdir()?;
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut cells = Vec::new();
    // Round 0 is the warm-up.
    for round in 0..=options.rounds {
        let mut order = [Client::Conformance, Client::Ghz];
        order.shuffle(&mut rng);
        for client in order {
            let cell = clients::load(round, client, options, &server.addresses[0], work.path())?;
            eprintln!(
                "round {round:>2}  {client:<11?} {:>9.0} chunks/s, {:>9.0} for each core{}",
                cell.chunks / cell.seconds,
                cell.per_core(),
                if round == 0 { " (warm-up)" } else { "" }
            );
            cells.push(cell);
        }
    }
    cells.retain(|cell| cell.round > 0);
    let ours = cells.iter().filter(|cell| cell.client == Client::Conformance).map(Cell::per_core);
    let half = median(&ours.collect::<Vec<_>>()).context("nothing was measured")? / 2.0;
    let rate = half / f64::from(options.chunks);
    let mut lags = Vec::new();
    for round in 1..=options.rounds {
        let report = clients::paced(options, &server.addresses[0], rate, work.path())?;
        let lag = report.metric(Metric::Lag).and_then(|lag| lag.p99);
        let p99_ms =
            lag.context("too few requests for a 99th percentile: --seconds more or --chunks less")?;
        let chunks_per_second = report.chunks_per_second;
        eprintln!("at half  {round:>2}  client lag p99 {p99_ms:.3} ms at {chunks_per_second:.0} chunks/s");
        lags.push(Lag { p99_ms, chunks_per_second });
    }
    Ok(Results { cells, half, lags, pinned, cores, first })
}
