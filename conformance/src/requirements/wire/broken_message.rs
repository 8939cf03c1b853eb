//! WIRE-007.

use ai_inference_proto::contract;
use prost::Message as _;
use tonic::{Code, body::Body};

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next, read_whole},
    probe::{Probe, wire::End},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// Bytes that are not the declared message end the call with INVALID_ARGUMENT or INTERNAL; the connection and
    /// other streams go on.
    ///
    /// # Why it matters
    /// Gateways multiplex many users over one connection. If one client's broken bytes close it, everybody's
    /// generation is cut.
    ///
    /// # How it is checked
    /// On one connection a generation is running while Health, Control and StreamPredict are each sent bytes that
    /// are no protobuf message (a string that announces more bytes than follow, and a tag with a wire type that
    /// does not exist). Each of these calls must end with INVALID_ARGUMENT or INTERNAL; then the running generation
    /// must reach its end, and Health must answer, on the same connection.
    ///
    /// # What a violation looks like
    /// The connection closes; the call hangs; or the bytes are taken for an empty request and answered OK.
    ///
    /// # References
    /// Contract, WIRE-007; gRPC, "Status codes" (INTERNAL for what cannot be parsed).
    id: "WIRE-007",
    level: Must,
    roles: [Server],
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a broken message ends its own call only",
    check: check,
    mutant: ClosesConnection, fault: "the connection closes", seen_as: "connection",
}

/// A string field that announces five bytes where one follows, and a tag with the wire type 7.
const BROKEN: [(&str, &[u8]); 2] =
    [("a truncated string", &[0x0A, 5, b'a']), ("the wire type 7", &[0x0F, 0xFF, 0xFF])];

async fn check(probe: &Probe) -> Judgement {
    let connection = probe.connection().await?;
    let request = probe.request(64);
    let mut running = probe.stream_on(&connection).await;
    running.send(&request);
    running.half_close();
    running.first_text().await?;
    for (what, bytes) in BROKEN {
        for method in ["Health", "Control"] {
            let end = probe.unary_on(&connection, method, bytes, what, &probe.options()).await.end;
            refused(probe, method, what, &end)?;
        }
        let mut stream = probe.stream_on(&connection).await;
        stream.send_bytes(bytes, what);
        stream.half_close();
        refused(probe, "StreamPredict", what, &stream.finish(probe.request(1)).await.end)?;
    }
    probe.assert(connection.closed().is_none(), || {
        format!("the connection was lost after broken messages: {}", connection.closed().unwrap_or_default())
    })?;
    let generation = running.finish(request).await;
    probe.assert(generation.end.is_ok(), || {
        format!(
            "a generation on the same connection, running while broken messages came, {}",
            generation.end.told()
        )
    })?;
    let health = probe.health_on(&connection, &probe.trace_id(), &probe.options()).await;
    probe.assert(health.end.is_ok(), || {
        format!("after broken messages, Health on the same connection {}", health.end.told())
    })
}

fn refused(probe: &Probe, method: &str, what: &str, end: &End) -> Judgement {
    probe.assert(matches!(end.code(), Some(Code::InvalidArgument | Code::Internal)), || {
        format!("{method} with broken bytes ({what}) {}, not INVALID_ARGUMENT or INTERNAL", end.told())
    })
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
