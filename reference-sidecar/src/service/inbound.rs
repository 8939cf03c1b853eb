//! Watches a request's body on its way in: how long a message takes, and how much of the server it fills.
//!
//! The transport bounds what lies unread in a connection, and nothing bounds what a call has read and not yet made a
//! message of: four thousand streams with half a large message each would be gigabytes. And a message that never ends
//! would hold its call for ever. A stream that is open and silent between messages is neither: it may be so for as
//! long as its client likes.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Status, body::Body};

use super::{Refusal, stack::LARGEST_MESSAGE};
use crate::listen::{Held, Peer};

/// Puts the watch around a request's body.
pub(super) fn watch(request: Request<Body>) -> Request<Body> {
    let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
    let open = if request.uri().path().starts_with(REFLECTION) { REFLECTED } else { OPEN };
    let watched = |inner| Watched {
        inner,
        peer,
        open,
        framing: Framing::default(),
        waited: Duration::ZERO,
        wait: None,
        held: None,
    };
    request.map(|body| Body::new(watched(body)))
}

struct Watched {
    inner: Body,
    peer: Peer,
    /// What the call holds before its first message.
    open: usize,
    framing: Framing,
    /// How long the rest of an incomplete message was waited for, before the wait that is on now. Time in which no
    /// task asked for it does not count: the client could not send it.
    waited: Duration,
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
    /// For the largest message so far. The decoder keeps its buffers as long as the call reads, so this stays as long.
    held: Option<Held>,
}

impl Watched {
    fn follow(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let mut at = 0;
        while at < data.len() {
            if let Some(head) = self.framing.advance(data, &mut at) {
                self.hold(head.cost())?;
            }
            if self.framing.is_between() {
                self.waited = Duration::ZERO;
            }
        }
        Ok(())
    }

