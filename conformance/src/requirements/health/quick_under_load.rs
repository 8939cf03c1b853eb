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
    /// Four generations, as long as the server takes them, are kept running without a pause. While at least one of them
    /// is between its first text and its end, Health is called ten times, each time just after one more generation has
    /// been started on the same connection. Three answers that take longer than a second are the server's; one or two
    /// are the machine's.
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

/// Generations that run beside Health; a new one starts where one ends.
const WIDTH: usize = 4;
/// Between the start of one more generation and Health: time to be in the middle of reading its prompt.
const PAUSE: Duration = Duration::from_millis(20);

async fn check(probe: &Probe) -> Judgement {
    let load = Load::start(probe, WIDTH).await?;
    let within =
        Within { what: "Health while generations were running", limit: Duration::from_secs(1), samples: 10 };
    let judged = within
        .judge(probe, || async {
            let began = Instant::now();
            while load.running() == 0 {
                if began.elapsed() > probe.patience() {
                    return Err(NotPassed::Inconclusive("no generation stayed running beside Health".into()));
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // One more is just starting, on Health's own connection.
            let mut starting = probe.stream().await?;
            starting.send(&probe.request(8));
            tokio::time::sleep(PAUSE).await;
            let health = probe.health(&probe.trace_id()).await?;
            health.informative().map_err(|why| why.when("while generations were running"))?;
            Ok(health.took)
        })
        .await;
    load.stop().await;
    judged
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
