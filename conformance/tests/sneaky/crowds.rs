//! Crowds, readers that pause, and clients that go: faults that show only beyond some width, and servers with few slots, with
//! small limits or with another order of service, which are right.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ai_inference_proto::{GenerationRequest, Sampling};
use conformance::{
    events::Verdict::{Fail, Inconclusive, Pass},
    exemplar::{
        Behaviour, Conformant, HttpRequest, HttpResponse, Next, Requests, Responses, Script, State, Turn,
        rewrite,
    },
};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{self, error::TrySendError},
    oneshot,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, body::Body};

use super::{
    Sneaky,
    behaviours::{EndsAfter, Random},
    slots::{Order, Slots},
};

pub(super) static ALL: &[Sneaky] = &[
    Sneaky {
        name: "CONCURRENCY-002/a-batch-has-one-bound",
        behaviour: || Arc::new(OneBound::default()),
        verdict: Fail,
        reason: "gave another text than alone",
        beside: &["SAMPLING-002"],
    },
    Sneaky {
        name: "CONCURRENCY-002/a-batch-has-one-penalty",
        behaviour: || Arc::new(OnePenalty::default()),
        verdict: Fail,
        reason: "gave another text than alone",
        beside: &["STREAM-005"],
    },
    Sneaky {
        name: "CONCURRENCY-002/random",
        behaviour: || Arc::new(Random),
        verdict: Inconclusive,
        reason: "there is nothing to compare with",
        beside: &["CONCURRENCY-006"],
    },
    Sneaky {
        name: "CONCURRENCY-002/one-slot-that-refuses",
        behaviour: || Slots::stops(1, Order::Refuse, 5),
        verdict: Inconclusive,
        reason: "none ran beside another",
        beside: &["CONCURRENCY-006"],
    },
    Sneaky {
        name: "CONCURRENCY-005/a-queue-of-a-hundred",
        behaviour: || Arc::new(SharedQueue::of(100)),
        verdict: Fail,
        reason: "had stopped reading",
        beside: &["STREAM-005"],
    },
    Sneaky {
        name: "CONCURRENCY-005/one-slot",
        behaviour: || Slots::stops(1, Order::FirstCome, 4),
        verdict: Inconclusive,
        reason: "one generation at a time",
        beside: &[],
    },
    Sneaky {
        name: "CONCURRENCY-005/two-slots",
        behaviour: || Slots::stops(2, Order::FirstCome, 8),
        verdict: Pass,
        reason: "",
        beside: &[
            "CONCURRENCY-006",
            "CONCURRENCY-009",
            "CONCURRENCY-010",
            "CONCURRENCY-014",
            "CONCURRENCY-015",
        ],
    },
    Sneaky {
        name: "CONCURRENCY-005/two-slots-that-refuse",
        behaviour: || Slots::stops(2, Order::Refuse, 4),
        verdict: Pass,
        reason: "",
        beside: &["CONCURRENCY-006", "CONCURRENCY-009", "CONCURRENCY-010", "CONCURRENCY-015"],
    },
    Sneaky {
        name: "CONCURRENCY-005/done-in-an-instant",
        behaviour: || Arc::new(Instant),
        verdict: Pass,
        reason: "",
        beside: &["CONCURRENCY-006", "CONCURRENCY-014", "CONCURRENCY-015"],
    },
    Sneaky {
        name: "CONCURRENCY-005/ends-by-itself-after-three-tokens",
        behaviour: || Arc::new(EndsAfter(3)),
        verdict: Inconclusive,
        reason: "its reader",
        beside: &["CONCURRENCY-002", "CONCURRENCY-006", "CONCURRENCY-013", "CONCURRENCY-015"],
    },
    Sneaky {
        name: "CONCURRENCY-006/one-slot-last-come",
        behaviour: || Slots::stops(1, Order::LastCome, 1),
        verdict: Pass,
        reason: "",
        beside: &["CONCURRENCY-009", "CONCURRENCY-010"],
    },
    Sneaky {
        name: "CONCURRENCY-006/a-long-queue-overflows",
        behaviour: || Arc::new(Overflows::default()),
        verdict: Fail,
        reason: "INTERNAL",
        beside: &["CONCURRENCY-001"],
    },
    Sneaky {
        name: "CONCURRENCY-006/empty-and-ok-under-load",
        behaviour: || Arc::new(Sheds::default()),
        verdict: Fail,
        reason: "was dropped",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "CONCURRENCY-006/the-first-are-cut-for-the-next",
        behaviour: || Arc::new(CutsTheOldest::default()),
        verdict: Fail,
        reason: "when it had begun",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "CONCURRENCY-009/cut-streams-keep-their-slots",
        behaviour: || Arc::new(KeepsSlots::of(230)),
        verdict: Fail,
        reason: "generations run at once",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "CONCURRENCY-010/last-come-is-first",
        behaviour: || Slots::stops(3, Order::LastCome, 2),
        verdict: Pass,
        reason: "",
        beside: &["CONCURRENCY-006"],
    },
    Sneaky {
        name: "CONCURRENCY-010/a-cancelled-request-is-run-in-its-turn",
        behaviour: || Arc::new(RunsTheAbsent::of(2)),
        verdict: Fail,
        reason: "cancelled while they waited",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "CONCURRENCY-010/places-of-the-queue-are-lost",
        behaviour: || Arc::new(LosesPlaces::of(2, 6)),
        verdict: Fail,
        reason: "where such a one had waited before",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "CONCURRENCY-013/sixty-calls-and-no-more",
        behaviour: || Arc::new(Calls::of(60)),
        verdict: Inconclusive,
        reason: "counts idle streams as work",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "CONCURRENCY-013/idle-streams-block-generations-alone",
        behaviour: || Arc::new(FortyStreams::default()),
        verdict: Fail,
        reason: "a generation on another connection was not served",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "CONCURRENCY-014/dense-and-with-holes",
        behaviour: || Arc::new(Lossy),
        verdict: Fail,
        reason: "lost a piece of the text",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "CONCURRENCY-014/cut-off-after-a-second",
        behaviour: || Arc::new(CutsOff),
        verdict: Fail,
        reason: "was cut off",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "CONCURRENCY-014/waiting-chunks-are-joined",
        behaviour: || Arc::new(Joins),
        verdict: Pass,
        reason: "",
        beside: &["CONCURRENCY-005", "CONCURRENCY-015", "STREAM-005"],
    },
    Sneaky {
        name: "CONCURRENCY-015/the-second-is-refused",
        behaviour: || Arc::new(RefusesSecond::default()),
        verdict: Fail,
        reason: "ALREADY_EXISTS",
        beside: &["CONCURRENCY-001"],
    },
    Sneaky {
        name: "CONCURRENCY-015/an-index-for-each-trace-id",
        behaviour: || Arc::new(IndexByTraceId::default()),
        verdict: Fail,
        reason: "one had the indexes",
        beside: &["STREAM-005", "CONCURRENCY-001"],
    },
];

