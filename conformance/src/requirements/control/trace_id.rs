//! CONTROL-001.

use ai_inference_proto::ControlMessage;
use futures_util::future::join_all;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::{Probe, quote},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// The answer carries the request's trace_id, also when 32 calls run at once.
    ///
    /// # Why it matters
    /// Answers are matched to questions by it, in logs and in clients that pool their connections.
    ///
    /// # How it is checked
    /// `ping` is sent with an ordinary trace_id, one of 1,000 characters and one in another script with spaces at its
    /// ends and a combining mark; `list_models` and an unknown command with ordinary ones. Each answer must carry the
    /// same, byte for byte. Then 32 `ping`s run at once over four connections, three times, each with a trace_id of its
    /// own that must come back to it.
    ///
    /// # What a violation looks like
    /// Another trace_id, or an empty one.
    ///
    /// # References
    /// Contract, CONTROL-001.
    id: "CONTROL-001",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "the answer carries the trace_id",
    check: check,
    mutant: OtherTraceId, fault: "another trace_id", seen_as: "trace_id",
}

async fn check(probe: &Probe) -> Judgement {
    let strange = " 轨迹 n\u{303} ñ 7 ".to_owned();
    for (command, trace_id) in [
        ("ping", probe.trace_id()),
        ("ping", "X".repeat(1000)),
        ("ping", strange),
        ("list_models", probe.trace_id()),
        ("no_such_command_7", probe.trace_id()),
    ] {
        let control = probe.control(&trace_id, command, &[]).await?;
        let answer = control.ok()?;
        probe.assert(answer.trace_id == trace_id, || {
            format!(
                "{command} with trace_id {} was answered under {}",
                quote(&trace_id, 60),
                quote(&answer.trace_id, 60)
            )
        })?;
    }
    for _ in 0..ROUNDS {
        all_at_once(probe).await?;
    }
    Ok(())
}

const AT_ONCE: usize = 32;
const CONNECTIONS: usize = 4;
const ROUNDS: usize = 3;

async fn all_at_once(probe: &Probe) -> Judgement {
    let connections = probe.connections(CONNECTIONS).await?;
    let calls = (0..AT_ONCE).map(|at| {
        let (trace_id, connection) = (probe.trace_id(), &connections[at % connections.len()]);
        Box::pin(async move { (probe.control_on(connection, &trace_id, "ping", &[]).await, trace_id) })
    });
    for (control, trace_id) in join_all(calls).await {
        if control.end.is_turned_away() {
            continue; // being full is a right answer
        }
        let got = &control.ok()?.trace_id;
        probe.assert(*got == trace_id, || {
            format!(
                "of {AT_ONCE} pings at once, the one with trace_id {trace_id:?} was answered under {got:?}"
            )
        })?;
    }
    Ok(())
}

#[derive(Default)]
struct OtherTraceId;

#[tonic::async_trait]
impl Behaviour for OtherTraceId {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        Ok(ControlMessage { trace_id: "another".into(), ..state.control(&message) })
    }
}
