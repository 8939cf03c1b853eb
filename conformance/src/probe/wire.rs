//! One HTTP/2 connection, and gRPC calls on it, frame by frame.
//!
//! Why not a gRPC client library: it hides what a suite must see. tonic, for one, takes a stream that ends without
//! trailers for a clean end. Here a missing grpc-status is [`End::NoStatus`], a reset is [`End::Reset`], and nothing
//! is ever retried or invented.

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream, client};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::{task::JoinHandle, time::timeout};

pub use super::end::{End, Status, code_name};
use super::{
    end::closed_by,
    record::{Record, hex, quote},
    tls::Tls,
    transport::{Transport, dial},
};
use crate::{address::Address, events::Direction};

/// A message larger than this is refused, so that a broken target cannot take the suite's memory.
const MAX_MESSAGE: usize = 64 << 20;
pub(crate) const PREFIX: usize = 5;

/// An HTTP/2 connection to the target; closed when the last clone of it and of its calls is gone.
#[derive(Clone)]
pub struct Connection {
    requests: client::SendRequest<Bytes>,
    origin: String,
    fate: Arc<OnceLock<String>>,
    _driver: Arc<Driver>,
}

/// Drives a connection; aborted with the last of those who hold it.
pub(crate) struct Driver(pub(crate) JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects; each step takes at most `patience`.
    pub async fn open(address: &Address, tls: &Tls, patience: Duration) -> io::Result<Self> {
        Self::handshake(dial(address, tls, patience).await?, address).await
    }

    async fn handshake(io: Box<dyn Transport>, address: &Address) -> io::Result<Self> {
        let mut builder = client::Builder::new();
        // One call, and no more until the target's SETTINGS say how many it takes at a time.
        builder.initial_max_send_streams(1);
        builder.initial_window_size(1 << 20).initial_connection_window_size(8 << 20).enable_push(false);
        let (requests, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
        let fate = Arc::new(OnceLock::new());
        let told = Arc::clone(&fate);
        let driver = tokio::spawn(async move {
            let _ = told.set(match connection.await {
                Ok(()) => "closed by the target".to_owned(),
                Err(error) => closed_by(&error),
            });
        });
        Ok(Self { requests, origin: address.origin(), fate, _driver: Arc::new(Driver(driver)) })
    }

    /// Whether the connection has ended, and how.
    pub fn closed(&self) -> Option<&str> {
        self.fate.get().map(String::as_str)
    }

    /// Opens a gRPC call. A call that cannot be opened is a call that has ended: [`Call::next`] says how.
    pub async fn call(&self, path: &str, options: &CallOptions, record: &Record) -> Call {
        let id = record.next_call();
        record.add(id, Direction::Sent, format!("call {path}{}", options.shown()));
        let mut call = Call {
            id,
            record: record.clone(),
            send: None,
            state: State::Ended(End::Closed("the call was never opened".to_owned())),
            buffer: BytesMut::new(),
            head: None,
            opened: Instant::now(),
            received: 0,
            _connection: self.clone(),
        };
        match timeout(options.patience, self.requests.clone().ready()).await {
            Err(_) => call.state = State::Ended(End::TimedOut(options.patience)),
            Ok(Err(error)) => call.state = State::Ended(End::of(&error)),
            Ok(Ok(mut requests)) => match self.request(path, options) {
                Ok(request) => match requests.send_request(request, false) {
                    Ok((response, send)) => {
                        call.send = Some(send);
                        call.state = State::AwaitingHead(response);
                    }
                    Err(error) => call.state = State::Ended(End::of(&error)),
                },
                Err(error) => call.state = State::Ended(End::Closed(format!("not a request: {error}"))),
            },
        }
        call
    }

    fn request(&self, path: &str, options: &CallOptions) -> http::Result<Request<()>> {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("{}{path}", self.origin))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("user-agent", concat!("conformance/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &options.metadata {
            request = request.header(name, value);
        }
        request.body(())
    }
}

/// A message in gRPC's framing.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// Takes one message of `most` bytes at most out of gRPC's framing, if it is whole; an error says what is not gRPC.
pub(crate) fn deframe(buffer: &mut BytesMut, most: usize) -> Result<Option<Bytes>, String> {
    let Some(length) = whole(buffer, most)? else { return Ok(None) };
    buffer.advance(PREFIX);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// How long the message is that the bytes begin with, behind its prefix; `None` while it is not whole.
pub(crate) fn whole(bytes: &[u8], most: usize) -> Result<Option<usize>, String> {
    let Some((&[flag, ref length @ ..], rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    match flag {
        0 => {}
        1 => return Err("a compressed message, though the client offered no compression".to_owned()),
        _ => return Err(format!("a message prefix with the flag byte {flag}, which is neither 0 nor 1")),
    }
    let length = u32::from_be_bytes(*length) as usize;
    if length > most {
        return Err(format!("a message prefix that announces {length} bytes"));
    }
    Ok((length <= rest.len()).then_some(length))
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({}, closed: {:?})", self.origin, self.closed())
    }
}

/// What goes with a call besides its path.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// Request metadata. Values of `authorization` never reach the record.
    pub metadata: Vec<(HeaderName, HeaderValue)>,
    /// How long to wait for the connection to take the call.
    pub patience: Duration,
}

impl CallOptions {
    fn shown(&self) -> String {
        let mut words = vec![String::new()];
        for (name, value) in &self.metadata {
            let value = if name == http::header::AUTHORIZATION {
                "<redacted>".to_owned()
            } else {
                quote(&String::from_utf8_lossy(value.as_bytes()), 80)
            };
            words.push(format!("{name}={value}"));
        }
        words.join(" ")
    }
}

/// One gRPC call. Dropping it resets the stream with CANCEL, as a client that goes away does.
///
/// ```text
/// AwaitingHead ── HEADERS ──▶ Body ── trailers, reset, close, bad framing ──▶ Ended
///      └───────────── reset, close, trailers-only ─────────────────────────────▲
/// ```
pub struct Call {
    id: u32,
    record: Record,
    send: Option<SendStream<Bytes>>,
    state: State,
    buffer: BytesMut,
    head: Option<Head>,
    opened: Instant,
    received: usize,
    _connection: Connection,
}

enum State {
    AwaitingHead(client::ResponseFuture),
    Body(RecvStream),
    Ended(End),
}

/// The response's head.
#[derive(Clone, Debug)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    /// Initial metadata.
    pub headers: HeaderMap,
}

/// What a call yields next.
#[derive(Clone, Debug)]
pub enum Item {
    /// A message.
    Message(Message),
    /// The end; every later item is the same end.
    End(End),
}

/// One gRPC message, as it came.
#[derive(Clone, Debug)]
pub struct Message {
    /// Since the call was opened.
    pub at: Duration,
    /// Undecoded.
    pub bytes: Bytes,
}

impl Call {
    /// Sends one message. A send that fails shows in how the call ends.
    pub fn send(&mut self, message: &[u8], what: &str) {
        self.record.add(self.id, Direction::Sent, what.to_owned());
        if let Some(send) = &mut self.send {
            let _ = send.send_data(framed(message), false);
        }
    }

    /// Ends the client's half of the stream.
    pub fn half_close(&mut self) {
        self.record.add(self.id, Direction::Sent, "half-close".to_owned());
        if let Some(mut send) = self.send.take() {
            let _ = send.send_data(Bytes::new(), true);
        }
    }

    /// Cancels: RST_STREAM with CANCEL, as gRPC clients do.
    pub fn cancel(mut self) {
        self.record.add(self.id, Direction::Sent, "cancel (RST_STREAM)".to_owned());
        if let Some(send) = &mut self.send {
            send.send_reset(h2::Reason::CANCEL);
        }
    }

    /// The next message or the end; waits at most `patience` for it.
    pub async fn next(&mut self, patience: Duration) -> Item {
        if let State::Ended(end) = &self.state {
            return Item::End(end.clone());
        }
        let Ok(item) = timeout(patience, self.advance()).await else {
            self.record.add_wait(self.id, patience);
            return Item::End(End::TimedOut(patience));
        };
        if let Item::End(end) = &item {
            self.record.add(self.id, Direction::Received, end.to_string());
            self.state = State::Ended(end.clone());
        }
        item
    }

    pub(super) fn note(&self, what: String) {
        self.record.add(self.id, Direction::Received, what);
    }

    async fn advance(&mut self) -> Item {
        loop {
            match self.deframe() {
                Ok(Some(bytes)) => {
                    self.received += 1;
                    return Item::Message(Message { at: self.opened.elapsed(), bytes });
                }
                Ok(None) => {}
                Err(why) => return Item::End(End::Malformed(why)),
            }
            match &mut self.state {
                State::AwaitingHead(response) => match response.await {
                    Ok(response) => {
                        let (parts, body) = response.into_parts();
                        self.head = Some(Head { status: parts.status.as_u16(), headers: parts.headers });
                        self.state = State::Body(body);
                    }
                    Err(error) => return Item::End(End::of(&error)),
                },
                State::Body(body) => match body.data().await {
                    Some(Ok(data)) => {
                        let _ = body.flow_control().release_capacity(data.len());
                        self.buffer.extend_from_slice(&data);
                    }
                    Some(Err(error)) => return Item::End(End::of(&error)),
                    None => {
                        let trailers = body.trailers().await;
                        return Item::End(self.ended(trailers));
                    }
                },
                State::Ended(end) => return Item::End(end.clone()),
            }
        }
    }

    /// Takes one length-prefixed message off the buffer, if it is whole.
    fn deframe(&mut self) -> Result<Option<Bytes>, String> {
        if self.head.as_ref().is_some_and(|head| head.status != 200) {
            self.buffer.clear(); // an HTTP error's body is not gRPC
            return Ok(None);
        }
        deframe(&mut self.buffer, MAX_MESSAGE)
    }

    fn ended(&self, trailers: Result<Option<HeaderMap>, h2::Error>) -> End {
        let trailers = match trailers {
            Ok(trailers) => trailers,
            Err(error) => return End::of(&error),
        };
        let Some(head) = &self.head else { return End::NoStatus { http: 0 } };
        if !self.buffer.is_empty() && head.status == 200 {
            return End::Malformed(format!("the stream ends inside a message: {}", hex(&self.buffer)));
        }
        // Trailers-only: the status stands in the head (gRPC over HTTP/2, "Responses").
        trailers
            .as_ref()
            .and_then(Status::of)
            .or_else(|| (self.received == 0).then(|| Status::of(&head.headers)).flatten())
            .map_or(End::NoStatus { http: head.status }, End::Status)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(send) = &mut self.send
            && !matches!(self.state, State::Ended(_))
        {
            send.send_reset(h2::Reason::CANCEL);
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.id)
    }
}
