//! An accepted connection, whatever carries it: bytes, a place among the connections, and a deadline for saying hello.
//!
//! HTTP/2 has no patience of its own: a client that connects and says nothing, or drips its preface byte by byte, would
//! hold its place for ever. What comes after the preface is watched by keepalive pings, which a client can only answer
//! between two frames (TRANSPORT-007).

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tonic::transport::server::Connected;

/// What can carry a connection.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// An accepted connection.
pub struct Connection {
    carrier: Box<dyn Carrier>,
    greeting: Option<Greeting>,
    /// A turn was waited since the last flush.
    gathered: bool,
    peer: Peer,
    /// Its place among all connections.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) fn new(carrier: impl Carrier + 'static, place: OwnedSemaphorePermit) -> Self {
        let greeting = Some(Greeting { missing: GREETING, patience: Box::pin(sleep(PATIENCE)) });
        Self { carrier: Box::new(carrier), greeting, gathered: false, peer: Peer::default(), _place: place }
    }

    /// Lets everybody else who is ready run before the first byte of a flush leaves. A step of the model wakes a task for
    /// each stream; each would write its own small packet, with a system call here and one at the client, and take
    /// the core from the next step as often. So they leave together, a few microseconds later.
    fn poll_gather(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.gathered {
            return Poll::Ready(());
        }
        self.gathered = true;
        // The runtime puts a task that wakes itself behind all others.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { carrier, greeting, .. } = &mut *self;
        let Some(waiting) = greeting else { return Pin::new(carrier).poll_read(context, out) };
        if waiting.patience.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = out.filled().len();
        ready!(Pin::new(carrier).poll_read(context, out))?;
        waiting.missing = waiting.missing.saturating_sub(out.filled().len() - before);
        if waiting.missing == 0 {
            *greeting = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_gather(context));
        Pin::new(&mut self.carrier).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gathered = false;
        Pin::new(&mut self.carrier).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_gather(context));
        Pin::new(&mut self.carrier).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.carrier.is_write_vectored()
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// What all requests of one connection share; each finds it in its extensions.
#[derive(Clone, Debug)]
pub struct Peer {
    memory: Arc<Semaphore>,
}

impl Peer {
    /// Takes `bytes` of what this connection may make the server hold; `None` when it holds too much already.
    pub fn hold(&self, bytes: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.memory).try_acquire_many_owned(bytes).ok()
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self { memory: Arc::new(Semaphore::new(MEMORY)) }
    }
}

/// The client has not yet said all of its hello.
struct Greeting {
    missing: usize,
    patience: Pin<Box<Sleep>>,
}

/// HTTP/2's preface, and the head of the SETTINGS frame that is a part of it (RFC 9113, section 3.4).
const GREETING: usize = 24 + 9;
/// Three times what a slow mobile link needs for a hello; the same for a handshake of TLS.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Large messages that one connection may have under way: a thousand of the longest prompts.
const MEMORY: usize = 256 << 20;
