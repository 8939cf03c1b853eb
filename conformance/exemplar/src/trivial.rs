//! Servers that do almost nothing. A suite that cannot fail them is decoration (the floor, `tests/hopeless/floor.rs`).

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ai_inference_proto::{Dialect, GenerationResponse};
use bytes::Bytes;
use hyper::{server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tonic::{Status, body::Body};

use super::{
    Conformant,
    service::{Endpoint, read_whole},
};
use wire::{Address, framed};

/// What a trivial server does with whatever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trivial {
    /// Accepts the connection and closes it.
    HangsUp,
    /// Accepts the connection and never says a word.
    Silent,
    /// Answers UNIMPLEMENTED to every call.
    Unimplemented,
    /// Answers every call OK, without a message.
    OkEmpty,
    /// Answers every call OK, with one empty message.
    OkBlank,
    /// Sends back the bytes that come.
    EchoesBytes,
    /// Speaks gRPC and sends back every call's message.
    EchoesMessages,
    /// Answers every call with the responses of one good generation of another client.
    Replays,
    /// Answers the first call of each connection as the exemplar does, and never one after it.
    FirstCallOnly,
}

impl Trivial {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::HangsUp,
        Self::Silent,
        Self::Unimplemented,
        Self::OkEmpty,
        Self::OkBlank,
        Self::EchoesBytes,
        Self::EchoesMessages,
        Self::Replays,
        Self::FirstCallOnly,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::HangsUp => "hangs-up",
            Self::Silent => "silent",
            Self::Unimplemented => "unimplemented",
            Self::OkEmpty => "ok-empty",
            Self::OkBlank => "ok-blank",
            Self::EchoesBytes => "echoes-bytes",
            Self::EchoesMessages => "echoes-messages",
            Self::Replays => "replays",
            Self::FirstCallOnly => "first-call-only",
        }
    }

    /// Serves on a TCP address until the returned value is dropped.
    pub async fn serve(self, host: &str, port: u16) -> io::Result<RunningTrivial> {
        let listener = TcpListener::bind((host, port)).await?;
        let address = Address::Tcp { host: host.to_owned(), port: listener.local_addr()?.port() };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.converse(stream));
            }
        });
        Ok(RunningTrivial { address, task })
    }

    async fn converse(self, mut stream: TcpStream) {
        match self {
            Self::HangsUp => drop(stream),
            Self::Silent => {
                let mut sink = [0; 4096];
                while matches!(stream.read(&mut sink).await, Ok(1..)) {}
            }
            Self::EchoesBytes => {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            }
            Self::FirstCallOnly => {
                let endpoint = Endpoint::new(Arc::new(Conformant), None);
                let calls = AtomicUsize::new(0);
                let service = service_fn(move |request| {
                    let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
                    let endpoint = first.then(|| endpoint.clone());
                    async move {
                        match endpoint {
                            Some(endpoint) => endpoint.answer(request, Arc::default()).await,
                            None => std::future::pending().await,
                        }
                    }
                });
                let _ = http2().serve_connection(TokioIo::new(stream), service).await;
            }
            Self::Unimplemented | Self::OkEmpty | Self::OkBlank | Self::EchoesMessages | Self::Replays => {
                let service = service_fn(move |request| self.answer(request));
                let _ = http2().serve_connection(TokioIo::new(stream), service).await;
            }
        }
    }

    async fn answer(
        self,
        request: http::Request<hyper::body::Incoming>,
    ) -> Result<http::Response<Body>, std::convert::Infallible> {
        let frame = match self {
            Self::OkBlank => Bytes::from_static(&[0, 0, 0, 0, 0]),
            Self::EchoesMessages => read_whole(Body::new(request.into_body())).await,
            Self::Replays => recorded(),
            Self::OkEmpty => return Ok(Status::ok("").into_http()),
            _ => return Ok(Status::unimplemented("").into_http()),
        };
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let frames =
            [Ok(http_body::Frame::data(frame)), Ok::<_, Status>(http_body::Frame::trailers(trailers))];
        let body = http_body_util::StreamBody::new(tokio_stream::iter(frames));
        let mut response = http::Response::new(Body::new(body));
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
        Ok(response)
    }
}

fn http2() -> Builder<TokioExecutor> {
    Builder::new(TokioExecutor::new())
}

/// The responses of a good generation.
fn recorded() -> Bytes {
    let chunks = [" the", " river", " bends", ""];
    let responses = chunks.iter().enumerate().map(|(index, chunk)| {
        let response = GenerationResponse {
            trace_id: "recorded".to_owned(),
            chunk: (*chunk).to_owned(),
            end_of_stream: index + 1 == chunks.len(),
            index: index as i64,
            ..GenerationResponse::default()
        };
        framed(&Dialect::Contract.encode_response(response))
    });
    responses.flatten().collect()
}

/// A running trivial server; it stops when dropped.
#[derive(Debug)]
pub struct RunningTrivial {
    /// Where it listens.
    pub address: Address,
    task: JoinHandle<()>,
}

impl Drop for RunningTrivial {
    fn drop(&mut self) {
        self.task.abort();
    }
}
