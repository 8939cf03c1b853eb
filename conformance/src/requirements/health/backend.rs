//! HEALTH-002.

use ai_inference_proto::HealthAnswer;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// `metrics["backend"]` is present and not empty.
    ///
    /// # Why it matters
    /// It is how an operator sees which of the interchangeable backends answers: python, kotlin, or a sidecar.
    ///
    /// # How it is checked
    /// Health is called once; `metrics` must hold a non-blank `backend`.
    ///
    /// # What a violation looks like
    /// `metrics` without the key `backend`, or with an empty value.
    ///
    /// # References
    /// Contract, HEALTH-002; the interface contract, "Expected response".
    id: "HEALTH-002",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "metrics name the backend",
    check: check,
    mutant: NoBackend, fault: "the key is missing", seen_as: "backend",
}

async fn check(probe: &Probe) -> Judgement {
    let health = probe.health(&probe.trace_id()).await?;
    let metrics = &health.informative()?.metrics;
    let backend = metrics.get("backend").map(|b| b.trim());
    probe.assert(backend.is_some_and(|b| !b.is_empty()), || match backend {
        None => format!("metrics have no key `backend`: {metrics:?}"),
        Some(_) => "metrics[\"backend\"] is empty".to_owned(),
    })
}

#[derive(Default)]
struct NoBackend;

#[tonic::async_trait]
impl Behaviour for NoBackend {
    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        let mut answer = state.health();
        answer.metrics.remove("backend");
        Ok(answer)
    }
}
