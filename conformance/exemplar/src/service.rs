//! From HTTP/2 requests to calls of a behaviour: one generic edge for both dialects.

use std::{convert::Infallible, pin::Pin, sync::Arc};

use ai_inference_proto::{Dialect, contract};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use prost::Message as _;
use tokio::sync::{Notify, mpsc};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, body::Body, server::Grpc, service::Routes};
use tower_service::Service as _;

use super::{
    behaviour::{Behaviour, Requests},
    codec::BytesCodec,
    state::State,
};

/// An HTTP request to the endpoint.
pub type HttpRequest = http::Request<Body>;
/// The HTTP response to a call.
pub type HttpResponse = http::Response<Body>;

/// Responses that wait for the transport.
const CHANNEL: usize = 4;

/// An endpoint: a behaviour, its state, and the standard services beside it.
#[derive(Clone)]
pub(super) struct Endpoint {
    behaviour: Arc<dyn Behaviour>,
    state: Arc<State>,
    standard: Routes,
}

/// What comes after [`Behaviour::http`].
pub struct Next<'a> {
    endpoint: &'a Endpoint,
    hang_up: Arc<Notify>,
}

impl Next<'_> {
    /// Answers as the exemplar would.
    pub async fn run(self, request: HttpRequest) -> HttpResponse {
        self.endpoint.dispatch(request).await
    }

    /// Closes the connection that the request came on.
    pub fn hang_up(&self) {
        self.hang_up.notify_one();
    }
}

impl Endpoint {
    pub(super) fn new(behaviour: Arc<dyn Behaviour>, token: Option<String>) -> Self {
        let standard = standard_services(behaviour.as_ref());
        Self { behaviour, state: Arc::new(State::new(token)), standard }
    }

    /// Answers one request of the connection that `hang_up` closes.
    pub(super) async fn answer(
        self,
        request: http::Request<hyper::body::Incoming>,
        hang_up: Arc<Notify>,
    ) -> Result<HttpResponse, Infallible> {
        let next = Next { endpoint: &self, hang_up };
        Ok(self.behaviour.http(request.map(Body::new), next).await)
    }

    async fn dispatch(&self, request: HttpRequest) -> HttpResponse {
        let content_type = request.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("");
        if !content_type.starts_with("application/grpc") {
            let mut response = http::Response::new(Body::empty());
            *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        let path = request.uri().path().to_owned();
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        let dialect = Dialect::of_service(service).filter(|d| self.behaviour.dialects().contains(d));
        let Some(dialect) = dialect else {
            let answer = self.standard.clone().call(request).await;
            return answer.unwrap_or_else(|never| match never {});
        };
        let limit = self.behaviour.message_limit();
        let mut grpc = Grpc::new(BytesCodec).max_decoding_message_size(limit);
        let call = Call { endpoint: self.clone(), dialect, method: method.to_owned() };
        if let Err(status) = self.behaviour.authorize(&self.state, method, request.headers()) {
            return status.into_http();
        }
        match method {
            "StreamPredict" => grpc.streaming(call, request).await,
            "Control" | "Health" => grpc.unary(call, request).await,
            _ => Status::unimplemented(format!("unknown method {method}")).into_http(),
        }
    }
}

/// Reflection and grpc.health.v1, as tonic serves them.
fn standard_services(behaviour: &dyn Behaviour) -> Routes {
    let (reporter, health) = tonic_health::server::health_reporter();
    let names: Vec<&'static str> = behaviour.dialects().iter().map(|d| d.service()).collect();
    tokio::spawn(async move {
        for name in names {
            reporter.set_service_status(name, tonic_health::ServingStatus::Serving).await;
        }
    });
    let routes = Routes::new(health);
    let Some(sets) = behaviour.reflection() else { return routes };
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure();
        sets.iter().fold(builder, |b, set| b.register_encoded_file_descriptor_set(set))
    };
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes.add_service(v1).add_service(v1alpha),
        _ => routes, // a descriptor set that does not resolve cannot be shown
    }
}

/// One call of a known service.
#[derive(Clone)]
struct Call {
    endpoint: Endpoint,
    dialect: Dialect,
    method: String,
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

impl tonic::server::UnaryService<Bytes> for Call {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let Call { endpoint, method, .. } = self.clone();
        Box::pin(async move {
            let bytes = request.into_inner();
            endpoint.behaviour.received(&method, &bytes)?;
            let broken = |error: prost::DecodeError| Status::internal(format!("failed to decode: {error}"));
            // Health's and Control's messages are the same in both dialects (contract, section 0).
            let answer = if method == "Health" {
                let request = contract::WorkerHealthRequest::decode(bytes).map_err(broken)?;
                let answer = endpoint.behaviour.health(&endpoint.state, &request.trace_id).await?;
                contract::WorkerHealthResponse::from(answer).encode_to_vec()
            } else {
                let request = contract::ControlMessage::decode(bytes).map_err(broken)?;
                let answer = endpoint.behaviour.control(&endpoint.state, request.into()).await?;
                contract::ControlMessage::from(answer).encode_to_vec()
            };
            Ok(Response::new(answer.into()))
        })
    }
}

impl tonic::server::StreamingService<Bytes> for Call {
    type Response = Bytes;
    type ResponseStream = ReceiverStream<Result<Bytes, Status>>;
    type Future = Answer<Self::ResponseStream>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let call = self.clone();
        Box::pin(async move {
            let (sender, receiver) = mpsc::channel(CHANNEL);
            tokio::spawn(async move {
                let requests: Requests = Box::pin(request.into_inner());
                if let Err(status) = call.converse(requests, &sender).await {
                    let _ = sender.send(Err(status)).await;
                }
            });
            Ok(Response::new(ReceiverStream::new(receiver)))
        })
    }
}

impl Call {
    /// Answers the requests of one call, one after the other.
    async fn converse(
        &self,
        requests: Requests,
        out: &mpsc::Sender<Result<Bytes, Status>>,
    ) -> Result<(), Status> {
        let Endpoint { behaviour, state, .. } = &self.endpoint;
        let mut requests = behaviour.requests(requests).await;
        let mut none = true;
        while let Some(bytes) = requests.next().await {
            none = false;
            let bytes = bytes?;
            behaviour.received(&self.method, &bytes)?;
            let request = behaviour.decode(self.dialect, &bytes)?;
            behaviour.admit(state, &request)?;
            let stops = behaviour.stops_on_cancel();
            let turn = tokio::select! {
                turn = behaviour.turn(&request) => turn?,
                () = out.closed(), if stops => return Ok(()), // a place in the queue is given back
            };
            let script = behaviour.speak(&request);
            let generated = state.generate(&request, script, turn, stops);
            let mut responses = behaviour.respond(&request, generated);
            while let Some(response) = responses.next().await {
                let bytes = self.dialect.encode_response(response?);
                if out.send(Ok(bytes.into())).await.is_err() {
                    return Ok(()); // the client has gone
                }
            }
        }
        if none { behaviour.no_request() } else { Ok(()) }
    }
}

/// Reads a body whole; mutants that judge a request by its bytes use it.
pub async fn read_whole(body: Body) -> Bytes {
    body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}
