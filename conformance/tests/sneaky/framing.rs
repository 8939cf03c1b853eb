//! Framing, encodings, content-types and statuses: faults that come with one method, one length or one call only, and
//! servers that keep the rule in another way.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ai_inference_proto::{Dialect, GenerationRequest, contract};
use bytes::Bytes;
use conformance::{
    events::Verdict::{Fail, Inconclusive, Pass},
    exemplar::{Behaviour, Conformant, HttpRequest, HttpResponse, Next, Requests, State, read_whole},
};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::{Code, Status, body::Body};
use wire::{PREFIX, framed, gunzip, gzip, prefixed};

use super::{
    Sneaky,
    behaviours::{Admits, OneAStream},
};

pub(super) static ALL: &[Sneaky] = &[
    Sneaky {
        name: "WIRE-009/unimplemented-and-no-word-of-what-is",
        behaviour: || {
            judged(
                |call| if call.is_gzip() { refuse(Status::unimplemented("no gzip")) } else { call.serve() },
            )
        },
        verdict: Fail,
        reason: "without grpc-accept-encoding",
        beside: &["WIRE-018"],
    },
    Sneaky {
        name: "WIRE-009/refuses-what-it-says-it-takes",
        behaviour: || {
            judged(|call| if call.is_gzip() { refuse(takes("gzip,identity")) } else { call.serve() })
        },
        verdict: Fail,
        reason: "though grpc-accept-encoding says \"gzip,identity\"",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-009/takes-it-for-an-empty-message",
        behaviour: || {
            judged(|call| if call.is_gzip() { Do::Serve(framed(&[]), false) } else { call.serve() })
        },
        verdict: Fail,
        reason: "the compressed message was not read",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-009/on-streams-only",
        behaviour: || {
            judged(|call| match call.method.as_str() {
                "StreamPredict" if call.is_gzip() => refuse(Status::internal("invalid wire type")),
                _ => call.decoded(),
            })
        },
        verdict: Fail,
        reason: "StreamPredict with a gzip-compressed message was answered INTERNAL",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-009/decodes-it",
        behaviour: || judged(Call::decoded),
        verdict: Pass,
        reason: "",
        beside: &["WIRE-018", "WIRE-005"],
    },
    Sneaky {
        name: "WIRE-009/decodes-it-and-answers-in-kind",
        behaviour: || {
            Arc::new(Gzips { decodes: true, header: true, which: |call, _| offers(&call.headers, "gzip") })
        },
        verdict: Pass,
        reason: "",
        beside: &["WIRE-015"],
    },
    Sneaky {
        name: "WIRE-010/on-streams-only",
        behaviour: || {
            judged(|call| match call.method.as_str() {
                "StreamPredict" => call.serve_as_grpc(),
                _ => call.serve(),
            })
        },
        verdict: Fail,
        reason: "StreamPredict with the content-type text/plain got HTTP 200",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-010/bad-request",
        behaviour: || {
            judged(|call| if call.is_grpc() { call.serve() } else { http(StatusCode::BAD_REQUEST) })
        },
        verdict: Fail,
        reason: "got HTTP 400",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-010/415-with-a-grpc-status",
        behaviour: || {
            judged(|call| {
                if call.is_grpc() {
                    return call.serve();
                }
                let mut response = Status::internal("invalid content-type").into_http();
                *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                Do::Answer(Box::new(response))
            })
        },
        verdict: Pass,
        reason: "",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-011/refusals-without-a-status",
        behaviour: || unstated(|call| call.headers_only),
        verdict: Fail,
        reason: "ended without a grpc-status",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-011/after-many-messages-only",
        behaviour: || unstated(|call| call.bytes > 1200),
        verdict: Fail,
        reason: "a generation of 40 tokens ended without a grpc-status",
        beside: &["STREAM-009"],
    },
    Sneaky {
        name: "WIRE-011/every-eleventh-call-only",
        behaviour: || unstated(|call| call.number > 30 && call.number % 11 == 10),
        verdict: Fail,
        reason: "ended without a grpc-status",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-011/among-many-calls-only",
        behaviour: || unstated(|call| call.at_once > 2),
        verdict: Fail,
        reason: "among calls at once",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "WIRE-011/404-for-an-unknown-method",
        behaviour: || {
            judged(|call| match call.method.as_str() {
                "Health" | "Control" | "StreamPredict" => call.serve(),
                _ => http(StatusCode::NOT_FOUND),
            })
        },
        verdict: Pass,
        reason: "",
        beside: &["WIRE-006"],
    },
    Sneaky {
        name: "WIRE-012/not-served",
        behaviour: || Arc::new(Checks(|_| Status::unimplemented("").into_http())),
        verdict: Fail,
        reason: "grpc.health.v1.Health is not served (UNIMPLEMENTED)",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-012/unknown-for-the-name",
        behaviour: || Arc::new(Checks(|name| checked(u8::from(name.is_empty())))),
        verdict: Fail,
        reason: "for \"AiInference\" says UNKNOWN",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-012/not-serving-for-no-name",
        behaviour: || Arc::new(Checks(|name| checked(if name.is_empty() { 2 } else { 1 }))),
        verdict: Fail,
        reason: "for \"\" says NOT_SERVING",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-013/a-limit-between-chinese-and-emoji",
        behaviour: || Arc::new(Limit(180_000)),
        verdict: Fail,
        reason: "in emoji (200 kB) for an unknown model was answered OUT_OF_RANGE",
        beside: &["WIRE-008"],
    },
    Sneaky {
        name: "WIRE-013/a-limit-on-the-way-to-the-model",
        behaviour: || {
            Arc::new(Admits(|request| {
                if request.model_id != UNKNOWN && request.prompt.len() > 65_536 {
                    return Err(Status::resource_exhausted("trying to send message larger than max"));
                }
                Ok(())
            }))
        },
        verdict: Fail,
        reason: "in emoji with spaces (183 kB) was answered RESOURCE_EXHAUSTED",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-013/the-connection-closes",
        behaviour: || judged(|call| if call.body.len() > 65_536 { Do::HangUp } else { call.serve() }),
        verdict: Fail,
        reason: "in Arabic (88 kB) for an unknown model lost its connection",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-013/a-short-context",
        behaviour: || {
            Arc::new(Admits(|request| match request.prompt.chars().count() {
                0..=4000 => Ok(()),
                _ => Err(Status::invalid_argument("the prompt is longer than the context")),
            }))
        },
        verdict: Pass,
        reason: "",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-013/full-now-and-then",
        behaviour: || Arc::new(FullNowAndThen::default()),
        verdict: Pass,
        reason: "",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-013/the-model-breaks",
        behaviour: || {
            Arc::new(Admits(|request| match request.prompt.len() {
                0..=65_536 => Ok(()),
                _ if request.model_id == UNKNOWN => Ok(()),
                _ => Err(Status::internal("out of memory")),
            }))
        },
        verdict: Inconclusive,
        reason: "it came through to the server",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-015/on-long-answers-only",
        behaviour: || Arc::new(Gzips { decodes: false, header: true, which: |_, length| length > 1000 }),
        verdict: Fail,
        reason: "Control with an offer of no encoding, and a long command was answered with grpc-encoding \"gzip\"",
        beside: &["WIRE-009"],
    },
    Sneaky {
        name: "WIRE-015/and-no-header-says-so",
        behaviour: || Arc::new(Gzips { decodes: false, header: false, which: |_, _| true }),
        verdict: Fail,
        reason: "a compressed message, though the client offered no compression",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-015/any-offer-is-taken-for-gzip",
        behaviour: || {
            Arc::new(Gzips { decodes: true, header: true, which: |call, _| offers(&call.headers, "") })
        },
        verdict: Fail,
        reason: "an offer of identity alone was answered with grpc-encoding \"gzip\"",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-016/health-only",
        behaviour: || Arc::new(HealthSaysUnknown),
        verdict: Fail,
        reason: "Health with a truncated string was answered UNKNOWN",
        beside: &["WIRE-007"],
    },
    Sneaky {
        name: "WIRE-016/a-second-message-only",
        behaviour: || Arc::new(SecondIsUnknown),
        verdict: Fail,
        reason: "a good request and then a truncated string was answered UNKNOWN",
        beside: &["WIRE-007"],
    },
    Sneaky {
        name: "WIRE-016/invalid-argument",
        behaviour: || Arc::new(InvalidArgument),
        verdict: Pass,
        reason: "",
        beside: &["WIRE-007"],
    },
    Sneaky {
        name: "WIRE-016/one-request-a-stream",
        behaviour: || Arc::new(OneAStream),
        verdict: Pass,
        reason: "",
        beside: &["WIRE-007", "WIRE-011"],
    },
    Sneaky {
        name: "WIRE-017/nothing-is-an-empty-message",
        behaviour: || {
            judged(|call| if call.body.is_empty() { Do::Serve(framed(&[]), false) } else { call.serve() })
        },
        verdict: Fail,
        reason: "Health with no message was answered OK",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-017/waits-for-the-last-byte",
        behaviour: || {
            judged(|call| match call.body.get(PREFIX..) {
                Some(message) if call.method == "Control" && message.len() < call.announced() => Do::Hang,
                _ => call.serve(),
            })
        },
        verdict: Fail,
        reason: "Control with a prefix and no message got no answer within",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-017/bad-request",
        behaviour: || {
            judged(|call| match call.body.get(PREFIX..) {
                Some(message) if message.len() == call.announced() => call.serve(),
                _ => http(StatusCode::BAD_REQUEST),
            })
        },
        verdict: Pass,
        reason: "",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-018/above-127-only",
        behaviour: || judged(|call| if call.flag() > 127 { call.with_flag(0) } else { call.serve() }),
        verdict: Fail,
        reason: "the frame flag 255 was answered OK",
        beside: &["WIRE-009"],
    },
    Sneaky {
        name: "WIRE-018/on-streams-only",
        behaviour: || {
            judged(|call| match call.method.as_str() {
                "StreamPredict" if !call.is_gzip() => call.with_flag(0),
                _ => call.serve(),
            })
        },
        verdict: Fail,
        reason: "StreamPredict with a compressed flag and no grpc-encoding was answered OK",
        beside: &["WIRE-009"],
    },
    Sneaky {
        name: "WIRE-018/invalid-argument",
        behaviour: || {
            judged(
                |call| if call.flag() > 1 { refuse(Status::invalid_argument("flag")) } else { call.serve() },
            )
        },
        verdict: Fail,
        reason: "was answered INVALID_ARGUMENT \"flag\", not INTERNAL or UNIMPLEMENTED",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-018/unimplemented",
        behaviour: || judged(|call| if call.flag() > 0 { refuse(takes("identity")) } else { call.serve() }),
        verdict: Pass,
        reason: "",
        beside: &["WIRE-009"],
    },
];