/// A request has the smallest bound of those that run when it begins.
#[derive(Default)]
struct OneBound {
    running: Arc<Mutex<Vec<i64>>>,
}

impl Behaviour for OneBound {
    fn respond(&self, request: &GenerationRequest, responses: Responses) -> Responses {
        let bound = request.sampling.map_or(0, |s| s.max_new_tokens);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.push(bound);
        let smallest = running.iter().copied().fold(bound, i64::min);
        drop(running);
        let guard = Leaves(Arc::clone(&self.running), bound);
        rewrite(responses, move |mut message| {
            let _ = &guard;
            if smallest < bound && message.index >= smallest && !message.end_of_stream {
                return vec![];
            }
            message.index = message.index.min(smallest.max(1));
            vec![message]
        })
    }
}

/// Takes a bound off the list when a generation ends.
struct Leaves(Arc<Mutex<Vec<i64>>>, i64);

impl Drop for Leaves {
    fn drop(&mut self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = running.iter().position(|bound| *bound == self.1) {
            running.remove(at);
        }
    }
}

/// Requests that come while others run take the repetition_penalty of the request before.
#[derive(Default)]
struct OnePenalty {
    running: Arc<()>,
    before: Mutex<f64>,
}

impl Behaviour for OnePenalty {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let sampling = request.sampling.unwrap_or_default();
        let own = sampling.repetition_penalty;
        let before = std::mem::replace(&mut *self.before.lock().unwrap_or_else(PoisonError::into_inner), own);
        let shared = Arc::strong_count(&self.running) > 1 && before > 0.0;
        let repetition_penalty = if shared { before } else { own };
        let sampling = Some(Sampling { repetition_penalty, ..sampling });
        Conformant.speak(&GenerationRequest { sampling, ..request.clone() })
    }

    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let running = Arc::clone(&self.running);
        rewrite(responses, move |message| {
            let _ = &running;
            vec![message]
        })
    }
}

/// The whole text is there at once.
struct Instant;

impl Behaviour for Instant {
    fn speak(&self, request: &GenerationRequest) -> Script {
        Script { first_after: Duration::ZERO, gap: Duration::ZERO, ..Conformant.speak(request) }
    }
}

/// A queue of so many responses for all streams together: who does not take its own keeps the places.
struct SharedQueue {
    places: Arc<Semaphore>,
}

impl SharedQueue {
    fn of(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)) }
    }
}

