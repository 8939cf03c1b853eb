//! A client that does nothing but send, receive and look at the clock.
//!
//! On HTTP/2 frames, not on a gRPC library: what the client adds is a part of every figure, and what it can carry bounds what
//! can be measured. A chunk is stamped when its DATA frame is handed over, before anything of it is read.

use std::{future::poll_fn, io, sync::Arc, time::Duration};

use ai_inference_proto::Dialect;
use bytes::Bytes;
use h2::{RecvStream, SendStream, client};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use present::secrets::Redactor;
use present::text::{cut, visible};
use tokio::time::timeout;
use wire::{Address, Driver, End, FNV_OFFSET, Tls, code_name, dial, fnv};

use super::{
    message::{Chunk, Deframer},
    record::{Nanos, Outcome},
    turns::Turns,
};

/// Where requests go, and how.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The address to connect to.
    pub address: Address,
    /// TLS settings, used for `https://` addresses.
    pub tls: Tls,
    /// The dialect to speak.
    pub dialect: Dialect,
    /// Sent with every call: the bearer token, and what the user gave. A secret's value is marked as sensitive.
    pub metadata: Vec<(HeaderName, HeaderValue)>,
}

impl Endpoint {
    /// Takes out of a text what is secret of the metadata: a target may say back what it got.
    pub fn redactor(&self) -> Redactor {
        let sensitive = self.metadata.iter().filter(|(_, value)| value.is_sensitive());
        let values = sensitive.filter_map(|(_, value)| value.to_str().ok());
        Redactor::new(values.map(|value| value.strip_prefix("Bearer ").unwrap_or(value)))
    }
}

/// One connection; closed with its last clone.
#[derive(Clone)]
pub(super) struct Connection {
    requests: client::SendRequest<Bytes>,
    pub(super) endpoint: Arc<Endpoint>,
    uri: http::Uri,
    _driver: Arc<Driver>,
}

/// What came of one request, by the clock that was given.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// When it was sent: after it had a stream.
    pub(super) sent: Option<Nanos>,
    pub(super) chunks: Vec<Nanos>,
    pub(super) outcome: Outcome,
    pub(super) text: u64,
    pub(super) server_ttft_ms: Option<f32>,
    pub(super) server_tokens_per_second: Option<f32>,
    /// What stands beside the grpc-status.
    pub(super) message: Option<String>,
}

impl Answer {
    /// Of a request that ended so before anything came.
    pub(super) const fn without_text(outcome: Outcome) -> Self {
        Self {
            sent: None,
            chunks: Vec::new(),
            outcome,
            text: FNV_OFFSET,
            server_ttft_ms: None,
            server_tokens_per_second: None,
            message: None,
        }
    }

    /// A message of it came.
    pub(super) fn add(&mut self, chunk: &Chunk<'_>, at: Nanos) {
        if !chunk.text.is_empty() {
            self.chunks.push(at);
            self.text = fnv(self.text, chunk.text);
        }
        self.server_ttft_ms = chunk.server_ttft_ms.or(self.server_ttft_ms);
        self.server_tokens_per_second = chunk.server_tokens_per_second.or(self.server_tokens_per_second);
    }
}

impl Connection {
    pub(super) async fn open(endpoint: &Arc<Endpoint>, patience: Duration) -> io::Result<Self> {
        let transport = dial(&endpoint.address, &endpoint.tls, patience).await?;
        let uri = format!("{}/{}/StreamPredict", endpoint.address.origin(), endpoint.dialect.service());
        let uri = uri.parse().map_err(io::Error::other)?;
        let mut builder = client::Builder::new();
        // Wide enough that no answer ever waits for room, which would be measured as the server's time.
        builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        builder.enable_push(false);
        let handshake = timeout(patience, builder.handshake(Turns::new(transport))).await?;
        let (requests, connection) = handshake.map_err(io::Error::other)?;
        let driver = tokio::spawn(async move {
            // How it ends is told to every call on it.
            let _ = connection.await;
        });
        Ok(Self { requests, endpoint: Arc::clone(endpoint), uri, _driver: Arc::new(Driver(driver)) })
    }

    /// Sends one message as soon as the server takes another stream, and reads the answer to its end or, where it is to be
    /// cancelled, to its first text. `now` is asked at the sending, and once for each DATA frame.
    pub(super) async fn generate(
        &self,
        message: Bytes,
        cancel: bool,
        most_bytes: usize,
        now: impl Fn() -> Nanos,
    ) -> Answer {
        let mut answer = Answer::without_text(Outcome::Complete);
        if let Err(outcome) = self.exchange(message, cancel, now, &mut answer, most_bytes).await {
            answer.outcome = outcome;
        }
        answer
    }

