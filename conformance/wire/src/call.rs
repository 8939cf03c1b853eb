//! One gRPC call: what it sends, what comes, and how it ends.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, SendStream, client};
use http::HeaderMap;
use tokio::time::{sleep, timeout};

use crate::{
    connection::{CallOptions, Connection, Unopened},
    end::{End, Status, own_doing, percent_decode, untouched},
    framing::{deframe, framed},
    observer::Observer,
    shown::hex,
};

/// A message larger than this is refused, so that a broken target cannot take all memory.
const MAX_MESSAGE: usize = 16 << 20;
/// How often a call that was not processed is opened again.
const REOPENED: u32 = 3;
/// Before a call is opened again, multiplied by the number of the attempt.
const BACK_OFF: Duration = Duration::from_millis(50);
/// The name under which an observer is told the message of a status.
pub const STATUS_MESSAGE: &str = "grpc-message";
/// The name under which an observer is told the text of an HTTP error.
pub const HTTP_BODY: &str = "the body of an HTTP error";
/// What is wrong where too many messages are half there.
const TOO_MUCH: &str = "more is on its way in all calls of this check than this side keeps";
/// A call that has sent more than this is not opened again: nothing more of it is kept.
const KEPT: usize = 8 << 20;

/// One gRPC call. Dropping it resets the stream with CANCEL, as a client that goes away does.
///
/// ```text
/// AwaitingHead ── HEADERS ──▶ Body ── trailers, reset, close, bad framing ──▶ Ended
///      └───────────── reset, close, trailers-only ─────────────────────────────▲
/// ```
pub struct Call {
    id: u32,
    observer: Arc<dyn Observer>,
    send: Option<SendStream<Bytes>>,
    state: State,
    buffer: BytesMut,
    head: Option<Head>,
    opened: Instant,
    received: usize,
    /// Bytes of the buffer that the observer knows of.
    held: usize,
    connection: Connection,
    opening: Opening,
}

/// What opens the call again, should the target not begin to process it.
struct Opening {
    path: String,
    options: CallOptions,
    sent: Vec<Bytes>,
    half_closed: bool,
    reopened: u32,
}

enum State {
    AwaitingHead(client::ResponseFuture),
    Body(RecvStream),
    Ended(End),
}

/// The response's head.
#[derive(Clone, Debug)]
pub struct Head {
    /// HTTP status of the response.
    pub status: u16,
    /// Initial metadata of the call.
    pub headers: HeaderMap,
}

/// What a call yields next.
#[derive(Clone, Debug)]
pub enum Item {
    /// A message of the call.
    Message(Message),
    /// The end; every later item is the same end.
    End(End),
}

/// One gRPC message, as it came.
#[derive(Clone, Debug)]
pub struct Message {
    /// Since the call was opened.
    pub at: Duration,
    /// The message's bytes, not decoded.
    pub bytes: Bytes,
}

impl Call {
    /// A call that has a number and no stream yet.
    pub(crate) fn unopened(
        id: u32,
        observer: Arc<dyn Observer>,
        connection: Connection,
        path: &str,
        options: &CallOptions,
    ) -> Self {
        Self {
            id,
            observer,
            send: None,
            state: State::Ended(End::Closed("the call was never opened".to_owned())),
            buffer: BytesMut::new(),
            head: None,
            opened: Instant::now(),
            received: 0,
            held: 0,
            connection,
            opening: Opening {
                path: path.to_owned(),
                options: options.clone(),
                sent: Vec::new(),
                half_closed: false,
                reopened: 0,
            },
        }
    }

    /// Opens the call's stream; on a connection whose target has said goodbye, on the one that follows it.
    pub(crate) async fn open(&mut self) {
        loop {
            match self.connection.stream(&self.opening.path, &self.opening.options).await {
                Ok((response, mut send)) => {
                    for message in &self.opening.sent {
                        let _ = send.send_data(message.clone(), false);
                    }
                    if self.opening.half_closed {
                        let _ = send.send_data(Bytes::new(), true);
                    } else {
                        self.send = Some(send);
                    }
                    self.state = State::AwaitingHead(response);
                    return;
                }
                Err(Unopened::GoingAway(end)) if self.follow(&end).await => {}
                Err(Unopened::OwnFault(end)) => {
                    self.observer.own_fault();
                    self.state = State::Ended(end);
                    return;
                }
                Err(Unopened::GoingAway(end) | Unopened::Because(end)) => {
                    if matches!(end, End::Closed(_)) {
                        self.observer.lost();
                    }
                    self.state = State::Ended(end);
                    return;
                }
            }
        }
    }

