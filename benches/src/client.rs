//! A client of either dialect over a Unix socket or TCP, on a connection that can be cut like a cable.
//!
//! As thin as tonic allows, because its work is a part of what is measured.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt, io,
    path::PathBuf,
    pin::Pin,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use ai_inference_proto::{
    Contract, CyLlm, Dialect, GenerationRequest, GenerationResponse, HealthAnswer, Metadata, Sampling,
    WireDialect, contract,
};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::oneshot,
};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket, written as `unix:///abs/path`.
    Unix(PathBuf),
    /// `host:port`, with or without `http://`.
    Tcp(String),
}

impl FromStr for Address {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.strip_prefix("unix://") {
            Some(path) => Self::Unix(path.into()),
            None => Self::Tcp(text.strip_prefix("http://").unwrap_or(text).to_owned()),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

/// One connection. Cheap to clone; opened anew when it breaks.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    cut: Cut,
}

impl Connection {
    /// Connects. `window` is how many unread bytes of one stream the server may send; `None` for HTTP/2's 64 KiB.
    pub async fn open(address: &Address, window: Option<u32>) -> Result<Self, tonic::transport::Error> {
        let cut = Cut::default();
        let (kept, address) = (cut.clone(), address.clone());
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
        Ok(match dialect {
            Dialect::Contract => Responses::Contract(self.stream::<Contract>(request, timeout).await?),
            Dialect::CyLlm => Responses::CyLlm(self.stream::<CyLlm>(request, timeout).await?),
        })
    }

    /// The counters that the server shows in Health.
    pub async fn health(&self) -> Result<BTreeMap<String, String>, Status> {
        let mut grpc = self.ready().await?;
        let codec = ProstCodec::<contract::WorkerHealthRequest, contract::WorkerHealthResponse>::new();
        let request = Request::new(contract::WorkerHealthRequest::default());
        let answer = grpc.unary(request, path(Dialect::Contract, "Health"), codec).await?;
        Ok(HealthAnswer::from(answer.into_inner()).metrics)
    }

    /// Drops the socket without a word: over TCP the server sees a reset, over a Unix socket a broken pipe.
    pub fn cut(&self) {
        self.cut.now();
    }

    async fn stream<W: WireDialect>(
        &self,
        request: GenerationRequest,
        timeout: Option<Duration>,
    ) -> Result<Streaming<W::Response>, Status> {
        let mut request = Request::new(tokio_stream::once(W::Request::from(request)));
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        let mut grpc = self.ready().await?;
        let codec = ProstCodec::<W::Request, W::Response>::new();
        Ok(grpc.streaming(request, path(W::DIALECT, "StreamPredict"), codec).await?.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }
}

/// The responses of one generation.
#[derive(Debug)]
pub enum Responses {
    /// Responses in the documented dialect.
    Contract(Streaming<contract::StreamPredictResponse>),
    /// Responses in the deployed dialect.
    CyLlm(Streaming<ai_inference_proto::cy_llm::StreamPredictResponse>),
}

impl Responses {
    /// The next response; `None` when the call has ended with OK.
    pub async fn next(&mut self) -> Result<Option<GenerationResponse>, Status> {
        Ok(match self {
            Self::Contract(stream) => stream.message().await?.map(Into::into),
            Self::CyLlm(stream) => stream.message().await?.map(Into::into),
        })
    }
}

/// A request to the default model as the contract asks for greedy text.
pub fn greedy(prompt: &str, trace_id: &str, max_new_tokens: usize) -> GenerationRequest {
    let sampling = Sampling {
        max_new_tokens: max_new_tokens as i64,
        temperature: 0.01,
        top_p: 0.001,
        repetition_penalty: 1.0,
    };
    GenerationRequest {
        prompt: prompt.to_owned(),
        sampling: Some(sampling),
        metadata: Some(Metadata { trace_id: trace_id.to_owned(), ..Metadata::default() }),
        ..GenerationRequest::default()
    }
}

fn path(dialect: Dialect, method: &'static str) -> PathAndQuery {
    let path = match (dialect, method) {
        (Dialect::Contract, "Health") => "/AiInference/Health",
        (Dialect::Contract, _) => "/AiInference/StreamPredict",
        (Dialect::CyLlm, _) => "/cy.llm.AiInference/StreamPredict",
    };
    PathAndQuery::from_static(path)
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
    async fn connect(address: &Address, cut: &Cut) -> io::Result<Self> {
        let socket: Pin<Box<dyn Socket>> = match address {
            Address::Unix(path) => Box::pin(UnixStream::connect(path).await?),
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::pin(stream)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_sidecar_prints_them() {
        let read = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(read("unix:///tmp/a.sock"), Address::Unix("/tmp/a.sock".into()));
        assert_eq!(read("http://127.0.0.1:50051"), Address::Tcp("127.0.0.1:50051".to_owned()));
        assert_eq!(read("localhost:1").to_string(), "localhost:1");
    }
}
