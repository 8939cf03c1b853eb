//! An accepted connection, whatever carries it: bytes, a place among the connections, and a deadline for saying hello.
//!
//! HTTP/2 has no patience of its own: a client that connects and says nothing, or drips its preface byte by byte, would
//! hold its place for ever. What comes after the preface is watched by keepalive pings, which a client can only answer
//! between two frames (TRANSPORT-007).

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};
use tonic::transport::server::Connected;

use super::Peer;

/// What can carry a connection.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// An accepted connection.
pub struct Connection {
    carrier: Box<dyn Carrier>,
    greeting: Option<Greeting>,
    /// A turn was waited since the last flush.
    gathered: bool,
    /// All is written, and the client may still be reading it.
    lingering: Option<Linger>,
    peer: Peer,
    /// Its place among all connections.
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) fn new(carrier: impl Carrier + 'static, place: OwnedSemaphorePermit) -> Self {
        let greeting = Some(Greeting { missing: GREETING, patience: Box::pin(sleep(PATIENCE)) });
        let (carrier, peer) = (Box::new(carrier), Peer::default());
        Self { carrier, greeting, gathered: false, lingering: None, peer, _place: place }
    }

    /// Lets all other ready tasks run before the first byte of a flush leaves. A step of the model wakes a task for
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

    /// Says that nothing more will come, and listens on until the client has hung up. A client that is still reading
    /// writes as well, if only to grant more room; where the server no longer reads its write fails, and it
    /// gives up what it has not read yet, though all of it was sent (as a lingering close in RFC 9112, section 9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { carrier, lingering, .. } = &mut *self;
        let Linger { patience, room } = if let Some(linger) = lingering {
            linger
        } else {
            ready!(Pin::new(&mut *carrier).poll_shutdown(context))?;
            lingering.insert(Linger { patience: Box::pin(sleep(LINGER)), room: LINGER_BYTES })
        };
        if patience.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut ignored = [MaybeUninit::uninit(); 4096];
        loop {
            let mut ignored = ReadBuf::uninit(&mut ignored);
            let read = ready!(Pin::new(&mut *carrier).poll_read(context, &mut ignored));
            *room = room.saturating_sub(ignored.filled().len());
            if read.is_err() || ignored.filled().is_empty() || *room == 0 {
                return Poll::Ready(Ok(()));
            }
        }
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

/// The client has not yet said all of its hello.
struct Greeting {
    missing: usize,
    patience: Pin<Box<Sleep>>,
}

/// All was said, and the client has not hung up.
struct Linger {
    patience: Pin<Box<Sleep>>,
    /// Bytes that it may still send.
    room: usize,
}

/// HTTP/2's preface, and the head of the SETTINGS frame that is a part of it (RFC 9113, section 3.4).
const GREETING: usize = 24 + 9;
/// Three times what a slow mobile link needs for a hello; the same for a handshake of TLS.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to read the last bytes and to hang up.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes that it may send meanwhile: room and answers to pings. Who sends more is not reading but flooding.
const LINGER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixStream,
        sync::Semaphore,
        time::Instant,
    };

    use super::*;

    #[tokio::test]
    async fn a_client_that_writes_while_it_reads_the_last_bytes_gets_all_of_them() {
        let (mut client, mut connection) = connected();
        connection.write_all(b"the last bytes").await.unwrap();
        connection.flush().await.unwrap();
        let closing = tokio::spawn(async move { connection.shutdown().await });
        let mut read = [0; 8];
        client.read_exact(&mut read).await.unwrap();
        client.write_all(b"there is room for more").await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!((read.as_slice(), rest.as_slice()), (b"the last".as_slice(), b" bytes".as_slice()));
        client.write_all(b"thank you").await.unwrap();
        drop(client);
        closing.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_hang_up_is_left() {
        let (mut client, mut connection) = connected();
        let began = Instant::now();
        connection.shutdown().await.unwrap();
        assert_eq!(began.elapsed(), LINGER);
        drop(connection);
        client.write_all(b"?").await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_not_listened_to() {
        let (mut client, mut connection) = connected();
        let closing = tokio::spawn(async move { connection.shutdown().await });
        let flood = async { while client.write_all(&[0; 4096]).await.is_ok() {} };
        let began = Instant::now();
        flood.await;
        closing.await.unwrap().unwrap();
        assert!(began.elapsed() < LINGER);
    }

    fn connected() -> (UnixStream, Connection) {
        let (client, server) = UnixStream::pair().unwrap();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        (client, Connection::new(server, place))
    }
}
