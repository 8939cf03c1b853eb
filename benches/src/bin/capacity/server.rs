//! What both clients read from: an endpoint that sends ready-made chunks as fast as they are taken, each in a DATA frame of
//! its own as a server that sends a token when it has one. Everything besides StreamPredict is the exemplar's.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use ai_inference_proto::{Dialect, GenerationResponse};
use bytes::{BufMut as _, Bytes, BytesMut};
use exemplar::{self, Behaviour, HttpRequest, HttpResponse, Next};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Status, body::Body};

use super::cores;

/// Serves until it is killed; says where on standard output, as every server here.
pub(crate) fn serve() -> anyhow::Result<()> {
    cores::take_last();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listen = ["127.0.0.1:0".parse()?];
        let running = exemplar::serve(Arc::new(Hose::default()), &listen, None).await?;
        println!("listening on {}", running.addresses[0]);
        std::future::pending().await
    })
}

/// Generations of every length that was asked for, ready to be sent.
#[derive(Debug, Default)]
struct Hose(Mutex<BTreeMap<(Dialect, i64), Chunks>>);

/// Messages in gRPC's framing.
type Chunks = Arc<[Bytes]>;

#[tonic::async_trait]
impl Behaviour for Hose {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        let path = request.uri().path().trim_start_matches('/');
        let dialect = path.strip_suffix("/StreamPredict").and_then(Dialect::of_service);
        let Some(dialect) = dialect else { return next.run(request).await };
        let message = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        let asked = message.ok().and_then(|bytes| dialect.decode_request(bytes.get(PREFIX..)?).ok());
        let Some(asked) = asked else { return Status::internal("not a request").into_http() };
        let tokens = asked.sampling.unwrap_or_default().max_new_tokens;
        self.answer(dialect, tokens.clamp(1, MOST_TOKENS))
    }
}

impl Hose {
    fn answer(&self, dialect: Dialect, tokens: i64) -> HttpResponse {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = ready.entry((dialect, tokens)).or_insert_with(|| generation(dialect, tokens));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let generation = Sending { chunks: Arc::clone(generation), at: 0, in_turn: 0 };
        let frames = generation.chain(tokio_stream::once(Frame::trailers(trailers))).map(Ok::<_, Infallible>);
        let mut response = Response::new(Body::new(StreamBody::new(frames)));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    }
}

/// A generation, a few chunks a turn: what all streams have ready at once fits into a cache.
struct Sending {
    chunks: Chunks,
    at: usize,
    in_turn: usize,
}

impl Stream for Sending {
    type Item = Frame<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.in_turn == TURN {
            self.in_turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunk = self.chunks.get(self.at).cloned();
        self.at += 1;
        self.in_turn += 1;
        Poll::Ready(chunk.map(Frame::data))
    }
}

fn generation(dialect: Dialect, tokens: i64) -> Chunks {
    let message = |index| {
        let end_of_stream = index == tokens;
        let chunk = if end_of_stream { String::new() } else { " river".to_owned() };
        let trace_id = "bench-1234".to_owned();
        let response =
            GenerationResponse { trace_id, chunk, index, end_of_stream, ..GenerationResponse::default() };
        let message = dialect.encode_response(response);
        let mut framed = BytesMut::with_capacity(PREFIX + message.len());
        framed.put_u8(0);
        framed.put_u32(message.len() as u32);
        framed.put_slice(&message);
        framed.freeze()
    };
    (0..=tokens).map(message).collect()
}

/// Of a gRPC message: a flag and a length.
const PREFIX: usize = 5;
/// Chunks that a stream hands over at once.
const TURN: usize = 8;
/// Most tokens of an answer, as in the exemplar's context.
const MOST_TOKENS: i64 = 20_000;
