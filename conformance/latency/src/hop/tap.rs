//! The backend behind the proxy: the exemplar at a pace, which writes down when a request came and when each chunk left.
//!
//! On a thread and a runtime of its own: what the client does at that moment must not hold it up.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ai_inference_proto::{Dialect, GenerationRequest};
use bytes::Bytes;
use exemplar::{self, Behaviour, Conformant, HttpRequest, HttpResponse, Next, Responses, Script, State};
use futures_util::StreamExt as _;
use tokio::sync::oneshot;
use tonic::Status;
use wire::Address;

use super::{
    super::record::Nanos,
    marker::{Mark, asked},
};

/// The one clock of both ends.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Nanos {
        self.0.elapsed().as_nanos() as Nanos
    }
}

/// A running tap; it stops when dropped.
#[derive(Debug)]
pub struct Tap {
    /// Where it listens.
    pub address: Address,
    log: Arc<Log>,
    _stop: oneshot::Sender<()>,
}

/// What the tap says, and what it has seen.
#[derive(Debug)]
struct Log {
    clock: Clock,
    chunks: u32,
    chunk_bytes: usize,
    gap: Duration,
    /// Only of generations that the client has announced: others can make it no larger.
    seen: Mutex<HashMap<u32, Seen>>,
    /// HTTP requests of any kind, whatever became of them.
    arrived: AtomicU64,
}

/// One generation as the tap saw it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// When its request came; more than once if a proxy asks again.
    pub(super) received: Vec<Nanos>,
    /// When each chunk left.
    pub(super) sent: Vec<Nanos>,
}

impl Tap {
    /// Listens; each generation is `chunks` chunks of `chunk_bytes` bytes, a `gap` apart.
    pub async fn start(
        listen: &Address,
        clock: Clock,
        chunks: u32,
        chunk_bytes: usize,
        gap: Duration,
    ) -> io::Result<Self> {
        let log = Arc::new(Log {
            clock,
            chunks,
            chunk_bytes,
            gap,
            seen: Mutex::default(),
            arrived: AtomicU64::new(0),
        });
        let (behaviour, listen) = (Stamped(Arc::clone(&log)), listen.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = async move {
            match exemplar::serve(Arc::new(behaviour), &[listen], None).await {
                Ok(running) => {
                    let _ = tell.send(Ok(running.addresses[0].clone()));
                    let _ = stopped.await;
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        };
        thread::Builder::new().name("tap".to_owned()).spawn(move || runtime.block_on(serve))?;
        let address = told.await.map_err(io::Error::other)??;
        Ok(Self { address, log, _stop: stop })
    }

    /// HTTP requests that have come so far, whether they were understood or not.
    pub(super) fn arrived(&self) -> u64 {
        self.log.arrived.load(Ordering::Relaxed)
    }

    /// A generation is about to be asked for.
    pub(super) fn expect(&self, generation: u32) {
        self.log.seen().insert(generation, Seen::default());
    }

    /// What was seen of it; it is forgotten.
    pub(super) fn take(&self, generation: u32) -> Seen {
        self.log.seen().remove(&generation).unwrap_or_default()
    }
}

impl Log {
    fn seen(&self) -> MutexGuard<'_, HashMap<u32, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation that a request asks for, if it is one of ours.
    fn ours(&self, request: &GenerationRequest) -> Option<u32> {
        asked(&request.prompt).filter(|generation| self.seen().contains_key(generation))
    }

    fn note(&self, generation: u32, what: impl FnOnce(&mut Seen) -> &mut Vec<Nanos>) {
        let now = self.clock.now();
        if let Some(seen) = self.seen().get_mut(&generation) {
            what(seen).push(now);
        }
    }
}

/// The exemplar, with its log.
struct Stamped(Arc<Log>);

#[tonic::async_trait]
impl Behaviour for Stamped {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        self.0.arrived.fetch_add(1, Ordering::Relaxed);
        next.run(request).await
    }

    fn decode(&self, dialect: Dialect, bytes: &Bytes) -> Result<GenerationRequest, Status> {
        let request = Conformant.decode(dialect, bytes)?;
        if let Some(generation) = self.0.ours(&request) {
            self.0.note(generation, |seen| &mut seen.received);
        }
        Ok(request)
    }

    /// Under whatever model a proxy knows it by.
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        state.admit(&GenerationRequest { model_id: String::new(), ..request.clone() })
    }

    fn speak(&self, request: &GenerationRequest) -> Script {
        let Log { chunks, chunk_bytes, gap, .. } = *self.0;
        match self.0.ours(request) {
            Some(generation) => Script {
                tokens: (0..chunks).map(|index| Mark { generation, index }.text(chunk_bytes)).collect(),
                first_after: gap,
                gap,
            },
            None => Conformant.speak(request),
        }
    }

    fn respond(&self, request: &GenerationRequest, responses: Responses) -> Responses {
        let Some(generation) = self.0.ours(request) else { return responses };
        let log = Arc::clone(&self.0);
        Box::pin(responses.inspect(move |response| {
            if response.as_ref().is_ok_and(|response| !response.chunk.is_empty()) {
                log.note(generation, |seen| &mut seen.sent);
            }
        }))
    }
}
