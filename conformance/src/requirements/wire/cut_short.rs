//! WIRE-017.

use http_body_util::Full;
use tonic::{Code, body::Body};

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next, read_whole},
    probe::{
        Probe,
        wire::{End, PREFIX, framed},
    },
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// A unary call that is half-closed without its message, or whose frame is cut short, ends with a non-OK status; it
    /// does not hang.
    ///
    /// # Why it matters
    /// A client that breaks off leaves half a message. A server that goes on waiting for the rest keeps the call, its
    /// memory and perhaps a thread for ever; one that takes nothing for an empty message answers what was not asked.
    ///
    /// # How it is checked
    /// Health and Control are half-closed without any bytes, after three of the five bytes of a message's prefix, after the
    /// whole prefix, and one byte before the message's end. Each call must end with a status other than OK. A reset will do,
    /// which every gRPC client turns into such a status, and so will an HTTP error. Then the server must still serve.
    ///
    /// # What a violation looks like
    /// No answer until the client's deadline; or OK.
    ///
    /// # References
    /// Contract, WIRE-017; gRPC over HTTP/2, "Length-Prefixed-Message" and "Errors".
    id: "WIRE-017",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a unary call without its whole message ends",
    check: check,
    mutant: WaitsForTheMessage, fault: "a call without its message gets no answer", seen_as: "got no answer within",
}

async fn check(probe: &Probe) -> Judgement {
    for method in ["Health", "Control"] {
        let whole = framed(&probe.legal(method, &probe.trace_id()));
        for (what, length) in [
            ("no message", 0),
            ("three bytes of a prefix", 3),
            ("a prefix and no message", PREFIX),
            ("a message without its last byte", whole.len() - 1),
        ] {
            let answer = probe.ask(method, &whole[..length], what, &probe.options()).await?;
            probe.assert(is_refusal(&answer.end), || {
                format!("{}, not with a status other than OK", answer.told())
            })?;
        }
    }
    probe.still_serves("calls without their whole message").await
}

/// A status other than OK, or what every gRPC client turns into one.
fn is_refusal(end: &End) -> bool {
    match end {
        End::Status(status) => status.code != Code::Ok,
        End::NoStatus { http } => *http >= 400,
        End::Reset(_) => true,
        End::Closed(_) | End::Malformed(_) | End::TimedOut(_) => false,
    }
}

#[derive(Default)]
struct WaitsForTheMessage;

#[tonic::async_trait]
impl Behaviour for WaitsForTheMessage {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        if !request.uri().path().ends_with("AiInference/Health") {
            return next.run(request).await;
        }
        let (head, body) = request.into_parts();
        let bytes = read_whole(body).await;
        if bytes.is_empty() {
            return std::future::pending().await;
        }
        next.run(HttpRequest::from_parts(head, Body::new(Full::new(bytes)))).await
    }
}
