//! A client of either dialect over a Unix socket or TCP, on a connection that can be cut like a cable.
//!
//! As thin as tonic allows, because its work is a part of what is measured.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use ai_inference_proto::{Dialect, GenerationRequest};
use hyper_util::rt::TokioIo;
use testkit::{Client, Responses};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::oneshot,
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// One connection. Cheap to clone; opened anew when it breaks.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    cut: Cut,
}

impl Connection {
    /// Connects to `unix:///abs/path` or `host:port`. `window` is how many unread bytes of one stream the server may send;
    /// `None` for HTTP/2's 64 KiB.
    pub async fn open(address: &str, window: Option<u32>) -> Result<Self, tonic::transport::Error> {
        let cut = Cut::default();
        let (kept, address) = (cut.clone(), address.to_owned());
        let connector = tower::service_fn(move |_| {
            let (cut, address) = (kept.clone(), address.clone());
            async move { Severable::connect(&address, &cut).await.map(TokioIo::new) }
        });
        // The connector knows where to go; the URI is only the authority that HTTP/2 asks for.
        let endpoint = Endpoint::from_static("http://localhost").initial_stream_window_size(window);
        let channel = endpoint.connect_with_connector(connector).await?;
        Ok(Self { channel, cut })
    }

    /// Starts a generation; dropping what is returned cancels it.
    pub async fn generate(
        &self,
        dialect: Dialect,
        request: GenerationRequest,
        timeout: Option<Duration>,
    ) -> Result<Responses, Status> {
        self.client(dialect).stream(tokio_stream::once(request), timeout).await
    }

    /// Opens a call, whose requests come as they come.
    pub async fn call(
        &self,
        dialect: Dialect,
        requests: impl tokio_stream::Stream<Item = GenerationRequest> + Send + 'static,
    ) -> Result<Responses, Status> {
        self.client(dialect).stream(requests, None).await
    }

    /// A command, and the answer's payload.
    pub async fn control(
        &self,
        command: &str,
        payload: &[(&str, &str)],
    ) -> Result<BTreeMap<String, String>, Status> {
        Ok(self.client(Dialect::Contract).control(command, payload).await?.payload)
    }

    /// The counters that the server shows in Health.
    pub async fn health(&self) -> Result<BTreeMap<String, String>, Status> {
        Ok(self.client(Dialect::Contract).health().await?.metrics)
    }

    /// Drops the socket without a word: over TCP the server sees a reset, over a Unix socket a broken pipe.
    pub fn cut(&self) {
        self.cut.now();
    }

    fn client(&self, dialect: Dialect) -> Client {
        Client::over(self.channel.clone(), dialect)
    }
}

/// The knife at one connection's socket, whichever socket that is at the moment.
#[derive(Clone, Debug, Default)]
struct Cut(Arc<Mutex<Option<oneshot::Sender<()>>>>);

impl Cut {
    fn now(&self) {
        let armed = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(knife) = armed {
            let _ = knife.send(());
        }
    }

    fn arm(&self) -> oneshot::Receiver<()> {
        let (knife, cut) = oneshot::channel();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(knife);
        cut
    }
}

/// A socket that fails when it is cut; its owner then drops it, and that closes it.
struct Severable {
    socket: Pin<Box<dyn Socket>>,
    /// `None` when the knife is gone: it is for another socket now.
    cut: Option<oneshot::Receiver<()>>,
    severed: bool,
}

trait Socket: AsyncRead + AsyncWrite + Send {
    /// Makes the close abrupt, where there is a difference.
    fn reset_on_close(&self);
}

impl Socket for TcpStream {
    fn reset_on_close(&self) {
        let _ = self.set_zero_linger();
    }
}

impl Socket for UnixStream {
    fn reset_on_close(&self) {}
}

impl Severable {
    async fn connect(address: &str, cut: &Cut) -> io::Result<Self> {
        let socket: Pin<Box<dyn Socket>> = if let Some(path) = address.strip_prefix("unix://") {
            Box::pin(UnixStream::connect(path).await?)
        } else {
            let stream = TcpStream::connect(address.strip_prefix("http://").unwrap_or(address)).await?;
            stream.set_nodelay(true)?;
            Box::pin(stream)
        };
        Ok(Self { socket, cut: Some(cut.arm()), severed: false })
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(cut) = &mut self.cut
            && let Poll::Ready(used) = Pin::new(cut).poll(context)
        {
            self.cut = None;
            self.severed = used.is_ok();
            if self.severed {
                self.socket.reset_on_close();
            }
        }
        if self.severed { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Severable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        self.socket.as_mut().poll_read(context, buffer)
    }
}

impl AsyncWrite for Severable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket.as_mut().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.as_mut().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.as_mut().poll_shutdown(context)
    }
}
