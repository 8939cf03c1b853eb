//! STREAM-008.

use tokio_stream::StreamExt as _;

use crate::{
    exemplar::{Behaviour, Requests},
    probe::Probe,
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Generation starts on the first request; it does not wait for half-close.
    ///
    /// # Why it matters
    /// A client that keeps its stream open for the next turn never half-closes. Against a server that waits for it,
    /// it waits for ever.
    ///
    /// # How it is checked
    /// A request is sent and the stream is left open. Text must come before the suite half-closes; then the
    /// generation must end OK.
    ///
    /// # What a violation looks like
    /// Nothing comes until the client half-closes.
    ///
    /// # References
    /// Contract, STREAM-008; gRPC core concepts, "Bidirectional streaming RPC".
    id: "STREAM-008",
    level: Must,
    roles: [Server],
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "generation starts on the first request",
    check: check,
    mutant: WaitsForHalfClose, fault: "generation waits for half-close", seen_as: "before half-close",
}

async fn check(probe: &Probe) -> Judgement {
    let request = probe.request(8);
    let mut stream = probe.stream().await?;
    stream.send(&request);
    let early = stream.first_text().await;
    probe.assert(early.is_ok(), || match early {
        Err(NotPassed::Fail(why)) => format!("before half-close, {why}"),
        _ => String::new(),
    })?;
    stream.half_close();
    let rest = stream.finish(request).await;
    probe.assert(rest.end.is_ok(), || format!("after half-close the call {}, not OK", rest.end.told()))
}

#[derive(Default)]
struct WaitsForHalfClose;

#[tonic::async_trait]
impl Behaviour for WaitsForHalfClose {
    async fn requests(&self, requests: Requests) -> Requests {
        Box::pin(tokio_stream::iter(requests.collect::<Vec<_>>().await))
    }
}
