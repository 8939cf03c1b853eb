//! CONCURRENCY-010.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ai_inference_proto::GenerationRequest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State, Turn},
    probe::{self, Load, Pace, Probe, wire::Connection},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A client that cancels while its request still waits gives its place in the queue back.
    ///
    /// # Why it matters
    /// Under load users give up while they wait. Where a slot goes to a request whose client has gone, the queue is full of
    /// absent clients, and the server does less and less though it has nothing to do.
    ///
    /// # How it is checked
    /// Generations of about a second are started, three, twelve and then forty, until some of them wait or are refused: so
    /// many as run are the server's slots. Six more for each slot are sent, and then all are cancelled, those that run and
    /// those that wait. A new request must be served within the time that the ones that ran needed to their ends: whether
    /// those stop is CONCURRENCY-003's matter, and those that waited have no part in it. Then as many generations as there
    /// are slots must run at once, and one more must wait, if such a one waited before. A late answer is looked for once
    /// more; none at all is a failure at once. A server that runs all forty at once, or refuses what it has no slot for, has no
    /// queue: its requests are cancelled as soon as they are sent, and it must serve and run as many as before.
    ///
    /// # What a violation looks like
    /// The new request waits for the work of cancelled ones, or for ever; or fewer generations run at once than before.
    ///
    /// # References
    /// Contract, CONCURRENCY-010, CONCURRENCY-003; gRPC, "Cancellation".
    id: "CONCURRENCY-010",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "a request that is cancelled while it waits leaves the queue",
    check: check,
    mutant: LosesPermit, fault: "a cancelled request in the queue takes a slot with it", seen_as: "cancelled while they waited",
}

/// Generations at once, until some of them wait.
const WIDTHS: [usize; 3] = [3, 12, 40];
/// Slots are taken to be so many where all of the widest run.
const NO_END: usize = 8;
/// Each of the generations, by the server's pace.
const LASTING: Duration = Duration::from_secs(1);
/// The same where they are over before some are seen to wait: a busy machine sees late.
const LONGER: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(9)];
/// Requests that wait and are cancelled, for each slot, and at most.
const CANCELLED: usize = 6;
const MOST_CANCELLED: usize = 96;
/// They have arrived and are waiting by then.
const ARRIVED: Duration = Duration::from_millis(150);
/// One that finds no place is refused by then.
const REFUSED: Duration = Duration::from_millis(250);
/// A new request may take so many times as long as on an idle server, and the machine's own unrest.
const SLOWER: u32 = 4;
const UNREST: Duration = Duration::from_millis(500);
/// One late answer is the machine's.
const TRIES: usize = 2;
/// How many connections requests are spread over.
const CONNECTIONS: usize = 40;

/// What the server does with more generations than it has slots for.
#[derive(Clone, Copy)]
struct Room {
    slots: usize,
    /// Some waited for a slot, and none was refused.
    queues: bool,
}

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let connections = probe.connections(CONNECTIONS).await?;
    let (mut late, mut room) = (Vec::new(), None);
    while late.len() < TRIES {
        match look(probe, &connections, pace, &mut room).await? {
            Ok(()) => return probe.assert(true, String::new),
            Err(why) => late.push(why),
        }
    }
    probe.assert(false, || format!("{}; in a second try, {}", late[0], late[1]))
}

/// How one round ended: in words, if a place was not given back.
type Looked = Result<(), String>;

/// The room that the first round finds is what later rounds are compared with.
async fn look(
    probe: &Probe,
    connections: &[Connection],
    pace: Pace,
    room: &mut Option<Room>,
) -> Result<Looked, NotPassed> {
    let (mut load, found) = filled(probe, connections, pace).await?;
    let room = *room.get_or_insert(found);
    let in_turns = room.queues && load.in_turns().await;
    let more = (room.slots * CANCELLED).min(MOST_CANCELLED);
    load.grow(probe, connections, load.width() + more);
    if room.queues {
        tokio::time::sleep(ARRIVED).await;
    }
    let lasting = pace.lasting(load.bound);
    let work = load.cancel().await;
    if in_turns {
        probe.settled(pace, work).await?;
        return Err(NotPassed::Inconclusive(
            "generations that have begun stand still in turns, so that no request is seen to wait in a queue"
                .into(),
        ));
    }
    let after = if room.queues {
        format!("after {more} requests were cancelled while they waited for one of {} slots", room.slots)
    } else {
        format!("after {more} requests were cancelled as soon as they were sent")
    };
    match new_request(probe, pace, lasting, more.div_ceil(room.slots), &after).await? {
        Ok(()) => has_as_much_room(probe, connections, pace, room, &after).await,
        late => Ok(late),
    }
}

