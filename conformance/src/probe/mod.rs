//! All that a check may touch: a client for one endpoint that sees every frame, and words for what it expects.
//!
//! Talks to: the endpoint, over [`wire`], and what starts it. Must not touch: the runner, the reports, the exemplar.

mod answer;
mod by_hand;
mod counter;
mod crowd;
mod drawn;
mod expect;
mod generation;
mod grpcurl;
mod heard;
mod leaks;
mod load;
mod managed;
mod models;
mod pace;
mod pool;
mod record;
mod reflection;
mod room;
mod schema;
mod seen;
mod settled;
mod trace;
mod unary;
mod variant;
mod watch;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ai_inference_proto::{Dialect, GenerationRequest, Metadata, Sampling};
use http::{HeaderName, HeaderValue};
use present::secrets::Redactor;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

/// What checks name of a connection: how calls end, above all.
pub use ::wire;
pub use answer::{Answer, METHODS};
pub use by_hand::ByHand;
pub use crowd::is_refused;
pub use drawn::{SHRINKING, SHRINKING_STEPS, smallest};
pub use expect::Within;
pub use generation::{Generation, Response, Stream, StreamItem, Streamer};
use heard::Ears;
pub use heard::{Finding, Heard};
pub use load::Load;
pub use managed::Managed;
pub use models::{Unloadable, status};
pub use pace::Pace;
pub use pool::refused;
pub use record::Record;
pub(crate) use record::shortened;
pub use reflection::{Reflected, Reflection};
pub use room::{Capacity, Full, NOT_FULL, Room};
pub use schema::differences;
pub use seen::Seen;
use trace::Trace;
pub use unary::Unary;
pub use watch::{Watched, Watcher};
pub(crate) use wire::quote;
use wire::{Address, CallOptions, Connection, Raw, Tls};

use crate::{
    evidence::Exchange,
    target::Instances,
    verdict::{Judgement, NotPassed},
    vocabulary::Need,
};

/// What is known of the endpoint under test; the same for every check of a run.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// One endpoint may have several: its Unix socket and its TCP port. The first is used.
    pub addresses: Vec<Address>,
    /// How `https://` addresses are spoken to.
    pub tls: Tls,
    /// The dialect that the checks speak.
    pub dialect: Dialect,
    /// The dialect whose service name the documentation promises: `contract`, or `cy.llm` in the `deployed` profile.
    pub documented: Dialect,
    /// A model that the endpoint serves; empty is its default model.
    pub model: String,
    /// Bearer token for StreamPredict and Control.
    pub token: Option<String>,
    /// What the user gave to be sent with every call.
    pub metadata: Vec<(HeaderName, HeaderValue)>,
    /// Prompts that give long and varied text on this endpoint, best first; never empty.
    pub prompts: Vec<String>,
    /// How long to wait for an answer that must come.
    pub patience: Duration,
    /// What starts more instances of the target, where the run can.
    pub instances: Option<Arc<Instances>>,
    /// What the checks have seen so far.
    pub seen: Seen,
}

impl Endpoint {
    /// Whether a check can have what it needs.
    pub fn gives(&self, need: Need) -> bool {
        let unix = |address: &Address| matches!(address, Address::Unix(_));
        match need {
            Need::Token => self.token.is_some(),
            Need::SocketAndPort => self.addresses.iter().any(unix) && !self.addresses.iter().all(unix),
            Need::Tls => self.addresses.iter().any(Address::is_tls),
            Need::Managed => self.instances.as_ref().is_some_and(|instances| instances.can_start()),
            Need::Downstream | Need::Http | Need::Issuer | Need::Database => false,
        }
    }

    /// Takes out of a text what is secret of the credentials.
    pub fn redactor(&self) -> Redactor {
        let sensitive = self.metadata.iter().filter(|(_, value)| value.is_sensitive());
        let values = sensitive.filter_map(|(_, value)| value.to_str().ok());
        Redactor::new(self.token.as_deref().into_iter().chain(values))
    }
}

/// A check's hands and eyes.
pub struct Probe {
    endpoint: Arc<Endpoint>,
    record: Record,
    rng: Mutex<StdRng>,
    exercised: AtomicU32,
    connection: tokio::sync::Mutex<Option<Connection>>,
    trace: Trace,
}

