//! WIRE-006.

use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next},
    probe::{Probe, wire::End},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// An unknown method of the service is answered UNIMPLEMENTED.
    ///
    /// # Why it matters
    /// Clients probe for newer methods by calling them. UNIMPLEMENTED means "use the old way"; any other code looks
    /// like an outage and is retried, logged and paged.
    ///
    /// # How it is checked
    /// `NoSuchMethod`, `HealthX` and `health` are called, with an empty message. UNIMPLEMENTED is accepted as grpc-status, or
    /// as the HTTP 404 that every gRPC client turns into it. Then the server must still serve, so that a server
    /// which answers UNIMPLEMENTED to everything does not pass.
    ///
    /// # What a violation looks like
    /// INTERNAL, UNKNOWN, or OK.
    ///
    /// # References
    /// Contract, WIRE-006; gRPC, "Status codes" and "HTTP to gRPC status code mapping".
    id: "WIRE-006",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "an unknown method is UNIMPLEMENTED",
    check: check,
    mutant: UnknownIsInternal, fault: "an unknown method is INTERNAL", seen_as: "answered INTERNAL",
}

async fn check(probe: &Probe) -> Judgement {
    for method in ["NoSuchMethod", "HealthX", "health"] {
        let answer = probe.raw(&probe.path(method), &[], "an empty message").await?;
        let unimplemented = match &answer.end {
            End::NoStatus { http } => *http == 404,
            end => end.code() == Some(Code::Unimplemented),
        };
        probe
            .assert(unimplemented, || format!("{} {}, not UNIMPLEMENTED", answer.asked, answer.end.told()))?;
    }
    probe.still_serves("calls of unknown methods").await
}

#[derive(Default)]
struct UnknownIsInternal;

#[tonic::async_trait]
impl Behaviour for UnknownIsInternal {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        if request.uri().path().ends_with("/NoSuchMethod") {
            return Status::internal("no handler").into_http();
        }
        next.run(request).await
    }
}