const UNKNOWN: &str = "no-such-model";
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// One call of the service, read whole.
struct Call {
    method: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What is done with a call.
enum Do {
    /// Served as the exemplar does, with these bytes; the flag says that its content-type is taken for gRPC's.
    Serve(Bytes, bool),
    Answer(Box<HttpResponse>),
    Hang,
    HangUp,
}

impl Call {
    fn is_gzip(&self) -> bool {
        self.headers.get("grpc-encoding").is_some_and(|encoding| encoding == "gzip")
    }

    fn is_grpc(&self) -> bool {
        self.headers.get("content-type").is_some_and(|t| t.as_bytes().starts_with(b"application/grpc"))
    }

    fn flag(&self) -> u8 {
        self.body.first().copied().unwrap_or_default()
    }

    /// Bytes that the first message is to have.
    fn announced(&self) -> usize {
        let length = self.body.get(1..PREFIX).and_then(|length| length.try_into().ok());
        length.map_or(usize::MAX, |length| u32::from_be_bytes(length) as usize)
    }

    fn serve(self) -> Do {
        Do::Serve(self.body, false)
    }

    fn serve_as_grpc(self) -> Do {
        Do::Serve(self.body, true)
    }

    fn with_flag(self, flag: u8) -> Do {
        let body = self.body.get(1..).map(|rest| [&[flag], rest].concat()).unwrap_or_default();
        Do::Serve(body.into(), false)
    }