impl Probe {
    /// A probe for one check. Everything random in the check follows from `seed`.
    pub fn new(endpoint: Arc<Endpoint>, seed: u64) -> Self {
        Self {
            endpoint,
            record: Record::new(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            exercised: AtomicU32::new(0),
            connection: tokio::sync::Mutex::default(),
            trace: Trace::new(),
        }
    }

    /// The same, reporting what it hears to the run's store on behalf of this check.
    #[must_use]
    pub fn reporting(self, heard: Heard, check: &'static str) -> Self {
        let record = Record::hearing(Ears::new(heard, check, &self.endpoint));
        Self { record, ..self }
    }

    /// What all checks of the run have heard so far that a server must not tell.
    pub fn leaks(&self) -> Vec<Finding> {
        self.record.leaks()
    }

    /// The endpoint that the probe asks.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The dialect that the checks speak.
    pub fn dialect(&self) -> Dialect {
        self.endpoint.dialect
    }

    /// How long to wait for an answer that must come.
    pub fn patience(&self) -> Duration {
        self.endpoint.patience
    }

    /// Asserts one thing about the target; a check that asserts nothing never passes.
    pub fn assert(&self, holds: bool, violation: impl FnOnce() -> String) -> Judgement {
        self.exercised.fetch_add(1, Ordering::Relaxed);
        if holds { Ok(()) } else { Err(NotPassed::Fail(violation())) }
    }

    /// How many assertions were made so far.
    pub fn exercised(&self) -> u32 {
        self.exercised.load(Ordering::Relaxed)
    }

    /// Whether anything was waited for in vain so far.
    pub fn waited(&self) -> bool {
        self.record.waited()
    }

    /// Whether a connection was lost so far, or none could be made.
    pub fn lost(&self) -> bool {
        self.record.lost()
    }

    /// Whether this side's own library ended a call so far.
    pub fn own_fault(&self) -> bool {
        self.record.own_fault()
    }

    /// The evidence so far, and how many exchanges it leaves out.
    pub fn evidence(&self) -> (Vec<Exchange>, usize) {
        self.record.take()
    }

    /// The trace id of W3C Trace Context that all calls of this check carry.
    pub fn trace(&self) -> String {
        self.trace.id()
    }

    /// The request that a verdict's reason is about, as a grpcurl command; nothing where it cannot be shown.
    pub fn grpcurl(&self, reason: &str, reflected: bool) -> Option<String> {
        grpcurl::command(&self.endpoint, &self.record.requests(), reason, reflected)
    }

    /// A random number below `bound`.
    pub fn random(&self, bound: usize) -> usize {
        self.rng().random_range(0..bound.max(1))
    }

    /// A trace id that no other request has.
    pub fn trace_id(&self) -> String {
        format!("conformance-{:016x}", self.rng().next_u64())
    }

    /// A legal, greedy request for at most `max_new_tokens` tokens on the endpoint's best prompt.
    ///
    /// Greedy is asked for with a tiny top_p, never with zero: zero is unset (contract, section 5).
    pub fn request(&self, max_new_tokens: i64) -> GenerationRequest {
        GenerationRequest {
            model_id: self.endpoint.model.clone(),
            prompt: self.endpoint.prompts[0].clone(),
            sampling: Some(Sampling {
                max_new_tokens,
                temperature: 0.01,
                top_p: 0.001,
                repetition_penalty: 1.0,
            }),
            metadata: Some(Metadata { trace_id: self.trace_id(), ..Metadata::default() }),
            ..GenerationRequest::default()
        }
    }

    /// The check's own connection, opened when first needed and again when it has been lost.
    pub async fn connection(&self) -> Result<Connection, NotPassed> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|c| c.closed().is_none()) {
            return Ok(connection.clone());
        }
        let connection = self.connect().await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// Lets go of the check's own connection: the next call opens a new one. Calls under way keep the old one.
    pub async fn forget_connection(&self) {
        *self.connection.lock().await = None;
    }

    /// A new connection of its own.
    pub async fn connect(&self) -> Result<Connection, NotPassed> {
        let Endpoint { addresses, tls, patience, .. } = &*self.endpoint;
        self.connected(Connection::open(&addresses[0], tls, *patience).await)
    }

    /// A new connection on which the target must wait for a client that reads slowly.
    pub async fn connect_narrow(&self) -> Result<Connection, NotPassed> {
        let Endpoint { addresses, tls, patience, .. } = &*self.endpoint;
        self.connected(Connection::open_narrow(&addresses[0], tls, *patience).await)
    }

    /// A new connection on which frames are sent by hand, with these SETTINGS.
    pub async fn connect_by_hand(&self, settings: &[u8]) -> Result<Raw, NotPassed> {
        let Endpoint { addresses, tls, patience, .. } = &*self.endpoint;
        self.connected(Raw::open(&addresses[0], tls, settings, *patience).await)
    }

    /// The header block of a call with the endpoint's token, for a connection by hand.
    pub fn block(&self, raw: &Raw, method: &str) -> Vec<u8> {
        let bearer = self.endpoint.token.as_ref().map(|token| format!("Bearer {token}"));
        let more: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        wire::frames::block(&self.path(method), raw.authority(), &more)
    }

    fn connected<T>(&self, opened: io::Result<T>) -> Result<T, NotPassed> {
        opened.map_err(|error| {
            wire::Observer::lost(&self.record);
            NotPassed::Fail(format!("no connection to {}: {error}", self.endpoint.addresses[0]))
        })
    }

    /// The path of one of the service's methods in the dialect in use.
    pub fn path(&self, method: &str) -> String {
        format!("/{}/{method}", self.dialect().service())
    }

    /// Call options with the endpoint's token.
    pub fn options(&self) -> CallOptions {
        let mut options = self.anonymous();
        if let Some(token) = &self.endpoint.token
            && let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}"))
        {
            options.metadata.push((http::header::AUTHORIZATION, value));
        }
        options
    }

    /// Call options without the token.
    pub fn anonymous(&self) -> CallOptions {
        let mut metadata = self.endpoint.metadata.clone();
        metadata.push(self.trace.header());
        CallOptions::new(metadata, self.patience())
    }

    fn rng(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
