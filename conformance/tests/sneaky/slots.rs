//! Servers with few slots: in several orders of service, with and without a queue, stopping on cancel and not.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ai_inference_proto::{GenerationRequest, HealthAnswer};
use conformance::{
    events::Verdict::{Fail, Inconclusive, Pass},
    exemplar::{Behaviour, Conformant, Responses, Script, State, Turn},
};
use futures_util::{StreamExt as _, stream};
use tokio::sync::oneshot;
use tonic::Status;

use super::Sneaky;

/// Blamed falsely by work that another check left behind.
const AFTER: &[&str] = &["HEALTH-004", "HEALTH-005", "CONTROL-004", "CONTROL-006", "STREAM-001"];
const RAN_ON: &str = "after a cancel the work went on";

pub(super) static ALL: &[Sneaky] = &[
    Sneaky {
        name: "CONCURRENCY-003/two-slots-first-come",
        behaviour: || Slots::runs_on(2, Order::FirstCome, 8),
        verdict: Fail,
        reason: RAN_ON,
        beside: AFTER,
    },
    Sneaky {
        name: "CONCURRENCY-003/two-slots-last-come",
        behaviour: || Slots::runs_on(2, Order::LastCome, 8),
        verdict: Fail,
        reason: RAN_ON,
        beside: AFTER,
    },
    Sneaky {
        name: "CONCURRENCY-003/two-slots-refuse",
        behaviour: || Slots::runs_on(2, Order::Refuse, 8),
        verdict: Fail,
        reason: RAN_ON,
        beside: &[],
    },
    Sneaky {
        name: "CONCURRENCY-003/one-slot",
        behaviour: || Slots::runs_on(1, Order::FirstCome, 4),
        verdict: Fail,
        reason: RAN_ON,
        beside: &[],
    },
    Sneaky {
        name: "CONCURRENCY-003/four-slots",
        behaviour: || Slots::runs_on(4, Order::LastCome, 4),
        verdict: Fail,
        reason: RAN_ON,
        beside: &[],
    },
    Sneaky {
        name: "CONCURRENCY-003/ten-slots",
        behaviour: || Slots::runs_on(10, Order::FirstCome, 4),
        verdict: Fail,
        reason: RAN_ON,
        beside: &["HEALTH-005"],
    },
    Sneaky {
        name: "CONCURRENCY-003/no-bound-and-no-counter",
        behaviour: || Slots::runs_on(1000, Order::FirstCome, 4),
        verdict: Inconclusive,
        reason: "nothing shows whether their work went on",
        beside: &["HEALTH-005"],
    },
    Sneaky {
        name: "CONCURRENCY-003/two-slots-that-stop",
        behaviour: || Slots::stops(2, Order::FirstCome, 8),
        verdict: Pass,
        reason: "",
        beside: AFTER,
    },
    Sneaky {
        name: "CONCURRENCY-003/one-slot-that-stops-and-refuses",
        behaviour: || Slots::stops(1, Order::Refuse, 4),
        verdict: Pass,
        reason: "",
        beside: AFTER,
    },
    Sneaky {
        name: "CONCURRENCY-003/two-slots-in-turns",
        behaviour: || {
            Arc::new(InTurns { slots: Slots::new(2, Order::FirstCome, 8), greetings: AtomicUsize::new(3) })
        },
        verdict: Inconclusive,
        reason: "stand still in turns",
        beside: &[],
    },
    Sneaky {
        name: "HEALTH-005/ten-threads",
        behaviour: || {
            Arc::new(Slots { health_too: true, stops: true, ..Slots::new(10, Order::FirstCome, 4) })
        },
        verdict: Fail,
        reason: "while generations were running",
        beside: &[],
    },
];

/// The scripted server of two slots.
pub(super) fn never_stops() -> Arc<dyn Behaviour> {
    Slots::runs_on(2, Order::FirstCome, 8)
}

/// Who is next when a slot becomes free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    FirstCome,
    LastCome,
    /// No request waits: one that finds no free slot is RESOURCE_EXHAUSTED.
    Refuse,
}

