//! WIRE-011.

use ai_inference_proto::{ControlMessage, GenerationRequest, contract};
use futures_util::future::join_all;
use prost::Message as _;

use super::broken_message::BROKEN;
use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next, without_trailers},
    probe::{
        Probe,
        wire::{End, framed},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Every call ends with a grpc-status.
    ///
    /// # Why it matters
    /// The status is how a client knows that an answer is whole. Some client libraries take a stream that ends without one
    /// for a clean end, and a text that was cut is shown as finished; others say UNKNOWN to an answer that was right.
    ///
    /// # How it is checked
    /// Fourteen kinds of calls: served ones of all three methods, short and long; refused ones; broken messages, also as the
    /// second on a stream; a stream without a request; an unknown method. They are made one after the other, twice, and then
    /// four of each kind all at once. Each must end with a grpc-status, in trailers or in a response of headers only. For the unknown method
    /// an HTTP 404 will do, as for WIRE-006. At last a generation is half-closed only after its last message.
    ///
    /// # What a violation looks like
    /// The stream ends after its last message with no trailers; a reset in the place of a status; a call that never ends.
    ///
    /// # References
    /// Contract, WIRE-011; gRPC over HTTP/2, "Responses" (Status is required in Trailers).
    id: "WIRE-011",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "every call ends with a grpc-status",
    check: check,
    mutant: NoTrailers, fault: "a stream ends with no trailers", seen_as: "ended without a grpc-status",
}

/// Each kind one after the other; a fault may come with the second call only.
const ROUNDS: usize = 2;
/// Calls of each kind at once: the long ones are still open when the last come.
const AT_ONCE: usize = 4;
/// Tokens of a long generation: faults may come with many messages only.
const LONG: i64 = 40;

/// One kind of call.
struct Kind {
    what: &'static str,
    method: &'static str,
    bytes: Vec<u8>,
}

async fn check(probe: &Probe) -> Judgement {
    for _ in 0..ROUNDS {
        for kind in kinds(probe) {
            judge(probe, &kind, &call(probe, &kind).await?)?;
        }
    }
    let kinds: Vec<_> = (0..AT_ONCE).flat_map(|_| kinds(probe)).collect();
    let ends = join_all(kinds.iter().map(|kind| Box::pin(call(probe, kind)))).await;
    for (kind, end) in kinds.iter().zip(ends) {
        judge(probe, kind, &end?).map_err(|why| why.when("among calls at once"))?;
    }
    let request = probe.request(2);
    let mut stream = probe.stream().await?;
    stream.send(&request);
    let end = stream.half_close_after_last(request).await.end;
    probe.assert(end.code().is_some(), || {
        format!("a stream that was half-closed after its last message {}: {MUST}", end.told())
    })?;
    probe.still_serves("calls of many kinds").await
}

const MUST: &str = "every call must end with a grpc-status";
/// What a router says of a path that it does not know.
const NOT_FOUND: u16 = 404;

fn judge(probe: &Probe, kind: &Kind, end: &End) -> Judgement {
    if end.not_processed() {
        return Err(NotPassed::Inconclusive(format!(
            "{} {}: the server did not take the call, so nothing shows how it would end it",
            kind.what,
            end.told()
        )));
    }
    let unknown_path = kind.method == UNKNOWN && *end == End::NoStatus { http: NOT_FOUND };
    probe.assert(end.code().is_some() || unknown_path, || format!("{} {}: {MUST}", kind.what, end.told()))
}

async fn call(probe: &Probe, kind: &Kind) -> Result<End, NotPassed> {
    Ok(probe.ask_once(kind.method, &kind.bytes, kind.what, &probe.options()).await?.end)
}

const UNKNOWN: &str = "NoSuchMethod";

fn kinds(probe: &Probe) -> Vec<Kind> {
    let kind = |what, method, message: &[u8]| Kind { what, method, bytes: framed(message).to_vec() };
    let predict = |what, request: GenerationRequest| {
        kind(what, "StreamPredict", &probe.dialect().encode_request(request))
    };
    let command = |command: &str| {
        let trace_id = probe.trace_id();
        let message = ControlMessage { trace_id, command: command.to_owned(), payload: [].into() };
        contract::ControlMessage::from(message).encode_to_vec()
    };
    let broken = BROKEN[0].1;
    let legal = |method: &str| probe.legal(method, &probe.trace_id());
    let mut kinds = vec![
        kind("Health", "Health", &legal("Health")),
        kind("an empty Health", "Health", &[]),
        kind("a broken Health", "Health", broken),
        kind("Control(ping)", "Control", &command("ping")),
        kind("Control with an unknown command", "Control", &command("no_such_command")),
        kind("a broken Control", "Control", broken),
        predict("a generation of one token", probe.request(1)),
        predict("a generation of 40 tokens", probe.request(LONG)),
        predict(
            "a generation on an unknown model",
            GenerationRequest { model_id: "no-such-model".into(), ..probe.request(1) },
        ),
        predict(
            "a generation with an unknown adapter",
            GenerationRequest { adapter: "no-such-adapter".into(), ..probe.request(1) },
        ),
        kind("a broken StreamPredict", "StreamPredict", broken),
        Kind { what: "a StreamPredict without a request", method: "StreamPredict", bytes: Vec::new() },
        kind("an unknown method", UNKNOWN, &[]),
    ];
    let second = [legal("StreamPredict"), broken.to_vec()].iter().flat_map(|m| framed(m).to_vec()).collect();
    let what = "a stream with a good request and then a broken message";
    kinds.push(Kind { what, method: "StreamPredict", bytes: second });
    kinds
}

#[derive(Default)]
struct NoTrailers;

#[tonic::async_trait]
impl Behaviour for NoTrailers {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        let streams = request.uri().path().ends_with("/StreamPredict");
        let response = next.run(request).await;
        if streams { without_trailers(response) } else { response }
    }
}
