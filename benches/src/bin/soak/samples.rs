//! What the server says and shows of itself, every few seconds.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use benches::client::Connection;
use serde::Serialize;
use testkit::resident_kib;
use tokio::time::{sleep, timeout};

use super::tally::Counts;

/// The server's figures at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Sample {
    /// Since the phase began.
    pub(crate) seconds: f64,
    pub(crate) resident_kib: Option<u64>,
    #[serde(flatten)]
    pub(crate) load: Load,
    /// Since the last sample, by the server's count.
    pub(crate) tokens_per_second: f64,
    /// Health's answer took so long.
    pub(crate) health_ms: f64,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// The load, by the gauges of Health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Load {
    pub(crate) inflight: u64,
    pub(crate) waiting: u64,
    pub(crate) busy: u64,
    pub(crate) generated: u64,
}

impl Load {
    fn of(metrics: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let number = |name: &str| -> anyhow::Result<u64> {
            let value = metrics.get(name).with_context(|| format!("Health has no {name}"))?;
            value.parse().with_context(|| format!("Health's {name} is {value:?}"))
        };
        Ok(Self {
            inflight: number("requests_inflight")?,
            waiting: number("queue_waiting")?,
            busy: number("slots_busy")?,
            generated: number("tokens_generated")?,
        })
    }

    /// Nothing runs and nothing waits.
    const fn is_idle(&self) -> bool {
        self.inflight == 0 && self.waiting == 0 && self.busy == 0
    }
}

/// Takes samples over a connection of its own.
pub(crate) struct Sampler {
    connection: Connection,
    pid: Option<u32>,
    began: Instant,
    last: Option<(Instant, Load)>,
}

impl Sampler {
    pub(crate) fn new(connection: Connection, pid: Option<u32>) -> Self {
        Self { connection, pid, began: Instant::now(), last: None }
    }

    pub(crate) async fn sample(&mut self, counts: Counts) -> anyhow::Result<Sample> {
        let asked = Instant::now();
        let load = self.load().await?;
        let now = Instant::now();
        let tokens_per_second = self.last.replace((now, load)).map_or(0.0, |(then, last)| {
            let seconds = now.duration_since(then).as_secs_f64();
            load.generated.saturating_sub(last.generated) as f64 / seconds.max(f64::MIN_POSITIVE)
        });
        Ok(Sample {
            seconds: now.duration_since(self.began).as_secs_f64(),
            resident_kib: self.pid.and_then(resident_kib),
            load,
            tokens_per_second,
            health_ms: now.duration_since(asked).as_secs_f64() * 1000.0,
            counts,
        })
    }

    /// Waits until the server is idle; the time it took, or what it still does when the time is over.
    pub(crate) async fn idle_within(&self, limit: Duration) -> anyhow::Result<Result<Duration, Load>> {
        let began = Instant::now();
        loop {
            let load = self.load().await?;
            if load.is_idle() {
                return Ok(Ok(began.elapsed()));
            }
            if began.elapsed() > limit {
                return Ok(Err(load));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn load(&self) -> anyhow::Result<Load> {
        let answer = timeout(PATIENCE, self.connection.health()).await;
        Load::of(&answer.context("Health does not answer")?.context("Health failed")?)
    }
}

const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A server that is this late with Health hangs.
const PATIENCE: Duration = Duration::from_secs(30);
