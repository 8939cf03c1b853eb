//! WIRE-007.

use ai_inference_proto::contract;
use prost::Message as _;
use tonic::{Code, body::Body};

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next, read_whole},
    probe::{
        Probe,
        wire::{Connection, End},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Bytes that are not the declared message end that call, and only that call, with a non-OK status; the connection
    /// and other streams go on. The same for a message that comes second on a stream.
    ///
    /// # Why it matters
    /// Gateways multiplex many users over one connection. If one client's broken bytes close it, everybody's
    /// generation is cut.
    ///
    /// # How it is checked
    /// On one connection a generation is running while Health, Control and StreamPredict are each sent bytes that are no
    /// protobuf message: a string that announces more bytes than follow, a tag with a wire type that does not exist,
    /// and, for StreamPredict, a request whose `generation` is truncated. The running generation must reach its end and
    /// Health must answer on the same connection; each broken call must end with INVALID_ARGUMENT or INTERNAL. UNKNOWN
    /// is what grpc.aio and grpc-java answer by themselves, before any code of the server runs: where that is all, the
    /// check says so and is inconclusive.
    ///
    /// # What a violation looks like
    /// The connection closes; the call hangs; or the bytes are taken for an empty request and answered OK.
    ///
    /// # References
    /// Contract, WIRE-007; gRPC, "Status codes" (INTERNAL for what cannot be parsed).
    id: "WIRE-007",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a broken message ends its own call only",
    check: check,
    mutant: ClosesConnection, fault: "the connection closes", seen_as: "connection",
}

/// A string field that announces five bytes where one follows, and a tag with the wire type 7.
const BROKEN: [(&str, &[u8]); 2] =
    [("a truncated string", &[0x0A, 5, b'a']), ("the wire type 7", &[0x0F, 0xFF, 0xFF])];
/// Field 5, `generation`: one byte long, and that is a varint's tag without the varint.
const BROKEN_NESTED: [u8; 3] = [0x2A, 1, 0x08];

async fn check(probe: &Probe) -> Judgement {
    let connection = probe.connection().await?;
    let request = probe.request(64);
    let mut running = probe.stream_on(&connection).await;
    running.send(&request);
    running.half_close();
    running.first_text().await?;

    let mut ends = Vec::new();
    for (what, bytes) in BROKEN {
        for method in ["Health", "Control"] {
            let end = probe.unary_on(&connection, method, bytes, what, &probe.options()).await.end;
            ends.push((format!("{method} with {what}"), end));
        }
        ends.push((
            format!("StreamPredict with {what}"),
            predict_bytes(probe, &connection, bytes, what).await,
        ));
    }
    let nested = [probe.dialect().encode_request(probe.request(1)), BROKEN_NESTED.to_vec()].concat();
    let what = "StreamPredict with a truncated `generation`";
    ends.push((what.to_owned(), predict_bytes(probe, &connection, &nested, what).await));

    // What others suffer comes first: it is worse than a wrong code.
    for (what, end) in &ends {
        probe.assert(!matches!(end, End::Closed(_)), || {
            format!("{what} {}: the connection is gone", end.told())
        })?;
    }
    let beside = running.finish(request).await.end;
    probe.assert(beside.is_ok(), || {
        format!("a generation on the same connection, running while broken messages came, {}", beside.told())
    })?;
    let health = probe.health_on(&connection, &probe.trace_id(), &probe.options()).await;
    health.informative()?;

    let mut unknown = Vec::new();
    for (what, end) in &ends {
        match end.code() {
            Some(Code::Unknown) => unknown.push(what.as_str()),
            code => probe.assert(matches!(code, Some(Code::InvalidArgument | Code::Internal)), || {
                format!("{what} {}, not INVALID_ARGUMENT or INTERNAL", end.told())
            })?,
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    Err(NotPassed::Inconclusive(format!(
        "the connection and other streams went on, but the code was UNKNOWN, not INVALID_ARGUMENT or INTERNAL ({}): \
         grpc.aio and grpc-java answer so by themselves, before the server's code is reached; wrap the request \
         deserialiser to mend it",
        unknown.join(", ")
    )))
}

async fn predict_bytes(probe: &Probe, connection: &Connection, bytes: &[u8], what: &str) -> End {
    let mut stream = probe.stream_on(connection).await;
    stream.send_bytes(bytes, what);
    stream.half_close();
    stream.finish(probe.request(1)).await.end
}

#[derive(Default)]
struct ClosesConnection;

#[tonic::async_trait]
impl Behaviour for ClosesConnection {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        if !request.uri().path().ends_with("/Health") {
            return next.run(request).await;
        }
        let (head, body) = request.into_parts();
        let bytes = read_whole(body).await;
        if contract::WorkerHealthRequest::decode(bytes.get(5..).unwrap_or_default()).is_err() {
            next.hang_up();
            return std::future::pending().await;
        }
        next.run(HttpRequest::from_parts(head, Body::new(http_body_util::Full::new(bytes)))).await
    }
}