    fn hold(&mut self, cost: usize) -> Result<(), Refusal> {
        let held = self.held.as_ref().map_or(0, Held::bytes);
        if cost <= held {
            return Ok(());
        }
        let more = self.peer.hold(cost - held).ok_or(Refusal::TooMuchAtOnce)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let open = self.open;
        if self.held.is_none()
            && let Err(refusal) = self.hold(open)
        {
            return Poll::Ready(Some(Err(refusal.into())));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            if self.framing.is_between() {
                return Poll::Pending;
            }
            let left = PATIENCE.saturating_sub(self.waited);
            let (_, end) = self.wait.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
            return end.as_mut().poll(context).map(|()| Some(Err(Refusal::SlowMessage.into())));
        };
        if let Some((began, _)) = self.wait.take() {
            self.waited += began.elapsed();
        }
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(refusal) = self.follow(data)
        {
            return Poll::Ready(Some(Err(refusal.into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Where in gRPC's framing the bytes are: five bytes of head, then as many as it says.
#[derive(Debug, Default)]
struct Framing {
    head: [u8; HEAD],
    /// Bytes of the head that have come.
    read: usize,
    /// Bytes of the message to come.
    rest: usize,
}

impl Framing {
    const fn is_between(&self) -> bool {
        self.read == 0 && self.rest == 0
    }

    /// Steps over the rest of a head, which is returned, or of a message.
    fn advance(&mut self, data: &[u8], at: &mut usize) -> Option<Head> {
        if self.rest > 0 {
            let step = self.rest.min(data.len() - *at);
            self.rest -= step;
            *at += step;
            return None;
        }
        let step = (HEAD - self.read).min(data.len() - *at);
        self.head[self.read..self.read + step].copy_from_slice(&data[*at..*at + step]);
        self.read += step;
        *at += step;
        if self.read < HEAD {
            return None;
        }
        self.read = 0;
        let [compressed, length @ ..] = self.head;
        self.rest = u32::from_be_bytes(length) as usize;
        Some(Head { compressed: compressed != 0, length: self.rest })
    }
}

struct Head {
    compressed: bool,
    length: usize,
}

impl Head {
    /// What the message will fill at most. One above the limit is refused by its head and fills nothing.
    fn cost(&self) -> usize {
        match self.length {
            length if length > LARGEST_MESSAGE => 0,
            length if self.compressed => length.saturating_mul(DEFLATE).min(LARGEST_MESSAGE),
            length => length,
        }
    }
}

/// Of a message: one byte of flags, four of length.
const HEAD: usize = 5;
/// What an open call holds, with a message of ordinary size.
const OPEN: usize = 16 << 10;
/// What a call of reflection counts for. Its answers are made as fast as they are asked for, before any token is looked at, and
/// those that nobody reads lie in the transport, up to 800 KiB a call; nobody needs many at once.
const REFLECTED: usize = 16 << 20;
const REFLECTION: &str = "/grpc.reflection.";
/// The most that DEFLATE can blow a byte up to.
const DEFLATE: usize = 1032;
/// Four megabytes at 70 kB/s, from the message's first byte to its last.
const PATIENCE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full, StreamBody};
    use std::sync::Arc;

    use tokio::{sync::Semaphore, time};
    use tokio_stream::StreamExt as _;
    use tonic::Code;

    use super::*;

    fn watched(
        body: impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static,
        peer: &Peer,
    ) -> Body {
        let mut request = Request::new(Body::new(body));
        request.extensions_mut().insert(peer.clone());
        watch(request).into_body()
    }

    fn message(flag: u8, length: u32, sent: usize) -> Bytes {
        [&[flag][..], &length.to_be_bytes(), &vec![0; sent]].concat().into()
    }

    fn at_once(bytes: Bytes) -> impl http_body::Body<Data = Bytes, Error = Status> {
        Full::new(bytes).map_err(|never| match never {})
    }

    #[tokio::test]
    async fn a_connections_large_messages_are_bounded_and_room_returns() {
        let all = Arc::new(Semaphore::new(1 << 30));
        let peer = Peer::of(&all, 512 << 20);
        let mut calls = Vec::new();
        let refused = loop {
            let mut call = watched(at_once(message(0, 4 << 20, 0)), &peer);
            match call.frame().await {
                Some(Ok(_)) => calls.push(call),
                other => break other.and_then(Result::err),
            }
        };
        assert_eq!(calls.len(), 64, "256 MiB of 4 MiB");
        assert_eq!(refused.map(|status| status.code()), Some(Code::ResourceExhausted));
        assert!(
            watched(at_once(message(0, 9, 9)), &Peer::of(&all, 512 << 20))
                .frame()
                .await
                .is_some_and(|f| f.is_ok())
        );
        assert!(watched(at_once(message(1, 1000, 1000)), &peer).frame().await.is_some_and(|f| f.is_err()));
        calls.pop();
        assert!(watched(at_once(message(0, 4 << 20, 0)), &peer).frame().await.is_some_and(|f| f.is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_drips_is_ended_and_a_silent_stream_is_not() {
        let dripping = tokio_stream::once(message(0, 1000, 0))
            .chain(tokio_stream::iter(vec![Bytes::from_static(b"x"); 900]).throttle(Duration::from_secs(1)));
        let body = StreamBody::new(dripping.map(|bytes| Ok(Frame::data(bytes))));
        let began = time::Instant::now();
        let refused = watched(body, &Peer::default()).collect().await.map(drop).unwrap_err();
        assert_eq!(refused.code(), Code::DeadlineExceeded);
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());

        // The same as slowly, but because we let it lie: what a client may not send is not late.
        let piece = || Bytes::from_static(&[b'x'; 100]);
        let (sender, pieces) = tokio::sync::mpsc::channel(1);
        sender.try_send(message(0, 1000, 0)).unwrap();
        let pieces = tokio_stream::wrappers::ReceiverStream::new(pieces);
        let mut ours = watched(StreamBody::new(pieces.map(|b| Ok(Frame::data(b)))), &Peer::default());
        for _ in 0..10 {
            assert!(ours.frame().await.is_some_and(|frame| frame.is_ok()));
            time::sleep(PATIENCE).await;
            let soon = async {
                time::sleep(Duration::from_millis(1)).await;
                sender.try_send(piece()).unwrap();
            };
            let (frame, ()) = tokio::join!(ours.frame(), soon);
            assert!(frame.is_some_and(|frame| frame.is_ok()));
            sender.try_send(piece()).ok();
        }

        // Two messages in one piece, and an hour between pieces.
        let pair = Bytes::from([message(0, 3, 3), message(0, 0, 0)].concat());
        let patient = tokio_stream::iter(vec![pair; 3]).throttle(Duration::from_hours(1));
        let body = StreamBody::new(patient.map(|bytes| Ok(Frame::data(bytes))));
        let whole = watched(body, &Peer::default()).collect().await.unwrap();
        assert_eq!(whole.to_bytes().len(), 3 * 13);
    }

    #[test]
    fn framing_is_followed_however_the_bytes_are_cut() {
        let bytes = [message(0, 7, 7), message(1, 0, 0), message(0, 300, 300)].concat();
        for size in 1..bytes.len() {
            let (mut framing, mut lengths) = (Framing::default(), Vec::new());
            for chunk in bytes.chunks(size) {
                let mut at = 0;
                while at < chunk.len() {
                    lengths.extend(framing.advance(chunk, &mut at).map(|head| head.length));
                }
            }
            assert_eq!(lengths, [7, 0, 300], "in chunks of {size}");
            assert!(framing.is_between(), "in chunks of {size}");
        }
    }
}