    /// Served as what the compressed message holds.
    fn decoded(self) -> Do {
        match self.body.split_at_checked(PREFIX) {
            Some((prefix, message)) if prefix[0] == 1 && self.is_gzip() => {
                Do::Serve(framed(&gunzip(message, 1 << 20).expect("gzip")), false)
            }
            _ => self.serve(),
        }
    }
}

fn refuse(status: Status) -> Do {
    Do::Answer(Box::new(status.into_http()))
}

fn http(status: StatusCode) -> Do {
    let mut response = HttpResponse::new(Body::empty());
    *response.status_mut() = status;
    Do::Answer(Box::new(response))
}

/// UNIMPLEMENTED, with these encodings as those that are taken.
fn takes(encodings: &'static str) -> Status {
    let mut status = Status::unimplemented("Content is compressed with `gzip` which isn't supported");
    status.metadata_mut().insert("grpc-accept-encoding", encodings.parse().expect("a header's value"));
    status
}

/// A server that looks at whole calls of the service. Its streams must be half-closed at once.
struct Judged(fn(Call) -> Do);

fn judged(with: fn(Call) -> Do) -> Arc<dyn Behaviour> {
    Arc::new(Judged(with))
}

#[tonic::async_trait]
impl Behaviour for Judged {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        let Some(method) = method_of(&request) else { return next.run(request).await };
        let (mut head, body) = request.into_parts();
        let call = Call { method, headers: head.headers.clone(), body: read_whole(body).await };
        match (self.0)(call) {
            Do::Serve(body, as_grpc) => {
                if body.first() == Some(&0) {
                    head.headers.remove("grpc-encoding");
                }
                if as_grpc {
                    head.headers.insert("content-type", HeaderValue::from_static("application/grpc"));
                }
                next.run(HttpRequest::from_parts(head, Body::new(Full::new(body)))).await
            }
            Do::Answer(response) => *response,
            Do::Hang => std::future::pending().await,
            Do::HangUp => {
                next.hang_up();
                std::future::pending().await
            }
        }
    }
}

