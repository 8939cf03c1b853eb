//! CONTROL-005.

use ai_inference_proto::ControlMessage;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// An unknown command is answered with OK, command `<name>_response`, status=error and a message naming the
    /// command.
    ///
    /// # Why it matters
    /// A newer client must be able to find out what an older server cannot do, and a person must be able to read
    /// which command it was.
    ///
    /// # How it is checked
    /// `no_such_command_7` and `pingx` are sent; each call must end OK, and the answer must be `<name>_response` with
    /// status=error and a message that names it. Then a `ping` must be answered, so that a server which answers
    /// anything with an error does not pass.
    ///
    /// # What a violation looks like
    /// status=ok for a command that does not exist.
    ///
    /// # References
    /// Contract, CONTROL-005.
    id: "CONTROL-005",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "an unknown command is answered status=error",
    check: check,
    mutant: AgreesToAll, fault: "an unknown command gets status=ok", seen_as: "status",
}

async fn check(probe: &Probe) -> Judgement {
    for unknown in ["no_such_command_7", "pingx"] {
        let control = probe.control(&probe.trace_id(), unknown, &[]).await?;
        let answer = control.ok()?;
        let payload = |key: &str| answer.payload.get(key).map_or("", String::as_str);
        probe.assert(payload("status") == "error", || {
            format!(
                "the unknown command {unknown} was answered with status={:?}, not status=error",
                payload("status")
            )
        })?;
        probe.assert(answer.command == format!("{unknown}_response"), || {
            format!("the unknown command was answered as {:?}, not as {unknown}_response", answer.command)
        })?;
        probe.assert(payload("message").contains(unknown), || {
            format!("the message {:?} does not name the unknown command {unknown}", payload("message"))
        })?;
    }
    let ping = probe.control(&probe.trace_id(), "ping", &[]).await?;
    let status = ping.ok()?.payload.get("status");
    probe.assert(status.is_some_and(|s| s == "ok"), || {
        format!("after it, ping was answered with status {status:?}")
    })
}

#[derive(Default)]
struct AgreesToAll;

#[tonic::async_trait]
impl Behaviour for AgreesToAll {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let mut answer = state.control(&message);
        if answer.payload.get("message").is_some_and(|m| m.starts_with("unknown command")) {
            answer.payload.insert("status".into(), "ok".into());
        }
        Ok(answer)
    }
}
