//! `soak`: a thousand concurrent streams against a sidecar, first checked token for token, then kept up for minutes.
//!
//! The storm sends all streams at once and checks every answer against what its prompt gives alone. The siege makes the server
//! keep all that clients can make it keep. The mixed phase
//! keeps as many in flight and mixes in what clients do to servers: cancelling, deadlines, slow reading, dropped
//! connections; readers that stop, calls that ask for nothing, refusals over a slow line, models unloaded in use. Meanwhile the server's memory is sampled; it must not grow. One process, one thread: the client must
//! leave the cores to the server.

mod follower;
mod line;
mod mixed;
mod options;
mod outage;
mod reference;
mod report;
mod samples;
mod siege;
mod storm;
mod tally;
mod trouble;
mod verdict;

use std::process::ExitCode;

use anyhow::Context as _;
use benches::{
    client::Connection,
    sidecar::{self, STOP_LIMIT, Start, built_beside},
};
use clap::Parser as _;
use testkit::Server;
use tokio::{runtime, signal, sync::watch};

use options::Options;
use reference::References;
use verdict::Verdict;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("cannot start").and_then(|runtime| runtime.block_on(soak(&options)));
    match done {
        Ok(verdicts) => ExitCode::from(u8::from(!report::verdicts(&verdicts))),
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::from(COULD_NOT_MEASURE)
        }
    }
}

async fn soak(options: &Options) -> anyhow::Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    let mut interrupt = Interrupt::listen();
    if options.target.is_empty() {
        // A queue that is too small for the storm: every stream must be answered or refused, and counted so.
        let small = serve(options, SMALL_QUEUE)?;
        let storm = storm(options, &small.addresses, Some(SMALL_QUEUE));
        verdicts.extend(interrupt.or(storm).await?.1);
        verdicts.push(stopped(small).await?);
    }
    let served = if options.target.is_empty() { Some(serve(options, options.queue)?) } else { None };
    let addresses = served.as_ref().map_or(&options.target, |sidecar| &sidecar.addresses);
    let pid = served.as_ref().map(Server::pid).or(options.pid);
    let queue = served.is_some().then_some(options.queue);
    let (references, seen) = interrupt.or(storm(options, addresses, queue)).await?;
    verdicts.extend(seen);
    if let Some(served) = &served {
        verdicts.extend(interrupt.or(siege::run(served)).await?);
    }
    let mut curve = Vec::new();
    if options.minutes > 0.0 {
        curve = mixed::run(options, addresses, &references, pid, &mut interrupt, &mut verdicts).await?;
    }
    if let Some(served) = served {
        verdicts.push(stopped(served).await?);
    }
    report::curve(&curve);
    if let Some(directory) = &options.output {
        report::write(directory, options, &curve, &verdicts).context("cannot write the reports")?;
    }
    Ok(verdicts)
}

/// The storm, and before it what its answers should be.
async fn storm(
    options: &Options,
    addresses: &[String],
    queue: Option<usize>,
) -> anyhow::Result<(References, Vec<Verdict>)> {
    let references = References::record(&connect(addresses, 1).await?[0]).await?;
    let seen = storm::run(options, addresses, &references, queue).await?;
    Ok((references, seen))
}

fn serve(options: &Options, queue: usize) -> anyhow::Result<Server> {
    let program = options.sidecar.clone().map_or_else(built_beside, Ok)?;
    let models = fixtures::models();
    let Options { slots, threads, .. } = *options;
    let start = Start {
        program: &program,
        models: &models,
        model: "tiny",
        slots,
        queue,
        threads,
        outlives_interrupt: true,
    };
    sidecar::start(&start).with_context(|| format!("cannot start {}", program.display()))
}

/// Connections, in turns to each address.
async fn connect(addresses: &[String], count: usize) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(count);
    for address in addresses.iter().cycle().take(count) {
        let connection = Connection::open(address, None).await;
        connections.push(connection.with_context(|| format!("cannot connect to {address}"))?);
    }
    anyhow::ensure!(!connections.is_empty(), "there is no address to connect to");
    Ok(connections)
}

async fn stopped(mut served: Server) -> anyhow::Result<Verdict> {
    served.terminate()?;
    let (drained, seen) = match served.exit(STOP_LIMIT).await {
        Ok(status) => (status.success(), format!("its exit was {status}")),
        Err(error) => (false, error.to_string()),
    };
    Ok(Verdict::new("the server drains on SIGTERM", drained, seen))
}

/// Ctrl-C, for the phase that runs at the time: a storm is given up, the mixed phase ends early and reports.
struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    fn listen() -> Self {
        let (say, heard) = watch::channel(false);
        tokio::spawn(async move {
            if signal::ctrl_c().await.is_ok() {
                say.send_replace(true);
            }
            // Kept open: a channel that closes would look like an interrupt.
            std::future::pending::<()>().await;
        });
        Self(heard)
    }

    /// Returns when there was one.
    async fn came(&mut self) {
        let _ = self.0.wait_for(|came| *came).await;
    }

    /// What can be left in the middle.
    async fn or<T>(&mut self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::select! {
            done = work => done,
            () = self.came() => anyhow::bail!("interrupted"),
        }
    }
}

/// For the first storm: with the slots, a fraction of the streams.
const SMALL_QUEUE: usize = 64;
/// As the conformance suite's: nothing was judged.
const COULD_NOT_MEASURE: u8 = 3;
