//! One HTTP/2 connection, on which gRPC calls are opened.
//!
//! Why not a gRPC client library: it hides what a suite must see. tonic, for one, takes a stream that ends without
//! trailers for a clean end. Here a missing grpc-status is [`End::NoStatus`], a reset is [`End::Reset`], and nothing
//! is ever retried or invented.

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use h2::client;
use http::{HeaderName, HeaderValue, Request};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    address::Address,
    call::Call,
    end::{End, closed_by},
    observer::Observer,
    shown::quote,
    tls::Tls,
    transport::{Transport, dial},
};

/// An HTTP/2 connection to the target; closed when the last clone of it and of its calls is gone.
#[derive(Clone)]
pub struct Connection {
    requests: client::SendRequest<Bytes>,
    origin: String,
    fate: Arc<OnceLock<String>>,
    _driver: Arc<Driver>,
}

/// Drives a connection; aborted with the last of those who hold it.
pub struct Driver(pub JoinHandle<()>);

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
    pub async fn call(
        &self,
        path: &str,
        options: &CallOptions,
        observer: &(impl Observer + Clone + 'static),
    ) -> Call {
        let id = observer.next_call();
        observer.sent(id, format!("call {path}{}", options.shown()));
        let mut call = Call::unopened(id, Arc::new(observer.clone()), self.clone());
        match timeout(options.patience, self.requests.clone().ready()).await {
            Err(_) => call.end_with(End::TimedOut(options.patience)),
            Ok(Err(error)) => call.end_with(End::of(&error)),
            Ok(Ok(mut requests)) => match self.request(path, options) {
                Ok(request) => match requests.send_request(request, false) {
                    Ok((response, send)) => call.begin(response, send),
                    Err(error) => call.end_with(End::of(&error)),
                },
                Err(error) => call.end_with(End::Closed(format!("not a request: {error}"))),
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
        // A trace's header is the same in all calls but for its span; reports show the trace once.
        for (name, value) in self.metadata.iter().filter(|(name, _)| name != "traceparent") {
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
