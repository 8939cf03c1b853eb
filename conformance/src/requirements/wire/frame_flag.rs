//! WIRE-018.

use bytes::Bytes;
use http_body_util::Full;
use tonic::{Code, body::Body};

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next, read_whole},
    probe::{
        METHODS, Probe,
        wire::{End, prefixed},
    },
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// A compressed flag without a message encoding, and a frame flag other than 0 and 1, are INTERNAL (or UNIMPLEMENTED).
    ///
    /// # Why it matters
    /// The flag says how to read the bytes behind it. A server that passes over it reads compressed bytes as a message, or
    /// bytes that are no message at all.
    ///
    /// # How it is checked
    /// Health, Control and StreamPredict are sent a legal message behind the flag 1, without a `grpc-encoding`, and behind
    /// the flags 2 and 255. Each call must end with INTERNAL or UNIMPLEMENTED; a reset that gRPC clients read as INTERNAL
    /// will do. Then the server must still serve.
    ///
    /// # What a violation looks like
    /// OK and an answer, as if the flag were 0.
    ///
    /// # References
    /// Contract, WIRE-018; gRPC, "Compression" (compressed flag without an encoding); gRPC over HTTP/2,
    /// "Length-Prefixed-Message" and "Errors".
    id: "WIRE-018",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a wrong frame flag is INTERNAL",
    check: check,
    mutant: PassesOverTheFlag, fault: "a wrong frame flag is OK", seen_as: "was answered OK",
}

const FLAGS: [(u8, &str); 3] =
    [(1, "a compressed flag and no grpc-encoding"), (2, "the frame flag 2"), (255, "the frame flag 255")];
/// Resets that gRPC clients read as INTERNAL (gRPC over HTTP/2, "Errors").
const READ_AS_INTERNAL: [&str; 5] =
    ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FRAME_SIZE_ERROR", "COMPRESSION_ERROR"];

async fn check(probe: &Probe) -> Judgement {
    for method in METHODS {
        for (flag, what) in FLAGS {
            let message = prefixed(flag, &probe.legal(method, &probe.trace_id()));
            let answer = probe.ask(method, &message, what, &probe.options()).await?;
            let right = match &answer.end {
                End::Reset(reason) => READ_AS_INTERNAL.contains(&reason.as_str()),
                end => matches!(end.code(), Some(Code::Internal | Code::Unimplemented)),
            };
            probe.assert(right, || format!("{}, not INTERNAL or UNIMPLEMENTED", answer.told()))?;
        }
    }
    probe.still_serves("wrong frame flags").await
}

#[derive(Default)]
struct PassesOverTheFlag;

#[tonic::async_trait]
impl Behaviour for PassesOverTheFlag {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        if !request.uri().path().ends_with("AiInference/Health") {
            return next.run(request).await;
        }
        let (head, body) = request.into_parts();
        let mut bytes = read_whole(body).await.to_vec();
        if let (Some(flag), None) = (bytes.first_mut(), head.headers.get("grpc-encoding")) {
            *flag = 0;
        }
        next.run(HttpRequest::from_parts(head, Body::new(Full::new(Bytes::from(bytes))))).await
    }
}
