//! WIRE-001.

use ai_inference_proto::{Dialect, contract};
use prost::Message as _;

use crate::{exemplar::Behaviour, probe::Probe, requirement::Judgement};

crate::requirement! {
    /// # Requirement
    /// The service answers under the documented full name `AiInference`.
    ///
    /// # Why it matters
    /// A gRPC call names its service in full: `/AiInference/Health`. A server generated from a proto file with a
    /// package answers only under `cy.llm.AiInference`, and every client built from the documented contract gets
    /// UNIMPLEMENTED for everything, from a server whose own tests are green.
    ///
    /// # How it is checked
    /// Health is called as `/AiInference/Health`, whatever dialect the rest of the run speaks. It must end OK with
    /// an answer that says something: an empty message is what anything could send. In the `deployed` profile this
    /// requirement is not asked.
    ///
    /// # What a violation looks like
    /// UNIMPLEMENTED to `/AiInference/Health`, while `/cy.llm.AiInference/Health` is answered.
    ///
    /// # References
    /// Contract, section 0 and WIRE-001; the interface contract, "gRPC service definition".
    id: "WIRE-001",
    level: Must,
    dialects: [Contract, CyLlm],
    asked_by: [Core, Full],
    since: "0.1.0",
    title: "answers under the documented name AiInference",
    check: check,
    mutant: OnlyDeployedName, fault: "only `cy.llm.AiInference` is served", seen_as: "/AiInference/Health was answered UNIMPLEMENTED",
}

async fn check(probe: &Probe) -> Judgement {
    let path = format!("/{}/Health", Dialect::Contract.service());
    let request = contract::WorkerHealthRequest { trace_id: probe.trace_id() };
    let answer = probe.raw(&path, &request.encode_to_vec(), "a WorkerHealthRequest").await?;
    let bytes = answer.ok()?;
    let health = contract::WorkerHealthResponse::decode(bytes.as_slice());
    probe.assert(health.is_ok_and(|h| h.healthy || !h.metrics.is_empty()), || {
        format!("{path} was answered OK, but with a message that says nothing ({} bytes)", bytes.len())
    })
}

#[derive(Default)]
struct OnlyDeployedName;

impl Behaviour for OnlyDeployedName {
    fn dialects(&self) -> &'static [Dialect] {
        &[Dialect::CyLlm]
    }
}
