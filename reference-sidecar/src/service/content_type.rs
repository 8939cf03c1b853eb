//! WIRE-010: what is not gRPC is answered as HTTP answers it.

use http::{HeaderMap, Request, Response, StatusCode, header::CONTENT_TYPE};

/// 415 for any content type but gRPC's.
pub(super) fn check<B, R: Default>(request: &Request<B>) -> Option<Response<R>> {
    if is_grpc(request.headers()) {
        return None;
    }
    let mut refusal = Response::new(R::default());
    *refusal.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Some(refusal)
}

/// `application/grpc`, with a message format or parameters behind it; not gRPC-Web, which is another protocol.
fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let rest = value.and_then(|value| value.strip_prefix("application/grpc"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']))
}
