//! WIRE-009.

use http::{HeaderName, HeaderValue};
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next},
    probe::{
        Answer, METHODS, Probe,
        wire::{framed, gzip, prefixed},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A gzip-compressed request is either decoded or answered UNIMPLEMENTED with grpc-accept-encoding.
    ///
    /// # Why it matters
    /// Clients and gateways compress long prompts. One that meets UNIMPLEMENTED, and reads what the server accepts, sends the
    /// message again without compression. INTERNAL looks like an outage, and bytes that are taken for a message give a
    /// wrong answer.
    ///
    /// # How it is checked
    /// Health, Control and StreamPredict are each sent a legal message as it is, and then one in a frame that is compressed,
    /// with `grpc-encoding: gzip`. The second must be answered OK, with the request's trace_id where the first answer
    /// carries it too; that shows that the message was read. Or it must be UNIMPLEMENTED, with a `grpc-accept-encoding`
    /// that does not name gzip. Answers may be compressed too. Then the server must still serve.
    ///
    /// # What a violation looks like
    /// INTERNAL; UNIMPLEMENTED without `grpc-accept-encoding`; OK for a message that was not read.
    ///
    /// # References
    /// Contract, WIRE-009; gRPC, "Compression" (an algorithm that the server does not support).
    id: "WIRE-009",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a gzip-compressed request is decoded or UNIMPLEMENTED",
    check: check,
    mutant: GzipIsInternal, fault: "a gzip-compressed request is INTERNAL", seen_as: "was answered INTERNAL",
}

async fn check(probe: &Probe) -> Judgement {
    let plain_options = probe.options();
    let mut options = probe.options();
    options.offers_gzip = true;
    options.metadata.push((HeaderName::from_static("grpc-encoding"), HeaderValue::from_static("gzip")));
    for method in METHODS {
        let trace_id = probe.trace_id();
        let plain = framed(&probe.legal(method, &trace_id));
        let plain = probe.ask(method, &plain, "a legal message", &plain_options).await?;
        if !plain.end.is_ok() || plain.messages.is_empty() {
            return Err(NotPassed::Fail(format!(
                "{} and {} messages: it must be served before it is compressed",
                plain.told(),
                plain.messages.len()
            )));
        }
        let carries = plain.holds(trace_id.as_bytes());

        let trace_id = probe.trace_id();
        let compressed = prefixed(1, &gzip(&probe.legal(method, &trace_id)));
        let answer = probe.ask(method, &compressed, "a gzip-compressed message", &options).await?;
        match answer.end.code() {
            Some(Code::Ok) => decoded(probe, &answer, carries.then_some(&trace_id))?,
            Some(Code::Unimplemented) => refused(probe, &answer)?,
            _ => probe.assert(false, || {
                format!("{}: neither decoded nor UNIMPLEMENTED with grpc-accept-encoding", answer.told())
            })?,
        }
    }
    probe.still_serves("gzip-compressed messages").await
}

/// Answered OK: the message was read, and not passed over.
fn decoded(probe: &Probe, answer: &Answer, trace_id: Option<&String>) -> Judgement {
    probe.assert(!answer.messages.is_empty(), || format!("{} without an answer", answer.told()))?;
    probe.assert(trace_id.is_none_or(|id| answer.holds(id.as_bytes())), || {
        format!(
            "{} without the request's trace_id, which the answer to an uncompressed message carries: the compressed \
             message was not read",
            answer.told()
        )
    })
}

/// Answered UNIMPLEMENTED: the client is told what it may use, and that is not gzip.
fn refused(probe: &Probe, answer: &Answer) -> Judgement {
    let accepted = answer.metadata("grpc-accept-encoding");
    probe.assert(accepted.is_some(), || {
        format!(
            "{} without grpc-accept-encoding: the client does not learn which encodings it may use",
            answer.told()
        )
    })?;
    let accepted = accepted.unwrap_or_default();
    probe.assert(!accepted.split(',').any(|encoding| encoding.trim() == "gzip"), || {
        format!("{}, though grpc-accept-encoding says {accepted:?}", answer.told())
    })
}

#[derive(Default)]
struct GzipIsInternal;

#[tonic::async_trait]
impl Behaviour for GzipIsInternal {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        if request.headers().get("grpc-encoding").is_some_and(|encoding| encoding == "gzip") {
            return Status::internal("failed to decode").into_http();
        }
        next.run(request).await
    }
}
