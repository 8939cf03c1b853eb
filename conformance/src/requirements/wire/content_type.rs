//! WIRE-010.

use http::HeaderValue;

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next},
    probe::{
        Answer, Probe,
        wire::{CallOptions, End, framed},
    },
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// A request whose content-type is not application/grpc* is answered HTTP 415.
    ///
    /// # Why it matters
    /// A browser sends `text/plain` and forms to any address without asking first. And a client that speaks something else
    /// gets a plain HTTP error that it understands, and not a grpc-status in trailers that it never reads.
    ///
    /// # How it is checked
    /// Health and StreamPredict are called with a legal message under the content-types `text/plain` and
    /// `application/x-www-form-urlencoded`, which no RPC protocol uses. Each call must get HTTP 415. Then the server must
    /// still serve. `application/json` is left out: some servers speak a second protocol under it.
    ///
    /// # What a violation looks like
    /// HTTP 200, with the call served or with a grpc-status.
    ///
    /// # References
    /// Contract, WIRE-010; gRPC over HTTP/2, "Requests" (Content-Type).
    id: "WIRE-010",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "another content-type is HTTP 415",
    check: check,
    mutant: AnyContentType, fault: "another content-type is served with HTTP 200", seen_as: "got HTTP 200",
}

const OTHERS: [&str; 2] = ["text/plain", "application/x-www-form-urlencoded"];
const UNSUPPORTED_MEDIA_TYPE: u16 = 415;

async fn check(probe: &Probe) -> Judgement {
    for method in ["Health", "StreamPredict"] {
        for content_type in OTHERS {
            let message = framed(&probe.legal(method, &probe.trace_id()));
            let options = CallOptions { content_type, ..probe.options() };
            let what = format!("the content-type {content_type}");
            let answer = probe.ask(method, &message, &what, &options).await?;
            let http = answer.head.as_ref().map(|head| head.status);
            probe.assert(http == Some(UNSUPPORTED_MEDIA_TYPE), || {
                format!(
                    "{}, not HTTP 415: let the HTTP server, or a proxy before it, refuse what does not begin with \
                     application/grpc",
                    got(&answer, http)
                )
            })?;
        }
    }
    probe.still_serves("calls with another content-type").await
}

fn got(answer: &Answer, http: Option<u16>) -> String {
    match (http, &answer.end) {
        (Some(http), End::Status(_)) => format!("{} got HTTP {http} ({})", answer.asked, answer.end),
        _ => answer.told(),
    }
}

#[derive(Default)]
struct AnyContentType;

#[tonic::async_trait]
impl Behaviour for AnyContentType {
    async fn http(&self, mut request: HttpRequest, next: Next<'_>) -> HttpResponse {
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        next.run(request).await
    }
}
