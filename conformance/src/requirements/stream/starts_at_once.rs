//! STREAM-008.

use std::time::Duration;

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
    /// A request is sent and the stream is left open. Text must come before the suite half-closes, and about as soon as
    /// on a stream that is half-closed at once (three times as long and 300 ms are allowed, best of three): a server that
    /// waits a while for the half-close is seen too. Then the generation must end OK.
    ///
    /// # What a violation looks like
    /// Nothing comes until the client half-closes.
    ///
    /// # References
    /// Contract, STREAM-008; gRPC core concepts, "Bidirectional streaming RPC".
    id: "STREAM-008",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Quiet,
    since: "0.1.0",
    title: "generation starts on the first request",
    check: check,
    mutant: WaitsForHalfClose, fault: "generation waits for half-close", seen_as: "before half-close",
}

/// A wait for half-close that is cut short by a timer shows as a first text that is later than it need be.
const SLACK: Duration = Duration::from_millis(300);
const TRIES: usize = 3;

async fn check(probe: &Probe) -> Judgement {
    let mut closed = Duration::MAX;
    let mut open = Duration::MAX;
    for _ in 0..TRIES {
        closed = closed.min(first_text(probe, true).await?);
        open = open.min(first_text(probe, false).await?);
        if open <= closed * 3 + SLACK {
            return probe.assert(true, String::new);
        }
    }
    probe.assert(false, || {
        format!("before half-close, the first text took {open:.1?} at best of {TRIES} tries; after it, {closed:.1?}")
    })
}

/// The time to the first text, with the half-close sent at once or only after it; then the call must end OK.
async fn first_text(probe: &Probe, closed: bool) -> Result<Duration, NotPassed> {
    let request = probe.request(8);
    let mut stream = probe.stream().await?;
    stream.send(&request);
    if closed {
        stream.half_close();
    }
    let circumstance = if closed { "after half-close" } else { "before half-close" };
    let first = stream.first_text().await.map_err(|why| why.when(circumstance))?;
    if !closed {
        stream.half_close();
    }
    let rest = stream.finish(request).await;
    probe.assert(rest.end.is_ok(), || format!("after half-close the call {}, not OK", rest.end.told()))?;
    Ok(first.at)
}

#[derive(Default)]
struct WaitsForHalfClose;

#[tonic::async_trait]
impl Behaviour for WaitsForHalfClose {
    async fn requests(&self, requests: Requests) -> Requests {
        Box::pin(tokio_stream::iter(requests.collect::<Vec<_>>().await))
    }
}