impl Behaviour for SharedQueue {
    fn respond(&self, _request: &GenerationRequest, mut responses: Responses) -> Responses {
        let (sender, receiver) = mpsc::unbounded_channel();
        let places = Arc::clone(&self.places);
        tokio::spawn(async move {
            while let Some(response) = responses.next().await {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                if sender.send((response, place)).is_err() {
                    return;
                }
            }
        });
        Box::pin(stream::unfold(receiver, |mut receiver| async move {
            let (response, _place) = receiver.recv().await?;
            Some((response, receiver))
        }))
    }
}

/// Sixteen slots, and INTERNAL where more than sixty requests wait for them.
struct Overflows {
    slots: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Default for Overflows {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(16)), waiting: Arc::default() }
    }
}

#[tonic::async_trait]
impl Behaviour for Overflows {
    async fn turn(&self, _state: &State, _request: &GenerationRequest) -> Result<Turn, Status> {
        let waiting = Count::one(&self.waiting);
        if waiting.0.load(Ordering::Relaxed) > 60 {
            return Err(Status::internal("the queue has no place left"));
        }
        Ok(Box::new(Arc::clone(&self.slots).acquire_owned().await))
    }
}

/// One more, until it is dropped.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn one(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// While twenty requests run, what comes besides is answered OK and with nothing.
#[derive(Default)]
struct Sheds {
    running: Arc<AtomicUsize>,
}

impl Behaviour for Sheds {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let count = Count::one(&self.running);
        if count.0.load(Ordering::Relaxed) > 20 {
            return Box::pin(stream::empty());
        }
        rewrite(responses, move |message| {
            let _ = &count;
            vec![message]
        })
    }
}

/// Ends what has run for longest when more than thirty generations run.
#[derive(Default)]
struct CutsTheOldest {
    begun: AtomicUsize,
    ended: Arc<AtomicUsize>,
    cut: Arc<AtomicUsize>,
}

impl Behaviour for CutsTheOldest {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        if number.saturating_sub(self.ended.load(Ordering::Relaxed)) > 30 {
            self.cut.store(number - 30, Ordering::Relaxed);
        }
        let cut = Arc::clone(&self.cut);
        let ends = EndCounted(Arc::clone(&self.ended));
        Box::pin(responses.map(move |response| {
            let _ = &ends;
            if cut.load(Ordering::Relaxed) >= number {
                return Err(Status::resource_exhausted("pushed out by a newer request"));
            }
            response
        }))
    }
}

/// Counts an end when it is dropped.
struct EndCounted(Arc<AtomicUsize>);

impl Drop for EndCounted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// So many slots; one whose generation is cut off is never free again.
struct KeepsSlots {
    slots: Arc<Semaphore>,
}

impl KeepsSlots {
    fn of(slots: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots)) }
    }
}

impl Behaviour for KeepsSlots {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let slots = Arc::clone(&self.slots);
        Box::pin(stream::unfold((responses, None), move |(mut responses, slot)| {
            let slots = Arc::clone(&slots);
            async move {
                let mut slot = match slot {
                    Some(slot) => slot,
                    // What becomes of it when nothing asks for the next response: nothing.
                    None => Kept(slots.acquire_owned().await.ok()),
                };
                let response = responses.next().await;
                if response.is_none() {
                    drop(slot.0.take());
                }
                Some((response?, (responses, Some(slot))))
            }
        }))
    }
}

/// A slot that is given back only when it is taken out.
struct Kept(Option<OwnedSemaphorePermit>);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(permit) = self.0.take() {
            permit.forget();
        }
    }
}

/// A few slots; a request whose client has gone still gets one in its turn, and keeps it for a third of a second.
struct RunsTheAbsent {
    slots: Arc<Semaphore>,
}

impl RunsTheAbsent {
    fn of(slots: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots)) }
    }
}

#[tonic::async_trait]
impl Behaviour for RunsTheAbsent {
    async fn turn(&self, _state: &State, _request: &GenerationRequest) -> Result<Turn, Status> {
        let (sender, receiver) = oneshot::channel();
        let slots = Arc::clone(&self.slots);
        tokio::spawn(async move {
            let slot = slots.acquire_owned().await;
            if let Err(slot) = sender.send(slot) {
                tokio::time::sleep(Duration::from_millis(700)).await;
                drop(slot);
            }
        });
        Ok(Box::new(receiver.await))
    }
}

/// A few slots and a queue of some places; the place of a request that goes is lost.
struct LosesPlaces {
    slots: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl LosesPlaces {
    fn of(slots: usize, places: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots)), places: Arc::new(Semaphore::new(places)) }
    }
}

#[tonic::async_trait]
impl Behaviour for LosesPlaces {
    async fn turn(&self, _state: &State, _request: &GenerationRequest) -> Result<Turn, Status> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Box::new(slot));
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let mut place = Kept(Some(place.map_err(|_| Status::resource_exhausted("the queue is full"))?));
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        drop(place.0.take());
        Ok(Box::new(slot))
    }
}

