//! HEALTH-005.

use std::time::{Duration, Instant};

use ai_inference_proto::HealthAnswer;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::{Load, Probe, Within},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Health answers within 1 s while streams are generating.
    ///
    /// # Why it matters
    /// A server that is busy is not dead. If Health waits for the engine, the first long generation gets a loaded
    /// server restarted, with all its users.
    ///
    /// # How it is checked
    /// Four generations of about two seconds, by the server's own pace, are kept running without a pause; where all four
    /// run at once, twenty-four, more than a usual pool of threads. While at least one of them is between its first text
    /// and its end, Health is called five times, each time just after one more generation has been started, on the
    /// same connection if that takes two calls at a time. Three answers that take longer than a second are the server's;
    /// one or two are the machine's. At the end the generations are cancelled, and the server must be idle again before
    /// anything else is asked of it; else the check is inconclusive.
    ///
    /// # What a violation looks like
    /// Health is answered only when a generation ends.
    ///
    /// # References
    /// Contract, HEALTH-005.
    id: "HEALTH-005",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "Health answers within 1 s under load",
    check: check,
    mutant: WaitsForGeneration, fault: "Health waits for the running generation", seen_as: "while generations were running",
}

/// Generations that run beside Health: the second number where the server runs all of the first at once.
const WIDTHS: [usize; 2] = [4, 24];
/// Each of them: longer than the limit, so that Health shows if it waits for one.
const LASTING: Duration = Duration::from_secs(2);
const SAMPLES: usize = 5;
/// Between the start of one more generation and Health: time to be in the middle of reading its prompt.
const PAUSE: Duration = Duration::from_millis(20);
/// More generations have begun by then, as far as there is room.
const ALL_START: Duration = Duration::from_millis(100);

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let two_calls = probe.takes_two_calls().await?;
    let connections = probe.connections(WIDTHS[1]).await?;
    let mut load = Load::start(probe, &connections, pace, WIDTHS[0], LASTING).await?;
    let running = load.steady().await;
    let mut judged = beside(probe, &load, two_calls).await;
    // The rest waited for room: no pool had a thread left.
    if judged.is_ok() && running == WIDTHS[0] {
        load.grow(probe, &connections, WIDTHS[1]);
        load.reaches(WIDTHS[1], Instant::now() + ALL_START).await;
        judged = beside(probe, &load, two_calls).await;
    }
    let work = load.cancel().await;
    let settled = probe.settled(pace, work).await;
    judged?;
    settled
}

async fn beside(probe: &Probe, load: &Load, two_calls: bool) -> Judgement {
    let within = Within {
        what: "Health while generations were running",
        limit: Duration::from_secs(1),
        samples: SAMPLES,
    };
    within
        .judge(probe, || async {
            let began = Instant::now();
            while load.running() == 0 {
                if began.elapsed() > probe.patience() {
                    return Err(NotPassed::Inconclusive("no generation stayed running beside Health".into()));
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // One more is just starting, on Health's own connection.
            let mut starting = if two_calls {
                probe.stream().await?
            } else {
                probe.stream_on(&probe.connect().await?).await
            };
            starting.send(&probe.request(8));
            tokio::time::sleep(PAUSE).await;
            let health = probe.health(&probe.trace_id()).await?;
            health.informative().map_err(|why| why.when("while generations were running"))?;
            Ok(health.took)
        })
        .await
}

#[derive(Default)]
struct WaitsForGeneration;

#[tonic::async_trait]
impl Behaviour for WaitsForGeneration {
    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        while state.inflight() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(state.health())
    }
}