    async fn exchange(
        &self,
        message: Bytes,
        cancel: bool,
        now: impl Fn() -> Nanos,
        answer: &mut Answer,
        most_bytes: usize,
    ) -> Result<(), Outcome> {
        let mut requests = self.ready().await?;
        let request = self.head(self.uri.clone())?;
        answer.sent = Some(now());
        let (response, mut body) = requests.send_request(request, false).map_err(|error| broken(&error))?;
        body.send_data(message, true).map_err(|error| broken(&error))?;
        let (head, mut body) = response.await.map_err(|error| broken(&error))?.into_parts();
        if head.headers.contains_key("grpc-status") {
            answer.message = grpc_message(&head.headers);
            return status(&head.headers);
        }
        let mut deframer = Deframer::default();
        let mut last = false;
        let (mut read, mut bytes) = (0, 0);
        while let Some(data) = body.data().await {
            let at = now();
            let data = data.map_err(|error| broken(&error))?;
            // Each release takes the connection's lock, and may send a frame.
            read += data.len();
            bytes += data.len();
            if bytes > most_bytes {
                return Err(Outcome::TooLong);
            }
            if read > WORTH_RELEASING {
                body.flow_control().release_capacity(read).map_err(|error| broken(&error))?;
                read = 0;
            }
            deframer.push(&data, &mut |message| {
                let chunk = Chunk::read(message).ok_or_else(not_protobuf)?;
                last |= chunk.last;
                answer.add(&chunk, at);
                Ok(())
            })?;
            // Returning drops the stream, which resets it with CANCEL, as a client does that goes away.
            if cancel && !last && !answer.chunks.is_empty() {
                return Err(Outcome::Cancelled);
            }
        }
        let trailers = trailers(&mut body).await?;
        answer.message = grpc_message(&trailers);
        status(&trailers)?;
        if last { Ok(()) } else { Err(Outcome::Broken("no message was marked as the last".to_owned())) }
    }

    /// When the server takes another stream.
    pub(super) async fn ready(&self) -> Result<client::SendRequest<Bytes>, Outcome> {
        self.requests.clone().ready().await.map_err(|error| broken(&error))
    }

    /// What a call to one of the service's methods begins with.
    pub(super) fn head(&self, uri: http::Uri) -> Result<Request<()>, Outcome> {
        let mut request = Request::post(uri)
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("user-agent", concat!("conformance-bench/", env!("CARGO_PKG_VERSION")));
        for (key, value) in &self.endpoint.metadata {
            request = request.header(key, value);
        }
        request.body(()).map_err(|error| Outcome::Broken(error.to_string()))
    }

    /// Opens a call to StreamPredict: its answer, and the way to send on it.
    pub(super) async fn open_call(&self) -> Result<(client::ResponseFuture, SendStream<Bytes>), Outcome> {
        let mut requests = self.ready().await?;
        let request = self.head(self.uri.clone())?;
        requests.send_request(request, false).map_err(|error| broken(&error))
    }
}

pub(super) async fn ended(body: &mut RecvStream) -> Result<(), Outcome> {
    status(&trailers(body).await?)
}

pub(super) async fn trailers(body: &mut RecvStream) -> Result<HeaderMap, Outcome> {
    let trailers = poll_fn(|context| body.poll_trailers(context)).await.map_err(|error| broken(&error))?;
    Ok(trailers.unwrap_or_default())
}

/// What the target wrote beside a status that is not OK, for people: percent-decoded, and cut.
pub(super) fn grpc_message(headers: &HeaderMap) -> Option<String> {
    let message = headers.get("grpc-message")?.as_bytes();
    let message = percent_decoded(message);
    (!message.is_empty()).then(|| cut(&visible(&message), LONGEST_MESSAGE))
}

fn percent_decoded(bytes: &[u8]) -> String {
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, digit(at + 1), digit(at + 2)) {
            decoded.push((high * 16 + low) as u8);
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

pub(super) fn status(headers: &HeaderMap) -> Result<(), Outcome> {
    match headers.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        Some(code) => {
            let code = tonic::Code::from_bytes(code);
            Err(Outcome::Status(code_name(code).to_owned()))
        }
        None => Err(Outcome::Broken("the call ended without a grpc-status".to_owned())),
    }
}

pub(super) fn not_protobuf() -> Outcome {
    Outcome::Broken("a message is not protobuf".to_owned())
}

/// How a call ended without a status. What this program's own HTTP/2 library did is not called the target's.
pub(super) fn broken(error: &h2::Error) -> Outcome {
    Outcome::Broken(if error.is_library() {
        let what = if error.is_reset() { "reset the stream" } else { "ended the connection" };
        format!("this client's HTTP/2 library {what}: {error}")
    } else {
        End::of(error).to_string()
    })
}

const STREAM_WINDOW: u32 = 1 << 20;
/// More than all streams together can leave unreleased.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// In characters.
const LONGEST_MESSAGE: usize = 200;
/// Long before a stream's window is used up.
const WORTH_RELEASING: usize = 16 << 10;