/// Takes so many calls of all kinds at a time, and refuses more.
struct Calls {
    open: Arc<AtomicUsize>,
    most: usize,
}

impl Calls {
    fn of(most: usize) -> Self {
        Self { open: Arc::default(), most }
    }
}

#[tonic::async_trait]
impl Behaviour for Calls {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        let count = Count::one(&self.open);
        if count.0.load(Ordering::Relaxed) > self.most {
            return Status::resource_exhausted("too many calls").into_http();
        }
        let (head, body) = request.into_parts();
        // The call is over when its request is: a client that sends nothing keeps it open.
        let body = Body::new(body.map_frame(move |frame| {
            let _ = &count;
            frame
        }));
        next.run(HttpRequest::from_parts(head, body)).await
    }
}

/// Forty threads for streams; Health has one of its own.
struct FortyStreams {
    threads: Arc<Semaphore>,
}

impl Default for FortyStreams {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(40)) }
    }
}

#[tonic::async_trait]
impl Behaviour for FortyStreams {
    async fn requests(&self, requests: Requests) -> Requests {
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        Box::pin(requests.map(move |request| {
            let _ = &thread;
            request
        }))
    }
}

/// Drops what a queue of sixteen has no place for, but for the last message, and counts only what it sends.
struct Lossy;

impl Behaviour for Lossy {
    fn respond(&self, _request: &GenerationRequest, mut responses: Responses) -> Responses {
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Some(response) = responses.next().await {
                let last = response.as_ref().is_ok_and(|message| message.end_of_stream);
                let open = if last {
                    sender.send(response).await.is_ok()
                } else {
                    !matches!(sender.try_send(response), Err(TrySendError::Closed(_)))
                };
                if !open {
                    return;
                }
            }
        });
        let mut next = 0;
        rewrite(Box::pin(ReceiverStream::new(receiver)), move |mut message| {
            message.index = next;
            next += 1;
            vec![message]
        })
    }
}

/// Gives a reader up that takes nothing for a second.
struct CutsOff;

impl Behaviour for CutsOff {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let mut handed_over = std::time::Instant::now();
        Box::pin(responses.map(move |response| {
            if handed_over.elapsed() > Duration::from_millis(900) {
                return Err(Status::deadline_exceeded("the client does not read"));
            }
            handed_over = std::time::Instant::now();
            response
        }))
    }
}

/// Puts all chunks that wait for a reader into one, under one index.
struct Joins;

impl Behaviour for Joins {
    fn respond(&self, _request: &GenerationRequest, mut responses: Responses) -> Responses {
        let (sender, receiver) = mpsc::channel(1000);
        tokio::spawn(async move {
            while let Some(response) = responses.next().await {
                if sender.send(response).await.is_err() {
                    return;
                }
            }
        });
        Box::pin(stream::unfold((receiver, 0, None), |(mut receiver, index, kept)| async move {
            let mut first = match kept {
                Some(kept) => kept,
                None => receiver.recv().await?,
            };
            let mut kept = None;
            if let Ok(message) = &mut first {
                while !message.end_of_stream
                    && let Ok(next) = receiver.try_recv()
                {
                    match next {
                        Ok(next) if !next.end_of_stream => message.chunk.push_str(&next.chunk),
                        other => {
                            kept = Some(other);
                            break;
                        }
                    }
                }
                message.index = index;
            }
            Some((first, (receiver, index + 1, kept)))
        }))
    }
}

/// A trace_id is in use once.
#[derive(Default)]
struct RefusesSecond {
    running: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl Behaviour for RefusesSecond {
    async fn turn(&self, _state: &State, request: &GenerationRequest) -> Result<Turn, Status> {
        let trace_id = request.trace_id().to_owned();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains(&trace_id) {
            return Err(Status::already_exists("this trace_id is in use"));
        }
        running.push(trace_id.clone());
        Ok(Box::new(InUse(Arc::clone(&self.running), trace_id)))
    }
}

struct InUse(Arc<Mutex<Vec<String>>>, String);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != self.1);
    }
}

/// Counts the responses of a trace_id, whatever call they belong to.
#[derive(Default)]
struct IndexByTraceId {
    next: Arc<Mutex<BTreeMap<String, i64>>>,
}

impl Behaviour for IndexByTraceId {
    fn respond(&self, request: &GenerationRequest, responses: Responses) -> Responses {
        let (next, trace_id) = (Arc::clone(&self.next), request.trace_id().to_owned());
        rewrite(responses, move |mut message| {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            let index = next.entry(trace_id.clone()).or_default();
            message.index = *index;
            *index += 1;
            if message.end_of_stream {
                next.remove(&trace_id);
            }
            vec![message]
        })
    }
}
