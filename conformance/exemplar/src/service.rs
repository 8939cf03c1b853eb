//! From HTTP/2 requests to calls of a behaviour: one generic edge for both dialects.

use std::{collections::HashMap, convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use ai_inference_proto::{Dialect, GenerationRequest, GenerationResponse, contract};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use tokio::sync::{Notify, mpsc};
use tokio_stream::{StreamMap, wrappers::ReceiverStream};
use tonic::{
    Request, Response, Status, Streaming, body::Body, metadata::MetadataMap, server::Grpc, service::Routes,
};
use tonic_health::{ServingStatus, server::HealthReporter};
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
    pub(super) behaviour: Arc<dyn Behaviour>,
    pub(super) state: Arc<State>,
    standard: Routes,
    reporter: HealthReporter,
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

    /// What the exemplar remembers.
    pub fn state(&self) -> &State {
        &self.endpoint.state
    }

    /// Closes the connection that the request came on.
    pub fn hang_up(&self) {
        self.hang_up.notify_one();
    }
}

impl Endpoint {
    pub(super) fn new(behaviour: Arc<dyn Behaviour>, token: Option<String>) -> Self {
        let (standard, reporter) = standard_services(behaviour.as_ref());
        Self { behaviour, state: Arc::new(State::new(token)), standard, reporter }
    }

    /// Says that the server goes, and waits until it may.
    pub(super) async fn drain(&self) {
        for name in self.behaviour.dialects().iter().map(|dialect| dialect.service()).chain([""]) {
            self.reporter.set_service_status(name, ServingStatus::NotServing).await;
        }
        self.behaviour.drain(&self.state).await;
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
fn standard_services(behaviour: &dyn Behaviour) -> (Routes, HealthReporter) {
    let (reporter, health) = tonic_health::server::health_reporter();
    let names: Vec<&'static str> = behaviour.dialects().iter().map(|d| d.service()).collect();
    let at_first = reporter.clone();
    tokio::spawn(async move {
        for name in names {
            at_first.set_service_status(name, ServingStatus::Serving).await;
        }
    });
    let routes = Routes::new(health);
    let Some(sets) = behaviour.reflection() else { return (routes, reporter) };
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure();
        sets.iter().fold(builder, |b, set| b.register_encoded_file_descriptor_set(set))
    };
    let routes = match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes.add_service(v1).add_service(v1alpha),
        _ => routes, // a descriptor set that does not resolve cannot be shown
    };
    (routes, reporter)
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
            let deadline = deadline(request.metadata()).filter(|_| call.endpoint.behaviour.keeps_deadlines());
            tokio::spawn(async move {
                let requests: Requests = Box::pin(request.into_inner());
                let ended = tokio::select! {
                    ended = call.converse(requests, &sender) => ended,
                    () = tokio::time::sleep(deadline.unwrap_or_default()), if deadline.is_some() => {
                        Err(Status::deadline_exceeded("the call's deadline has passed"))
                    }
                };
                if let Err(status) = ended {
                    let _ = sender.send(Err(status)).await;
                }
            });
            Ok(Response::new(ReceiverStream::new(receiver)))
        })
    }
}

impl Call {
    /// Answers the requests of one call, each as soon as it comes.
    async fn converse(
        &self,
        requests: Requests,
        out: &mpsc::Sender<Result<Bytes, Status>>,
    ) -> Result<(), Status> {
        let Endpoint { behaviour, state, .. } = &self.endpoint;
        let mut requests = behaviour.requests(requests).await;
        let stops = behaviour.stops_on_cancel();
        let (mut running, mut unfinished) = (StreamMap::new(), HashMap::new());
        let (mut open, mut count) = (true, 0_usize);
        while open || !running.is_empty() {
            let room = open && running.len() < behaviour.at_once();
            tokio::select! {
                biased;
                () = out.closed(), if stops => return Ok(()), // the client has gone; a place in the queue is given back
                bytes = requests.next(), if room => {
                    let Some(bytes) = bytes else {
                        open = false;
                        continue;
                    };
                    let bytes = bytes?;
                    behaviour.received(&self.method, &bytes)?;
                    let request = behaviour.decode(self.dialect, &bytes)?;
                    behaviour.admit(state, &request)?;
                    let trace_id = request.trace_id().to_owned();
                    if !trace_id.is_empty() && unfinished.values().any(|id| *id == trace_id) {
                        behaviour.trace_in_use(&trace_id)?;
                    }
                    unfinished.insert(count, trace_id);
                    running.insert(count, self.answer(request));
                    count += 1;
                }
                Some((number, response)) = running.next(), if !running.is_empty() => {
                    let Some(response) = response else {
                        unfinished.remove(&number);
                        running.remove(&number);
                        continue;
                    };
                    let response = response?;
                    if response.end_of_stream {
                        unfinished.remove(&number); // its trace_id is free as soon as the client sees this
                    }
                    let bytes = self.dialect.encode_response(response);
                    if out.send(Ok(bytes.into())).await.is_err() {
                        return Ok(()); // the client has gone
                    }
                }
            }
        }
        if count == 0 { behaviour.no_request() } else { Ok(()) }
    }

    /// The responses to one request, once it is its turn, and then `None`.
    fn answer(&self, request: GenerationRequest) -> Answered {
        let Endpoint { behaviour, state, .. } = self.endpoint.clone();
        let responses = stream::once(async move {
            let turn = behaviour.turn(&state, &request).await?;
            let generated = State::generate(&state, &behaviour, &request, turn);
            Ok::<_, Status>(behaviour.respond(&request, generated))
        });
        Box::pin(responses.try_flatten().map(Some).chain(stream::iter([None])))
    }
}

/// The response with its body's trailers left out, and so without a grpc-status.
pub fn without_trailers(response: HttpResponse) -> HttpResponse {
    response.map(|body| {
        let data = body.into_data_stream().map(|data| data.map(Frame::data));
        Body::new(StreamBody::new(data))
    })
}

/// The responses to one request, closed by `None`.
type Answered = Pin<Box<dyn Stream<Item = Option<Result<GenerationResponse, Status>>> + Send>>;

/// The time that a caller gives its call (gRPC over HTTP/2, "Timeout").
fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(number.saturating_mul(60))),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Reads a body whole; mutants that judge a request by its bytes use it.
pub async fn read_whole(body: Body) -> Bytes {
    body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}