fn method_of(request: &HttpRequest) -> Option<String> {
    let (service, method) = request.uri().path().trim_start_matches('/').split_once('/')?;
    Dialect::of_service(service).map(|_| method.to_owned())
}

fn offers(headers: &HeaderMap, encoding: &str) -> bool {
    let offered = headers.get("grpc-accept-encoding").and_then(|value| value.to_str().ok());
    offered.is_some_and(|offered| offered.contains(encoding))
}

/// Compresses the answers of unary calls, where `which` says so of the call and of the answer's length.
struct Gzips {
    decodes: bool,
    header: bool,
    which: fn(&Call, usize) -> bool,
}

#[tonic::async_trait]
impl Behaviour for Gzips {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        let Some(method) = method_of(&request) else { return next.run(request).await };
        let (mut head, body) = request.into_parts();
        let call = Call { method, headers: head.headers.clone(), body: read_whole(body).await };
        let again =
            Call { method: call.method.clone(), headers: call.headers.clone(), body: call.body.clone() };
        let mut bytes = call.body.clone();
        if let (true, Do::Serve(decoded, _)) = (self.decodes, again.decoded()) {
            head.headers.remove("grpc-encoding");
            bytes = decoded;
        }
        let response = next.run(HttpRequest::from_parts(head, Body::new(Full::new(bytes)))).await;
        if call.method == "StreamPredict" || response.headers().contains_key("grpc-status") {
            return response;
        }
        let (mut head, body) = response.into_parts();
        let body = body.collect().await.expect("the exemplar answers");
        let (trailers, bytes) = (body.trailers().cloned(), body.to_bytes());
        let compress = (self.which)(&call, bytes.len());
        if compress && self.header {
            head.headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
        }
        let bytes = if compress { prefixed(1, &gzip(&bytes[PREFIX..])) } else { bytes };
        let body = Full::new(bytes).with_trailers(async move { trailers.map(Ok) });
        HttpResponse::from_parts(head, Body::new(body))
    }
}

