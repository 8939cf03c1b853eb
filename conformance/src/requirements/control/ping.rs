//! CONTROL-003.

use ai_inference_proto::ControlMessage;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// `ping` is answered `ping_response` with payload status=ok, message=pong.
    ///
    /// # Why it matters
    /// It is the cheapest proof that the command channel works end to end; clients compare the words.
    ///
    /// # How it is checked
    /// `ping` is sent; the answer's command must be `ping_response`, its payload must hold status=ok and
    /// message=pong.
    ///
    /// # What a violation looks like
    /// `ACK: ping`, or the request sent back.
    ///
    /// # References
    /// Contract, CONTROL-003.
    id: "CONTROL-003",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "ping is answered pong",
    check: check,
    mutant: Acks, fault: "ping is answered \"ACK: ping\"", seen_as: "ACK: ping",
}

async fn check(probe: &Probe) -> Judgement {
    let control = probe.control(&probe.trace_id(), "ping", &[]).await?;
    let answer = control.ok()?;
    let payload = |key: &str| answer.payload.get(key).map(String::as_str);
    let right = answer.command == "ping_response"
        && payload("status") == Some("ok")
        && payload("message") == Some("pong");
    probe.assert(right, || {
        format!(
            "ping was answered {:?} with {:?}, not \"ping_response\" with status=ok, message=pong",
            answer.command, answer.payload
        )
    })
}

#[derive(Default)]
struct Acks;

#[tonic::async_trait]
impl Behaviour for Acks {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let mut answer = state.control(&message);
        if answer.command == "ping_response" {
            answer.payload.insert("message".into(), "ACK: ping".into());
        }
        Ok(answer)
    }
}
