//! CONCURRENCY-008.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ai_inference_proto::GenerationRequest;
use tokio::{sync::oneshot, task::JoinSet};
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State, Turn},
    probe::{Full, NOT_FULL, Probe, wire::End},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// The lowest priority still finishes under a steady flow of urgent work within a bounded time (no starvation).
    ///
    /// # Why it matters
    /// On a server that is always busy, strict priorities mean that a job at night never ends. Its client gives up, tries again,
    /// and makes the server busier.
    ///
    /// # How it is checked
    /// The number of generations that run at a time is found first. Then generations of priority 0 take all slots but one, and
    /// one request with the least urgent priority there is waits for the last one, with short requests of priority 0 behind it
    /// in a steady flow: 32 clients, each asking again as soon as it is answered, so that some always wait. It must finish.
    /// Where few of the others went past it, the same is looked at once more with longer requests. It is a failure if it has
    /// not finished after 10 s, and after sixty-four of the others have gone past it. A server whose capacity has no end in
    /// sight cannot be kept full, and the check says so.
    ///
    /// # What a violation looks like
    /// The request is overtaken for as long as others come.
    ///
    /// # References
    /// Contract, CONCURRENCY-008.
    id: "CONCURRENCY-008",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "the lowest priority is not overtaken for ever",
    check: check,
    mutant: Strict, fault: "the lowest priority starves", seen_as: "went past it",
}

/// Clients of the urgent flow: one runs, and the others wait. Few of them could all be late on a busy machine.
const URGENT: usize = 32;
/// Each of their requests lasts so long, by the pace of the full server, and they have arrived and wait so long after the last was
/// sent.
const LOOKS: [(Duration, Duration); 2] = [
    (Duration::from_millis(8), Duration::from_millis(100)),
    (Duration::from_millis(40), Duration::from_millis(400)),
];
/// So many went past it before it finished: they were waiting with it.
const ENOUGH: usize = 4;
const LEAST_TOKENS: i64 = 4;
/// The least urgent one is overtaken for so long, and so often, before it is taken to starve.
const BOUND: Duration = Duration::from_secs(10);
const OVERTAKES: usize = 64;
/// Beyond the bound, where few go past in that time.
const LONGEST: Duration = Duration::from_secs(20);
/// Between two refusals.
const BACK_OFF: Duration = Duration::from_millis(50);

async fn check(probe: &Probe) -> Judgement {
    probe.of_a_full_server(|probe| Box::pin(look(probe))).await
}

async fn look(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let capacity = probe.capacity(pace, BOUND).await?;
    let mut full = Full::but_one(probe, capacity).await?;
    let mut judged = Ok(());
    for (each, arrived) in LOOKS {
        let bound = full.capacity.tokens(each).max(LEAST_TOKENS);
        let gone_past = finishes(probe, &mut full, bound, arrived).await;
        let enough = !matches!(gone_past, Ok(..ENOUGH));
        judged = gone_past.map(|_| ());
        if enough {
            break;
        }
    }
    let settled = full.end(probe).await;
    judged?;
    settled
}

/// How many went past the least urgent request before it finished.
async fn finishes(probe: &Probe, full: &mut Full, bound: i64, arrived: Duration) -> Result<usize, NotPassed> {
    full.close(probe).await?;
    let (sent, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut flow = JoinSet::new();
    let connections = full.capacity.connections.clone();
    let request = GenerationRequest { priority: i32::MAX, ..probe.request(bound) };
    let mut stream = probe.streamer().with_patience(LONGEST).open(&connections[connections.len() - 1]).await;
    stream.send(&request);
    stream.half_close();
    let reading = tokio::spawn(stream.finish_within(request, LONGEST));
    tokio::time::sleep(arrived / 4).await;
    for at in 0..URGENT {
        let (streamer, request) = (probe.streamer(), probe.request(bound));
        let (sent, served) = (Arc::clone(&sent), Arc::clone(&served));
        let connection = connections[connections.len() - 1 - (at + 1) % connections.len()].clone();
        flow.spawn(async move {
            loop {
                let mut stream = streamer.open(&connection).await;
                stream.send(&request);
                stream.half_close();
                sent.fetch_add(1, Ordering::Relaxed);
                if stream.finish(request.clone()).await.reached_its_end() {
                    served.fetch_add(1, Ordering::Relaxed);
                } else {
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        });
    }
    let began = Instant::now();
    while sent.load(Ordering::Relaxed) < URGENT && began.elapsed() < BOUND {
        tokio::time::sleep(BACK_OFF).await;
    }
    tokio::time::sleep(arrived).await;
    let had_room = reading.is_finished();
    full.open();
    let began = Instant::now();
    let before = served.load(Ordering::Relaxed);
    let gone_past = || served.load(Ordering::Relaxed) - before;
    while !reading.is_finished() {
        let starves = began.elapsed() > BOUND && gone_past() >= OVERTAKES;
        if starves {
            reading.abort();
            probe.assert(false, || {
                format!(
                    "a request with the least urgent priority had not finished after {:.0} s, in which {} urgent ones that \
                     came later went past it",
                    began.elapsed().as_secs_f64(),
                    gone_past()
                )
            })?;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let generation = reading.await.map_err(|error| NotPassed::Harness(error.to_string()))?;
    match &generation.end {
        end if end.is_turned_away() => Err(NotPassed::Inconclusive(
            "the server refuses what it has no room for: nothing waits, and nothing can starve".to_owned(),
        )),
        End::TimedOut(_) => Err(NotPassed::Inconclusive(format!(
            "the least urgent request had not finished after {:.0} s, but only {} urgent ones had gone past it",
            began.elapsed().as_secs_f64(),
            gone_past()
        ))),
        _ => {
            generation.served()?;
            if had_room {
                return Err(NotPassed::Inconclusive(NOT_FULL.to_owned()));
            }
            probe.assert(true, String::new)?;
            Ok(gone_past())
        }
    }
}

/// One slot more than the others leave: strict priorities, and those of one value first come, first served.
#[derive(Default)]
struct Strict {
    line: Arc<Mutex<Line>>,
}

#[derive(Default)]
struct Line {
    taken: usize,
    number: u64,
    waiting: BTreeMap<(i32, u64), oneshot::Sender<Slot>>,
}

struct Slot(Arc<Mutex<Line>>);

/// Slots of the mutant.
const SLOTS: usize = 4;

#[tonic::async_trait]
impl Behaviour for Strict {
    async fn turn(&self, _state: &State, request: &GenerationRequest) -> Result<Turn, Status> {
        let called = {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            if line.taken < SLOTS {
                line.taken += 1;
                return Ok(Box::new(Slot(Arc::clone(&self.line))));
            }
            let (call, called) = oneshot::channel();
            line.number += 1;
            let place = (request.priority, line.number);
            line.waiting.insert(place, call);
            called
        };
        Ok(Box::new(called.await.map_err(|_| Status::unavailable("the server is going away"))?))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let next = {
            let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let next = line.waiting.pop_first();
            if next.is_none() {
                line.taken -= 1;
            }
            next
        };
        if let Some((_, call)) = next {
            let _ = call.send(Slot(Arc::clone(&self.0)));
        }
    }
}
