//! HEALTH-004.

use std::time::Duration;

use ai_inference_proto::HealthAnswer;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::{Probe, Within},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// Health answers within 1 s on an idle server.
    ///
    /// # Why it matters
    /// Health is polled. A slow answer is read as a dead server, and a healthy one is restarted.
    ///
    /// # How it is checked
    /// Health is called six times on a quiet server. Three answers that take longer than a second are the server's; one
    /// or two are the machine's.
    ///
    /// # What a violation looks like
    /// Every call takes longer than a second, e.g. because Health loads or touches the model.
    ///
    /// # References
    /// Contract, HEALTH-004.
    id: "HEALTH-004",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Quiet,
    since: "0.1.0",
    title: "Health answers within 1 s when idle",
    check: check,
    mutant: Sleeps, fault: "Health sleeps before it answers", seen_as: "Health on an idle server took",
}

async fn check(probe: &Probe) -> Judgement {
    let within = Within { what: "Health on an idle server", limit: Duration::from_secs(1), samples: 6 };
    within
        .judge(probe, || async {
            let health = probe.health(&probe.trace_id()).await?;
            health.informative()?;
            Ok(health.took)
        })
        .await
}

#[derive(Default)]
struct Sleeps;

#[tonic::async_trait]
impl Behaviour for Sleeps {
    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        Ok(state.health())
    }
}
