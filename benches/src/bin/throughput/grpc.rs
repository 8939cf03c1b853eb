//! The sidecar as its clients see it: N streams over gRPC on a Unix socket, each chunk's arrival noted.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use ai_inference_proto::Dialect;
use anyhow::{Context as _, bail, ensure};
use benches::{
    client::Connection,
    sidecar::{self, Start, built_beside},
};
use testkit::{Server, request};
use tokio::{runtime::Runtime, task::JoinSet, time::timeout};

use super::{
    engine::{Measured, Task},
    options::Options,
    window::{self, Arrivals},
};

/// A sidecar with the package, and one connection to it.
pub(crate) struct Served {
    sidecar: Server,
    connection: Connection,
    used: Instant,
}

impl Served {
    pub(crate) fn start(options: &Options, package: &Path, runtime: &Runtime) -> anyhow::Result<Self> {
        let program = options.sidecar.clone().map_or_else(built_beside, Ok)?;
        let (models, model) = (package.parent(), package.file_name().and_then(|name| name.to_str()));
        let (models, model) = models.zip(model).context("a package must have a name")?;
        let (slots, threads) = (options.slots()?, options.threads);
        let sidecar = sidecar::start(&Start {
            program: &program,
            models,
            model,
            slots,
            queue: slots,
            threads,
            outlives_interrupt: false,
        })
        .with_context(|| format!("cannot start {}", program.display()))?;
        let connection = runtime.block_on(Connection::open(&sidecar.addresses[0], None))?;
        Ok(Self { sidecar, connection, used: Instant::now() })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.sidecar.addresses[0]
    }

    /// The id of the server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.sidecar.pid()
    }

    /// One measurement. The first answers begin while the last prompts are read, so the window in which all sequences
    /// run is some steps shorter than the other engines', over contexts of the same length.
    pub(crate) fn measure(&mut self, task: &Task, runtime: &Runtime) -> anyhow::Result<Measured> {
        let streams = task.texts.len();
        let tokens = task.tokens;
        let measured = runtime.block_on(async {
            self.refresh().await?;
            let before = self.generated().await?;
            let began = Instant::now();
            let mut reading = JoinSet::new();
            for (at, text) in task.texts.iter().enumerate() {
                let request = request(text, &format!("throughput-{at}"), tokens);
                let connection = self.connection.clone();
                reading.spawn(async move {
                    let mut responses = connection.generate(Dialect::Contract, request, None).await?;
                    let mut arrivals = Arrivals { chunks: Vec::with_capacity(tokens), tokens };
                    while let Some(response) = responses.next().await? {
                        if !response.chunk.is_empty() {
                            arrivals.chunks.push(Instant::now());
                        }
                    }
                    Ok::<_, tonic::Status>(arrivals)
                });
            }
            let mut sequences = Vec::with_capacity(streams);
            while let Some(read) = timeout(PATIENCE, reading.join_next()).await.context("a stream hangs")? {
                sequences.push(read?.map_err(|status| anyhow::anyhow!("a stream failed: {status}"))?);
            }
            let generated = self.generated().await? - before;
            let asked = (streams * tokens) as u64;
            ensure!(generated == asked, "asked for {asked} tokens, and the server generated {generated}");
            window::measure(began, &sequences)
        })?;
        let least = (streams * task.tokens) as f64 * LEAST_WINDOW;
        if measured.tokens < least {
            bail!("only {:.0} tokens came while all streams ran: ask for more --tokens", measured.tokens);
        }
        let step = measured.seconds * streams as f64 / measured.tokens;
        if step < SHORTEST_STEP {
            bail!(
                "a step takes {:.2} ms, too short to be timed by arrivals: use a larger model",
                step * 1000.0
            );
        }
        Ok(measured)
    }

    /// While another engine is measured this client does not answer the server's pings, and the server hangs up. So a
    /// connection that has rested is replaced, and used once, before anything is timed.
    async fn refresh(&mut self) -> anyhow::Result<()> {
        if self.used.elapsed() > MOST_REST {
            self.connection = Connection::open(&self.sidecar.addresses[0], None).await?;
            self.generated().await?;
        }
        self.used = Instant::now();
        Ok(())
    }

    async fn generated(&self) -> anyhow::Result<u64> {
        let health = self.connection.health().await?;
        let tokens = health.get("tokens_generated").context("Health has no `tokens_generated`")?;
        Ok(tokens.parse()?)
    }
}

/// A stream that takes longer hangs: the slowest machine worth measuring makes a token a second.
const PATIENCE: Duration = Duration::from_mins(5);
/// Well below the time after which a server asks whether a connection still lives.
const MOST_REST: Duration = Duration::from_secs(2);
/// In seconds. A client that is late by a part of a millisecond at the window's start finds chunks waiting, and counts
/// them as fresh: among steps of a millisecond or more that is little.
const SHORTEST_STEP: f64 = 0.001;
/// The part of the tokens that must lie in the window, or it says little.
const LEAST_WINDOW: f64 = 0.5;
