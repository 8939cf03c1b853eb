//! The accept loop: from a bound address to connections that may speak.
//!
//! It waits for no client: handshakes of TLS run beside it, and a connection above the limit is closed at once and not
//! left in the backlog: its client learns at once that it must go elsewhere, where it would else wait for its whole
//! deadline.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use authority::Lenient;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{AbortHandle, JoinSet},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;

use super::{
    connection::{Connection, PATIENCE},
    socket::SocketFile,
};

/// Connections over all listeners.
#[derive(Clone, Debug)]
pub struct Places(Arc<Semaphore>);

impl Places {
    /// Room for so many.
    pub fn new(connections: usize) -> Self {
        Self(Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))))
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

/// What a listener accepts. Dropping it closes the address.
pub struct Incoming {
    door: Door,
    places: Places,
    /// The last client was sent away.
    full: bool,
    handshakes: JoinSet<Option<Connection>>,
    /// Those that run, oldest first; some may have ended.
    running: VecDeque<AbortHandle>,
    /// After an error that the next accept would only repeat.
    pause: Option<Pin<Box<Sleep>>>,
}

pub(super) enum Door {
    Tcp(TcpListener),
    Tls(TcpListener, TlsAcceptor),
    /// The file goes with the listener.
    Unix(UnixListener, #[expect(dead_code, reason = "held for its drop")] SocketFile),
}

impl Incoming {
    pub(super) fn new(door: Door, places: Places) -> Self {
        let (handshakes, running) = (JoinSet::new(), VecDeque::new());
        Self { door, places, full: false, handshakes, running, pause: None }
    }

    /// Said once for each time that it gets full, or a flood of clients would be a flood of the log.
    fn take_place(&mut self) -> Option<OwnedSemaphorePermit> {
        let place = self.places.take();
        if place.is_none() && !self.full {
            tracing::warn!("there are as many connections as --connections allows; more are closed at once");
        }
        self.full = place.is_none();
        place
    }

    /// Runs a handshake beside the others; the oldest makes room for it. So a crowd of silent clients does not delay a
    /// client that answers at once, where refusing newcomers would shut all clients out.
    fn shake_hands(&mut self, acceptor: &TlsAcceptor, stream: TcpStream, place: OwnedSemaphorePermit) {
        self.running.retain(|handshake| !handshake.is_finished());
        if self.running.len() >= MOST_HANDSHAKES
            && let Some(oldest) = self.running.pop_front()
        {
            oldest.abort();
        }
        let handshake = timeout(PATIENCE, acceptor.accept(stream));
        self.running.push_back(self.handshakes.spawn(async move {
            match handshake.await {
                Ok(Ok(stream)) => Some(Connection::new(stream, place)),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                    None
                }
                Err(_) => {
                    tracing::debug!("a TLS handshake took too long");
                    None
                }
            }
        }));
    }

    /// `None`: accepted, and not a connection yet or any more.
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Connection>>> {
        match &self.door {
            Door::Unix(listener, _) => {
                let (stream, _) = ready!(listener.poll_accept(context))?;
                let Some(place) = self.take_place() else { return Poll::Ready(Ok(None)) };
                // The C core's clients name a socket's path as authority, which HTTP/2's parser would refuse.
                Poll::Ready(Ok(Some(Connection::new(Lenient::new(stream), place))))
            }
            Door::Tcp(listener) | Door::Tls(listener, _) => {
                let (stream, _) = ready!(listener.poll_accept(context))?;
                let Some(place) = self.take_place() else { return Poll::Ready(Ok(None)) };
                // A chunk is one small packet: it must not wait for the next (STREAM-007).
                stream.set_nodelay(true)?;
                if let Door::Tls(_, acceptor) = &self.door {
                    let acceptor = acceptor.clone();
                    self.shake_hands(&acceptor, stream, place);
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Ok(Some(Connection::new(stream, place))))
            }
        }
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            while let Poll::Ready(Some(done)) = self.handshakes.poll_join_next(context) {
                if let Ok(Some(connection)) = done {
                    return Poll::Ready(Some(Ok(connection)));
                }
            }
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match ready!(self.poll_accept(context)) {
                Ok(Some(connection)) => return Poll::Ready(Some(Ok(connection))),
                Ok(None) => {}
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    self.pause = Some(Box::pin(sleep(PAUSE)));
                }
            }
        }
    }
}

/// It was gone before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | InvalidInput | NotConnected)
}

/// Handshakes at once: each costs some 20 KiB and a signature, and an honest one is over in milliseconds.
const MOST_HANDSHAKES: usize = 256;
/// Out of file descriptors, say: until some are closed again.
const PAUSE: Duration = Duration::from_millis(100);