    /// Makes ready to open the call again after `end`, if it may be. Until it is, it has ended.
    ///
    /// A refused stream is opened once more on its own connection, where only that stream may have been too many; after
    /// that, and after a goodbye, on a new one.
    async fn follow(&mut self, end: &End) -> bool {
        self.state = State::Ended(end.clone());
        let opening = &mut self.opening;
        if opening.reopened >= REOPENED || opening.sent.iter().map(Bytes::len).sum::<usize>() > KEPT {
            return false;
        }
        opening.reopened += 1;
        self.observer.received(self.id, format!("{end}, before any answer: the call is opened again"));
        sleep(BACK_OFF * (opening.reopened - 1)).await;
        if opening.reopened == 1 && matches!(end, End::Reset(_)) {
            return true;
        }
        match Box::pin(self.connection.successor()).await {
            Ok(connection) => {
                self.connection = connection;
                true
            }
            Err(_) => false,
        }
    }

    /// Sends one message. A send that fails shows in how the call ends.
    pub fn send(&mut self, message: &[u8], what: &str) {
        self.send_bytes(framed(message), what);
    }

    /// Sends bytes as they are, in whatever framing.
    pub fn send_bytes(&mut self, bytes: Bytes, what: &str) {
        self.observer.sent(self.id, what.to_owned());
        if let Some(send) = &mut self.send {
            let _ = send.send_data(bytes.clone(), false);
        }
        if matches!(self.state, State::AwaitingHead(_)) {
            self.opening.sent.push(bytes);
        }
    }

    /// The response's head, once it has come.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Ends the client's half of the stream.
    pub fn half_close(&mut self) {
        self.observer.sent(self.id, "half-close".to_owned());
        self.opening.half_closed = true;
        if let Some(mut send) = self.send.take() {
            let _ = send.send_data(Bytes::new(), true);
        }
    }

    /// Cancels: RST_STREAM with CANCEL, as gRPC clients do.
    pub fn cancel(mut self) {
        self.observer.sent(self.id, "cancel (RST_STREAM)".to_owned());
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
            self.observer.waited(self.id, patience);
            return Item::End(End::TimedOut(patience));
        };
        if let Item::End(end) = &item {
            self.observer.received(self.id, end.to_string());
            self.state = State::Ended(end.clone());
        }
        item
    }

    /// Whether it has a stream of its own, and no end was seen yet.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Ended(_))
    }

    /// Notes that something was received.
    pub fn note(&self, what: String) {
        self.observer.received(self.id, what);
    }

    async fn advance(&mut self) -> Item {
        loop {
            match self.deframe() {
                Ok(Some(bytes)) => {
                    if self.buffer.is_empty() {
                        self.buffer = BytesMut::new(); // a long message's memory goes with it
                    }
                    self.account();
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
                        self.tell(&parts.headers);
                        self.head = Some(Head { status: parts.status.as_u16(), headers: parts.headers });
                        self.opening.sent = Vec::new();
                        self.state = State::Body(body);
                    }
                    Err(error) if untouched(&error) && self.follow(&End::of(&error)).await => {
                        Box::pin(self.open()).await;
                    }
                    Err(error) => return Item::End(self.broken(&error)),
                },
                State::Body(body) => match body.data().await {
                    Some(Ok(data)) => {
                        let _ = body.flow_control().release_capacity(data.len());
                        self.buffer.extend_from_slice(&data);
                        if !self.account() {
                            self.buffer = BytesMut::new();
                            return Item::End(End::Malformed(TOO_MUCH.to_owned()));
                        }
                    }
                    Some(Err(error)) => return Item::End(self.broken(&error)),
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
            self.observer.told(&self.opening.path, HTTP_BODY, &String::from_utf8_lossy(&self.buffer));
            self.buffer.clear(); // an HTTP error's body is not gRPC
            return Ok(None);
        }
        deframe(&mut self.buffer, MAX_MESSAGE, self.opening.options.offers_gzip)
    }

    /// Tells the observer how much is held of a message that is not whole; whether that may go on.
    fn account(&mut self) -> bool {
        let more = self.buffer.len().cast_signed() - self.held.cast_signed();
        self.held = self.buffer.len();
        self.observer.holds(more)
    }

    /// Tells the observer what metadata came.
    fn tell(&self, metadata: &HeaderMap) {
        for (name, value) in metadata {
            let text = match name.as_str() {
                STATUS_MESSAGE => percent_decode(value.as_bytes()),
                _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            self.observer.told(&self.opening.path, name.as_str(), &text);
        }
    }

    /// The end that an error of HTTP/2 makes.
    fn broken(&self, error: &h2::Error) -> End {
        let end = End::of(error);
        if own_doing(error) {
            self.observer.own_fault();
        } else if matches!(end, End::Closed(_)) {
            self.observer.lost();
        }
        end
    }

    fn ended(&self, trailers: Result<Option<HeaderMap>, h2::Error>) -> End {
        let trailers = match trailers {
            Ok(trailers) => trailers,
            Err(error) => return self.broken(&error),
        };
        if let Some(trailers) = &trailers {
            self.tell(trailers);
        }
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
        self.buffer.clear();
        self.account(); // what was half there is gone
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
