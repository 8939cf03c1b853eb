//! One HTTP/2 connection, on which gRPC calls are opened.
//!
//! Why not a gRPC client library: it hides what a suite must see. tonic, for one, takes a stream that ends without
//! trailers for a clean end. Here a missing grpc-status is [`End::NoStatus`], a reset is [`End::Reset`], and nothing
//! is ever invented. One thing is done as every gRPC client does it: a call that the target says it has not begun to process
//! is opened again, on a new connection (gRPC A6, "Transparent retries").

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{self, ResponseFuture},
};
use http::{HeaderName, HeaderValue, Request};
use tokio::{sync::Mutex, task::JoinHandle, time::timeout};

use crate::{
    address::Address,
    call::Call,
    end::{End, closed_by, own_doing, untouched},
    observer::Observer,
    shown::quote,
    tls::Tls,
    transport::{Transport, dial},
};

/// An HTTP/2 connection to the target; closed when the last clone of it and of its calls is gone.
#[derive(Clone)]
pub struct Connection {
    requests: client::SendRequest<Bytes>,
    place: Arc<Place>,
    fate: Arc<OnceLock<String>>,
    _driver: Arc<Driver>,
}

/// Where a connection goes, and the one that follows it once the target has said goodbye.
struct Place {
    address: Address,
    tls: Tls,
    patience: Duration,
    window: u32,
    successor: Mutex<Option<Connection>>,
}

/// Why a call got no stream.
pub(crate) enum Unopened {
    /// The target takes no more calls here, and says so without an error.
    GoingAway(End),
    /// The stream did not open for another reason.
    Because(End),
    /// This side's library has given the connection up.
    OwnFault(End),
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
        Self::open_with(address, tls, patience, WINDOW).await
    }

    /// Connects such that the target can send only a few hundred bytes of a call before they are read (RFC 9113, section
    /// 5.2): a client that reads slowly makes the target wait.
    pub async fn open_narrow(address: &Address, tls: &Tls, patience: Duration) -> io::Result<Self> {
        Self::open_with(address, tls, patience, NARROW_WINDOW).await
    }

    async fn open_with(address: &Address, tls: &Tls, patience: Duration, window: u32) -> io::Result<Self> {
        let (address, tls) = (address.clone(), tls.clone());
        let io = dial(&address, &tls, patience).await?;
        Self::handshake(io, Place { address, tls, patience, window, successor: Mutex::new(None) }).await
    }

    async fn handshake(io: Box<dyn Transport>, place: Place) -> io::Result<Self> {
        let mut builder = client::Builder::new();
        // One call, and no more until the target's SETTINGS say how many it takes at a time.
        builder.initial_max_send_streams(1);
        builder.initial_window_size(place.window).initial_connection_window_size(8 << 20).enable_push(false);
        // The library's own limits on small frames and odd resets are for servers that strangers call.
        builder.data_frame_budget(SMALL_FRAMES).max_local_error_reset_streams(None);
        let (requests, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
        let fate = Arc::new(OnceLock::new());
        let told = Arc::clone(&fate);
        let driver = tokio::spawn(async move {
            let _ = told.set(match connection.await {
                Ok(()) => "closed by the target".to_owned(),
                Err(error) => closed_by(&error),
            });
        });
        Ok(Self { requests, place: Arc::new(place), fate, _driver: Arc::new(Driver(driver)) })
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
        let mut call = Call::unopened(id, Arc::new(observer.clone()), self.clone(), path, options);
        call.open().await;
        call
    }

    /// A stream for a call.
    pub(crate) async fn stream(
        &self,
        path: &str,
        options: &CallOptions,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Unopened> {
        let refused = |error: &h2::Error| match End::of(error) {
            end if untouched(error) => Unopened::GoingAway(end),
            end if own_doing(error) => Unopened::OwnFault(end),
            end => Unopened::Because(end),
        };
        let mut requests = match timeout(options.patience, self.requests.clone().ready()).await {
            Err(_) => return Err(Unopened::Because(End::TimedOut(options.patience))),
            Ok(ready) => ready.map_err(|error| refused(&error))?,
        };
        let request = self
            .request(path, options)
            .map_err(|error| Unopened::Because(End::Closed(format!("not a request: {error}"))))?;
        requests.send_request(request, false).map_err(|error| refused(&error))
    }

    /// The connection that follows this one; all of its clones share one.
    pub(crate) async fn successor(&self) -> io::Result<Self> {
        let mut successor = self.place.successor.lock().await;
        if let Some(open) = successor.as_ref().filter(|open| open.closed().is_none()) {
            return Ok(open.clone());
        }
        let Place { address, tls, patience, window, .. } = &*self.place;
        let open = Self::open_with(address, tls, *patience, *window).await?;
        *successor = Some(open.clone());
        Ok(open)
    }

    fn request(&self, path: &str, options: &CallOptions) -> http::Result<Request<()>> {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("{}{path}", self.place.address.origin()))
            .header("te", "trailers")
            .header("content-type", options.content_type)
            .header("user-agent", concat!("conformance/", env!("CARGO_PKG_VERSION")));
        if options.offers_gzip {
            request = request.header("grpc-accept-encoding", "gzip,identity");
        }
        for (name, value) in &options.metadata {
            request = request.header(name, value);
        }
        request.body(())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({}, closed: {:?})", self.place.address, self.closed())
    }
}

/// Bytes that the target may send of a call before they are read.
const WINDOW: u32 = 1 << 20;
const NARROW_WINDOW: u32 = 512;
/// Bytes of small frames that may wait to be read.
const SMALL_FRAMES: usize = 64 << 20;
/// The content-type of a gRPC call.
const GRPC: &str = "application/grpc";

/// What goes with a call besides its path.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// Request metadata. Values of `authorization` and sensitive ones never reach the record.
    pub metadata: Vec<(HeaderName, HeaderValue)>,
    /// How long to wait for the connection to take the call.
    pub patience: Duration,
    /// The request's content-type.
    pub content_type: &'static str,
    /// Answers may be compressed with gzip, and the target is told so.
    pub offers_gzip: bool,
}

impl CallOptions {
    /// Those of an ordinary call.
    pub fn new(metadata: Vec<(HeaderName, HeaderValue)>, patience: Duration) -> Self {
        Self { metadata, patience, content_type: GRPC, offers_gzip: false }
    }

    fn shown(&self) -> String {
        let mut words = vec![String::new()];
        if self.content_type != GRPC {
            words.push(format!("content-type={}", quote(self.content_type, 80)));
        }
        // A trace's header is the same in all calls but for its span; reports show the trace once.
        for (name, value) in self.metadata.iter().filter(|(name, _)| name != "traceparent") {
            let value = if name == http::header::AUTHORIZATION || value.is_sensitive() {
                "<redacted>".to_owned()
            } else {
                quote(&String::from_utf8_lossy(value.as_bytes()), 80)
            };
            words.push(format!("{name}={value}"));
        }
        words.join(" ")
    }
}