/// What is known of a call at its end.
struct Ended {
    number: usize,
    at_once: usize,
    /// Of its messages: how many frames carry them depends on the machine.
    bytes: usize,
    headers_only: bool,
}

/// Leaves out the grpc-status of some calls of the service.
struct Unstated {
    which: fn(&Ended) -> bool,
    calls: AtomicUsize,
    open: Arc<AtomicUsize>,
}

fn unstated(which: fn(&Ended) -> bool) -> Arc<dyn Behaviour> {
    Arc::new(Unstated { which, calls: AtomicUsize::new(0), open: Arc::default() })
}

#[tonic::async_trait]
impl Behaviour for Unstated {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        let (which, open) = (self.which, Arc::clone(&self.open));
        if method_of(&request).is_none() {
            return next.run(request).await;
        }
        let mut ended = Ended {
            number: self.calls.fetch_add(1, Ordering::Relaxed),
            at_once: open.fetch_add(1, Ordering::Relaxed),
            bytes: 0,
            headers_only: false,
        };
        let mut response = next.run(request).await;
        if response.headers().contains_key("grpc-status") {
            open.fetch_sub(1, Ordering::Relaxed);
            ended.headers_only = true;
            if which(&ended) {
                response.headers_mut().remove("grpc-status");
            }
            return response;
        }
        response.map(|body| {
            Body::new(body.map_frame(move |mut frame| {
                ended.bytes += frame.data_ref().map_or(0, Bytes::len);
                if let Some(trailers) = frame.trailers_mut() {
                    open.fetch_sub(1, Ordering::Relaxed);
                    if which(&ended) {
                        trailers.remove("grpc-status");
                    }
                }
                frame
            }))
        })
    }
}

/// Answers grpc.health.v1's Check by the name that is asked for.
struct Checks(fn(&str) -> HttpResponse);

#[tonic::async_trait]
impl Behaviour for Checks {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        if request.uri().path() != CHECK {
            return next.run(request).await;
        }
        let bytes = read_whole(request.into_body()).await;
        // Behind the prefix: nothing, or a field's tag, a length and the name.
        let name = bytes.get(PREFIX + 2..).unwrap_or_default();
        (self.0)(std::str::from_utf8(name).expect("a name"))
    }
}

/// OK, with this serving status; zero is left out on the wire.
fn checked(status: u8) -> HttpResponse {
    let message = if status == 0 { Vec::new() } else { vec![8, status] };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(framed(&message)).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = HttpResponse::new(Body::new(body));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

struct Limit(usize);

impl Behaviour for Limit {
    fn message_limit(&self) -> usize {
        self.0
    }
}

/// Every second request with a long prompt finds no room.
#[derive(Default)]
struct FullNowAndThen {
    long: AtomicUsize,
}

impl Behaviour for FullNowAndThen {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        if request.prompt.len() > 1000 && self.long.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err(Status::resource_exhausted("the queue is full"));
        }
        state.admit(request)
    }
}

struct HealthSaysUnknown;

impl Behaviour for HealthSaysUnknown {
    fn received(&self, method: &str, bytes: &Bytes) -> Result<(), Status> {
        if method == "Health" && contract::WorkerHealthRequest::decode(bytes.clone()).is_err() {
            return Err(Status::unknown("Exception deserializing request!"));
        }
        Ok(())
    }
}

struct SecondIsUnknown;

#[tonic::async_trait]
impl Behaviour for SecondIsUnknown {
    async fn requests(&self, requests: Requests) -> Requests {
        Box::pin(requests.enumerate().map(|(at, request)| match request {
            Ok(bytes) if at > 0 && Dialect::Contract.decode_request(&bytes).is_err() => {
                Err(Status::new(Code::Unknown, "Exception deserializing request!"))
            }
            other => other,
        }))
    }
}

struct InvalidArgument;

impl Behaviour for InvalidArgument {
    fn decode(&self, dialect: Dialect, bytes: &Bytes) -> Result<GenerationRequest, Status> {
        Conformant.decode(dialect, bytes).map_err(|_| Status::invalid_argument("not a StreamPredictRequest"))
    }
}
