//! WIRE-015.

use ai_inference_proto::contract;
use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::body::Body;

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next},
    probe::{
        Answer, METHODS, Probe,
        wire::{CallOptions, End, PREFIX, framed, gzip, prefixed},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// An accept-encoding the client did not offer is never used.
    ///
    /// # Why it matters
    /// A client that offers no compression often has none. It ends the call with INTERNAL or UNIMPLEMENTED at the first
    /// compressed message, or at the header that announces one, and the answer is lost.
    ///
    /// # How it is checked
    /// Health, Control and StreamPredict are called by a client that offers no encoding, and by one that offers `identity`
    /// alone; Control also with so long a command that its answer is worth compressing. No response may have a
    /// `grpc-encoding` or a `content-encoding` other than `identity`, and no message may be marked as compressed. Then the
    /// server must still serve.
    ///
    /// # What a violation looks like
    /// `grpc-encoding: gzip` in the response's headers; a message whose first byte is 1.
    ///
    /// # References
    /// Contract, WIRE-015; gRPC, "Compression" (grpc-accept-encoding); gRPC over HTTP/2, "Message-Encoding".
    id: "WIRE-015",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "no encoding is used that was not offered",
    check: check,
    mutant: AlwaysGzip, fault: "answers are gzip-compressed without being asked", seen_as: "grpc-encoding \"gzip\"",
}

/// Bytes of a command: servers that compress leave short answers alone.
const LONG: usize = 4_000;
const IDENTITY: &str = "identity";

async fn check(probe: &Probe) -> Judgement {
    let nothing = probe.options();
    let mut identity = probe.options();
    identity
        .metadata
        .push((HeaderName::from_static("grpc-accept-encoding"), HeaderValue::from_static(IDENTITY)));
    for (options, offer) in [(&nothing, "no encoding"), (&identity, "identity alone")] {
        for method in METHODS {
            let message = probe.legal(method, &probe.trace_id());
            judge(probe, method, &message, options, offer).await?;
        }
        let (trace_id, command) = (probe.trace_id(), "a".repeat(LONG));
        let message = contract::ControlMessage { trace_id, command, payload: [].into() }.encode_to_vec();
        judge(probe, "Control", &message, options, &format!("{offer}, and a long command")).await?;
    }
    probe.still_serves("calls without compression").await
}

async fn judge(probe: &Probe, method: &str, message: &[u8], options: &CallOptions, offer: &str) -> Judgement {
    let what = format!("an offer of {offer}");
    let answer = probe.ask(method, &framed(message), &what, options).await?;
    let headers = ["grpc-encoding", "content-encoding"].map(|name| (name, encoding(&answer, name)));
    for (name, encoding) in headers {
        let encoding = encoding.unwrap_or_default();
        probe.assert(encoding.is_empty() || encoding == IDENTITY, || {
            format!("{} was answered with {name} {encoding:?}, which the client did not offer", answer.asked)
        })?;
    }
    match &answer.end {
        End::Status(_) => probe.assert(true, String::new),
        end => Err(NotPassed::Fail(format!("{} {}", answer.asked, end.told()))),
    }
}

fn encoding(answer: &Answer, header: &str) -> Option<String> {
    answer.metadata(header).map(|value| value.trim().to_ascii_lowercase())
}

/// Compresses Health's answers, whoever asks.
#[derive(Default)]
struct AlwaysGzip;

#[tonic::async_trait]
impl Behaviour for AlwaysGzip {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        let health = request.uri().path().ends_with("AiInference/Health");
        let response = next.run(request).await;
        if !health || response.headers().contains_key("grpc-status") {
            return response;
        }
        let (mut head, body) = response.into_parts();
        let Ok(body) = body.collect().await else { return HttpResponse::new(Body::empty()) };
        let trailers = body.trailers().cloned();
        let framed = body.to_bytes();
        let message = framed.get(PREFIX..).unwrap_or_default();
        head.headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
        let body = Full::new(prefixed(1, &gzip(message)));
        let body = body.with_trailers(async move { trailers.map(Ok) });
        HttpResponse::from_parts(head, Body::new(body))
    }
}
