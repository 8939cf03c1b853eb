//! HEALTH-001.

use ai_inference_proto::HealthAnswer;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// A ready server answers `healthy = true`.
    ///
    /// # Why it matters
    /// Coordinators route by this one bit. In proto3 a forgotten bool is false on the wire: a server that never
    /// sets it is taken out of rotation, or teaches its operators to ignore the bit.
    ///
    /// # How it is checked
    /// Health is called once; `healthy` must be true.
    ///
    /// # What a violation looks like
    /// `healthy` is left at its default, false, by a server that serves.
    ///
    /// # References
    /// Contract, HEALTH-001; the interface contract, "Expected response".
    id: "HEALTH-001",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a ready server says healthy = true",
    check: check,
    mutant: NeverHealthy, fault: "healthy is left false", seen_as: "healthy = false",
}

async fn check(probe: &Probe) -> Judgement {
    let health = probe.health(&probe.trace_id()).await?;
    let answer = health.ok()?;
    probe.assert(answer.healthy, || format!("Health says healthy = false (metrics: {:?})", answer.metrics))
}

#[derive(Default)]
struct NeverHealthy;

#[tonic::async_trait]
impl Behaviour for NeverHealthy {
    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        let mut answer = state.health();
        answer.healthy = false;
        Ok(answer)
    }
}