/// Generations at once, until some wait.
async fn filled(probe: &Probe, connections: &[Connection], pace: Pace) -> Result<(Load, Room), NotPassed> {
    let mut load = Load::start(probe, connections, pace, WIDTHS[0], LASTING).await?;
    let mut room = load.fill(probe, connections, &WIDTHS).await;
    for longer in LONGER {
        if room != probe::Room::TooSoon || pace.bound(longer) == load.bound {
            break;
        }
        let work = load.cancel().await;
        probe.settled(pace, work).await?;
        load = Load::start(probe, connections, pace, WIDTHS[0], longer).await?;
        room = load.fill(probe, connections, &WIDTHS).await;
    }
    let found = match room {
        probe::Room::Slots(slots) => Room { slots, queues: load.refused().is_none() },
        _ => Room { slots: NO_END, queues: false },
    };
    Ok((load, found))
}

/// A new request is served about as soon as if no request had waited before it.
async fn new_request(
    probe: &Probe,
    pace: Pace,
    lasting: Duration,
    rounds: usize,
    after: &str,
) -> Result<Looked, NotPassed> {
    // To start each of them and find its client gone is not to run it.
    let starts = (pace.first + pace.token * 2) * rounds as u32;
    let allowed = lasting + pace.short * SLOWER + UNREST + starts;
    let began = Instant::now();
    let connection = probe.connection().await?;
    let served = probe.ask_within(&connection, &probe.request(1), allowed + probe.patience()).await;
    let took = began.elapsed().as_secs_f64();
    probe.assert(served.is_some(), || format!("{after}, a new request was not served within {took:.1} s"))?;
    if let Some(generation) = &served {
        generation.served().map_err(|why| why.when(after))?;
    }
    Ok(if took <= allowed.as_secs_f64() {
        Ok(())
    } else {
        Err(format!(
            "{after}, a new request was served only after {took:.1} s, where those that ran before could hold it up for {:.1} s",
            allowed.as_secs_f64()
        ))
    })
}

/// As many generations as before run at once, and one more waits if one waited before.
async fn has_as_much_room(
    probe: &Probe,
    connections: &[Connection],
    pace: Pace,
    room: Room,
    after: &str,
) -> Result<Looked, NotPassed> {
    let began = Instant::now();
    let mut load = Load::start(probe, connections, pace, room.slots, LASTING).await?;
    let limit = LASTING + UNREST + began.elapsed() * SLOWER;
    let all = load.reaches(room.slots, Instant::now() + limit).await || load.ended() > 0;
    let running = load.running();
    let mut refused = None;
    if all && room.queues {
        load.grow(probe, connections, room.slots + 1);
        let sent = Instant::now();
        while refused.is_none() && sent.elapsed() < REFUSED {
            tokio::time::sleep(ARRIVED).await;
            refused = load.refused();
        }
    }
    let work = load.cancel().await;
    let settled = probe.settled(pace, work).await;
    if !all {
        return Ok(Err(format!(
            "{after}, {running} generations run at once, where {} ran before",
            room.slots
        )));
    }
    if let Some(end) = refused {
        return Ok(Err(format!(
            "{after}, one more request {}, where such a one had waited before",
            end.told()
        )));
    }
    settled.map(Ok)
}

/// Four slots and a queue; a request that leaves the queue takes a slot with it.
struct LosesPermit {
    slots: Arc<Semaphore>,
    lost: Arc<AtomicUsize>,
}

impl Default for LosesPermit {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(4)), lost: Arc::default() }
    }
}

#[tonic::async_trait]
impl Behaviour for LosesPermit {
    async fn turn(&self, _state: &State, _request: &GenerationRequest) -> Result<Turn, Status> {
        let mut place = Place { permit: None, lost: Arc::clone(&self.lost) };
        place.permit = Arc::clone(&self.slots).acquire_owned().await.ok();
        Ok(Box::new(place))
    }
}

/// A place in the queue, and then a slot.
struct Place {
    permit: Option<OwnedSemaphorePermit>,
    lost: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let one_less = |lost: usize| lost.checked_sub(1);
        if self.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
            permit.forget();
        }
    }
}