/// A pool of slots around a slow speaker; Health shows no counter.
pub(super) struct Slots {
    pool: Arc<Pool>,
    gap: Duration,
    stops: bool,
    health_too: bool,
}

struct Pool {
    free: AtomicUsize,
    waiting: Mutex<Vec<oneshot::Sender<Slot>>>,
    order: Order,
}

/// Handed to the next one, or free, when dropped.
struct Slot(Arc<Pool>);

impl Slots {
    pub(super) fn new(slots: usize, order: Order, gap_ms: u64) -> Self {
        let pool = Pool { free: AtomicUsize::new(slots), waiting: Mutex::default(), order };
        let gap = Duration::from_millis(gap_ms);
        Self { pool: Arc::new(pool), gap, stops: false, health_too: false }
    }

    pub(super) fn runs_on(slots: usize, order: Order, gap_ms: u64) -> Arc<dyn Behaviour> {
        Arc::new(Self::new(slots, order, gap_ms))
    }

    pub(super) fn stops(slots: usize, order: Order, gap_ms: u64) -> Arc<dyn Behaviour> {
        Arc::new(Self { stops: true, ..Self::new(slots, order, gap_ms) })
    }

    async fn slot(&self) -> Result<Slot, Status> {
        self.pool.slot().await
    }
}

impl Pool {
    async fn slot(self: &Arc<Self>) -> Result<Slot, Status> {
        let waiter = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if self.free.load(Ordering::Relaxed) > 0 {
                self.free.fetch_sub(1, Ordering::Relaxed);
                return Ok(Slot(Arc::clone(self)));
            }
            if self.order == Order::Refuse {
                return Err(Status::resource_exhausted("every slot is taken"));
            }
            let (sender, receiver) = oneshot::channel();
            waiting.push(sender);
            receiver
        };
        waiter.await.map_err(|_| Status::unavailable("the pool is gone"))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let next = {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            match self.0.order {
                _ if waiting.is_empty() => {
                    self.0.free.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Order::LastCome => waiting.pop(),
                Order::FirstCome | Order::Refuse => Some(waiting.remove(0)),
            }
        };
        // One who has gone drops the slot, which hands it on.
        if let Some(next) = next {
            let _ = next.send(Slot(Arc::clone(&self.0)));
        }
    }
}

#[tonic::async_trait]
impl Behaviour for Slots {
    async fn turn(&self, _state: &State, _request: &GenerationRequest) -> Result<Turn, Status> {
        Ok(Box::new(self.slot().await?))
    }

    fn speak(&self, request: &GenerationRequest) -> Script {
        Script { gap: self.gap, ..Conformant.speak(request) }
    }

    fn stops_on_cancel(&self) -> bool {
        self.stops
    }

    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        let _thread = if self.health_too { Some(self.slot().await?) } else { None };
        let mut answer = state.health();
        answer.metrics.remove("requests_inflight");
        Ok(answer)
    }
}

/// Stops on cancel, and has begun more generations than it runs: a few that find no slot get their first text at once and
/// the rest in their turn, as where a generation gives its slot to another.
struct InTurns {
    slots: Slots,
    greetings: AtomicUsize,
}

#[tonic::async_trait]
impl Behaviour for InTurns {
    fn speak(&self, request: &GenerationRequest) -> Script {
        self.slots.speak(request)
    }

    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let pool = Arc::clone(&self.slots.pool);
        let full = pool.free.load(Ordering::Relaxed) == 0;
        let one_less = |left: usize| left.checked_sub(1);
        let greeted =
            full && self.greetings.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        Box::pin(stream::unfold((responses, None, greeted), move |(mut responses, slot, greeted)| {
            let pool = Arc::clone(&pool);
            async move {
                let slot = match slot {
                    None if !greeted => Some(pool.slot().await.ok()?),
                    slot => slot,
                };
                let response = responses.next().await?;
                Some((response, (responses, slot, false)))
            }
        }))
    }

    async fn health(&self, state: &State, trace_id: &str) -> Result<HealthAnswer, Status> {
        self.slots.health(state, trace_id).await
    }
}
