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
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// Bytes that are not the declared message end that call, and only that call, with a non-OK status; the connection
    /// and other streams go on. The same for a message that comes second on a stream.
    ///
    /// # Why it matters
    /// Gateways multiplex many users over one connection. If one client's broken bytes close it, the generations of
    /// all users on it are cut.
    ///
    /// # How it is checked
    /// On one connection a generation is running while Health, Control and StreamPredict are each sent bytes that are no
    /// protobuf message: a string that announces more bytes than follow, a tag with a wire type that does not exist,
    /// and, for StreamPredict, a request whose `generation` is truncated. Each broken call must end with a status other
    /// than OK; which one is WIRE-016's matter. The running generation must reach its end and Health must answer on the
    /// same connection. Then the bytes come second on a stream, after a good request: that call must end too, with a
    /// status other than OK, or with OK after the last message of the good request, where a server takes one request a
    /// stream.
    ///
    /// # What a violation looks like
    /// The connection closes; the call hangs or is reset without a status; or the bytes are taken for an empty request and
    /// answered OK.
    ///
    /// # References
    /// Contract, WIRE-007 and WIRE-016; gRPC, "Status codes" (INTERNAL for what cannot be parsed).
    id: "WIRE-007",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a broken message ends its own call only",
    check: check,
    mutant: ClosesConnection, fault: "the connection closes", seen_as: "connection",
}

/// A string field that announces five bytes where one follows, and a tag with the wire type 7.
pub(super) const BROKEN: [(&str, &[u8]); 2] =
    [("a truncated string", &[0x0A, 5, b'a']), ("the wire type 7", &[0x0F, 0xFF, 0xFF])];
/// Field 5, `generation`: one byte long, and that is a varint's tag without the varint.
pub(super) const BROKEN_NESTED: [u8; 3] = [0x2A, 1, 0x08];

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

    for (what, end) in &ends {
        probe.assert(end.code().is_some_and(|code| code != Code::Ok), || {
            format!("{what} {}, not with a status other than OK", end.told())
        })?;
    }
    second_on_a_stream(probe, &connection).await
}

/// A good request, and then bytes that are none.
async fn second_on_a_stream(probe: &Probe, connection: &Connection) -> Judgement {
    let what = "a stream with a good request and then a truncated string";
    let request = probe.request(8);
    let mut stream = probe.stream_on(connection).await;
    stream.send(&request);
    stream.send_bytes(BROKEN[0].1, BROKEN[0].0);
    stream.half_close();
    let generation = stream.finish(request).await;
    let end = &generation.end;
    probe.assert(!matches!(end, End::Closed(_)), || {
        format!("{what} {}: the connection is gone", end.told())
    })?;
    let last = generation.responses.iter().position(|r| r.message.end_of_stream);
    // One request a stream: the second is never looked at.
    let first_only = last.is_some_and(|at| at + 1 == generation.responses.len());
    probe.assert(end.code().is_some_and(|code| code != Code::Ok || first_only), || {
        let count = generation.responses.len();
        format!("{what} {} after {count} responses, not with a status other than OK", end.told())
    })?;
    let health = probe.health_on(connection, &probe.trace_id(), &probe.options()).await;
    health.informative().map_err(|why| why.when(&format!("after {what}")))?;
    Ok(())
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
