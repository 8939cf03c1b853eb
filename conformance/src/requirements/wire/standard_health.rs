//! WIRE-012.

use http_body_util::Full;
use tonic::{Code, Status, body::Body};
use tonic_health::pb::health_check_response::ServingStatus;

use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next, read_whole},
    probe::{Probe, quote, wire::End},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// grpc.health.v1.Health/Check answers SERVING for "" and for the service's full name.
    ///
    /// # Why it matters
    /// Kubernetes, Envoy and gRPC's own load balancing ask this service and no other. Where it is missing, or does not know
    /// the name, they take a healthy server out.
    ///
    /// # How it is checked
    /// Check is called for the name "" and for the full name of the service in the dialect in use, twice each. Every call
    /// must be answered OK with the status SERVING. Then the server must still serve, so that SERVING is true.
    ///
    /// # What a violation looks like
    /// UNIMPLEMENTED, where the service is not there; NOT_FOUND or SERVICE_UNKNOWN for the service's name; NOT_SERVING.
    ///
    /// # References
    /// Contract, WIRE-012; gRPC, "Health Checking Protocol".
    id: "WIRE-012",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "grpc.health.v1 answers SERVING",
    check: check,
    mutant: ForgetsTheName, fault: "NOT_FOUND for the service's name", seen_as: "was answered NOT_FOUND",
}

const ROUNDS: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    let full_name = probe.dialect().service();
    for name in ["", full_name].repeat(ROUNDS) {
        let checked = probe.standard_check(name).await?;
        let absent = checked.as_ref().err().filter(|end| is_absent(end));
        probe.assert(absent.is_none(), || {
            let end = absent.map_or_else(String::new, ToString::to_string);
            format!(
                "grpc.health.v1.Health is not served ({end}): add the health service of the gRPC library, and set \"\" and \
                 {full_name:?} to SERVING in it"
            )
        })?;
        probe.assert(checked == Ok(ServingStatus::Serving), || {
            let told = match checked {
                Ok(status) => format!("says {}", status.as_str_name()),
                Err(end) => end.told(),
            };
            format!("grpc.health.v1.Health/Check for {} {told}, not OK with SERVING", quote(name, 60))
        })?;
    }
    probe.still_serves("SERVING").await
}

/// No such path, or no such method.
fn is_absent(end: &End) -> bool {
    *end == End::NoStatus { http: 404 } || end.code() == Some(Code::Unimplemented)
}

#[derive(Default)]
struct ForgetsTheName;

#[tonic::async_trait]
impl Behaviour for ForgetsTheName {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        if request.uri().path() != "/grpc.health.v1.Health/Check" {
            return next.run(request).await;
        }
        let (head, body) = request.into_parts();
        let bytes = read_whole(body).await;
        if bytes.ends_with(b"AiInference") {
            return Status::not_found("unknown service").into_http();
        }
        next.run(HttpRequest::from_parts(head, Body::new(Full::new(bytes)))).await
    }
}
