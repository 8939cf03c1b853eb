//! WIRE-002.

use ai_inference_proto::ControlMessage;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// StreamPredict (bidi), Control (unary) and Health (unary) are all implemented.
    ///
    /// # Why it matters
    /// A gateway uses all three: it streams with one, lists models with another and is restarted by what the third
    /// says. A method that was left to the generated stub answers UNIMPLEMENTED, and is found out only on the day
    /// it is needed.
    ///
    /// # How it is checked
    /// Each of the three is called once with a request that every server must serve: Health, Control with `ping`,
    /// StreamPredict with a short greedy prompt. Each must end OK with an answer.
    ///
    /// # What a violation looks like
    /// UNIMPLEMENTED to one of the three.
    ///
    /// # References
    /// Contract, WIRE-002; gRPC core concepts, "Service definition".
    id: "WIRE-002",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "StreamPredict, Control and Health are all implemented",
    check: check,
    mutant: NoControl, fault: "Control answers UNIMPLEMENTED", seen_as: "Control",
}

async fn check(probe: &Probe) -> Judgement {
    let health = probe.health(&probe.trace_id()).await?;
    health.informative()?;
    probe.assert(true, String::new)?;
    let control = probe.control(&probe.trace_id(), "ping", &[]).await?;
    control.ok()?;
    probe.assert(true, String::new)?;
    probe.predict(probe.request(4)).await?.served()?;
    probe.assert(true, String::new)
}

#[derive(Default)]
struct NoControl;

#[tonic::async_trait]
impl Behaviour for NoControl {
    async fn control(&self, _state: &State, _message: ControlMessage) -> Result<ControlMessage, Status> {
        Err(Status::unimplemented("Control is not implemented"))
    }
}
