//! CONCURRENCY-006.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ai_inference_proto::GenerationRequest;
use tokio::{task::JoinSet, time::timeout};
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State, Turn},
    probe::{
        Generation, Pace, Probe, is_refused,
        wire::{Connection, End},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Past its capacity a server queues, or answers RESOURCE_EXHAUSTED or UNAVAILABLE; it neither drops a request silently
    /// nor fails others.
    ///
    /// # Why it matters
    /// Overload is a matter of time. Clients and proxies know what to do with a request that waits and with one that is refused
    /// for want of capacity; INTERNAL makes them report a bug, and a request that is never answered holds a user until
    /// every timeout on the way is over.
    ///
    /// # How it is checked
    /// Two generations are started, and beside them 32 more at once, each of some hundredths of a second by the server's own
    /// pace. Every one of the 32 must be served to its last message, or be refused with RESOURCE_EXHAUSTED or UNAVAILABLE
    /// before any response; a stream that the server refuses in HTTP/2 (REFUSED_STREAM, or a GOAWAY without an error) is
    /// UNAVAILABLE to a gRPC client. Then 160 more are sent at once, more than usual queues hold; those that wait are read
    /// for a moment and then cancelled, and what ended must have ended in the same way. The first two must reach their ends,
    /// unless they were refused themselves. At last the server must serve as before. A server that serves all of them
    /// passes: it is free to have room.
    ///
    /// # What a violation looks like
    /// INTERNAL or UNKNOWN under load; OK without a text; a request that is not answered; a generation that is cut when others come.
    ///
    /// # References
    /// Contract, CONCURRENCY-006 and CONCURRENCY-012; gRPC, "Status codes"; gRPC A6, "Transparent retries".
    id: "CONCURRENCY-006",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "past its capacity a server queues or says that it is full",
    check: check,
    mutant: InternalUnderLoad, fault: "INTERNAL under load", seen_as: "INTERNAL",
}

/// Generations that run when the others come.
const BEFORE: usize = 2;
/// Requests at once, each read to its end.
const CROWD: usize = 32;
/// Requests at once, more than usual queues hold; they are read for so long.
const FLOOD: usize = 160;
const FLOOD_READ: Duration = Duration::from_millis(300);
/// How many connections they are spread over, where the server takes as many.
const CONNECTIONS: usize = 16;
/// How long each of the crowd and of the flood, and each of the first two, lasts by the server's pace.
const CROWD_LASTING: Duration = Duration::from_millis(60);
const FLOOD_LASTING: Duration = Duration::from_millis(40);
const BEFORE_LASTING: Duration = Duration::from_millis(400);
/// Tokens: no fewer, and no more than a client reads in passing.
const LEAST_TOKENS: i64 = 4;
const MOST_TOKENS: i64 = 192;

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let connections = probe.connections(CONNECTIONS).await?;
    // They may all wait for one slot.
    let work = pace.lasting(tokens(pace, CROWD_LASTING)) * CROWD as u32
        + pace.lasting(tokens(pace, BEFORE_LASTING)) * BEFORE as u32;
    let patience = probe.patience() + work * 2;
    let streams = start(probe, &connections, tokens(pace, BEFORE_LASTING), BEFORE, patience);
    let crowd = start(probe, &connections, tokens(pace, CROWD_LASTING), CROWD, patience);
    let crowd = read(crowd, patience * 2).await?;
    for generation in &crowd.ended {
        judge(probe, &format!("one of {CROWD} requests at once"), generation)?;
    }
    let flood = start(probe, &connections, tokens(pace, FLOOD_LASTING), FLOOD, patience);
    let flood = read(flood, FLOOD_READ).await?;
    for generation in &flood.ended {
        judge(probe, &format!("one of {FLOOD} requests at once"), generation)?;
    }
    for generation in &read(streams, patience).await?.ended {
        let what = format!("a generation that ran when {} more requests came", CROWD + FLOOD);
        judge(probe, &what, generation)?;
    }
    if flood.waiting > 0 {
        probe.settled(pace, pace.lasting(tokens(pace, FLOOD_LASTING)) * flood.waiting as u32).await?;
    }
    probe.still_serves(&format!("{FLOOD} requests at once")).await
}

/// Served to its last message, or refused before anything came.
fn judge(probe: &Probe, what: &str, generation: &Generation) -> Judgement {
    let (count, end) = (generation.responses.len(), &generation.end);
    if is_refused(generation) {
        return probe.assert(true, String::new);
    }
    probe.assert(!matches!(end, End::TimedOut(_)), || {
        format!("{what} was dropped: it {} after {count} responses", end.told())
    })?;
    probe.assert(end.is_ok(), || {
        let began = if count > 0 { format!(" after {count} responses, when it had begun") } else { String::new() };
        format!(
            "{what} {}{began}; past its capacity a server lets requests wait, or answers RESOURCE_EXHAUSTED or UNAVAILABLE \
             before it begins",
            end.told()
        )
    })?;
    let text = generation.text_bearing().next().is_some();
    probe.assert(generation.reached_its_end() && text, || {
        let lacks = if text { "a last message" } else { "any text" };
        format!("{what} was dropped: it was answered OK after {count} responses without {lacks}")
    })
}

/// So many tokens last about so long, at this pace.
fn tokens(pace: Pace, lasting: Duration) -> i64 {
    pace.tokens(lasting).clamp(LEAST_TOKENS, MOST_TOKENS)
}

/// Generations that are being read; dropping them cancels them.
type Reading = JoinSet<Generation>;

fn start(
    probe: &Probe,
    connections: &[Connection],
    tokens: i64,
    count: usize,
    patience: Duration,
) -> Reading {
    let mut reading = JoinSet::new();
    for at in 0..count {
        let (request, connection) = (probe.request(tokens), connections[at % connections.len()].clone());
        let streamer = probe.streamer().with_patience(patience);
        reading.spawn(async move {
            let mut stream = streamer.open(&connection).await;
            stream.send(&request);
            stream.half_close();
            stream.finish(request).await
        });
    }
    reading
}

/// What came of requests that were read.
struct Read {
    ended: Vec<Generation>,
    /// So many had no end yet, and were cancelled.
    waiting: usize,
}

async fn read(mut reading: Reading, most: Duration) -> Result<Read, NotPassed> {
    let mut ended = Vec::new();
    let all = async {
        while let Some(generation) = reading.join_next().await {
            ended.push(generation.map_err(|error| NotPassed::Harness(error.to_string()))?);
        }
        Ok(())
    };
    timeout(most, all).await.unwrap_or(Ok(()))?;
    let waiting = reading.len();
    reading.shutdown().await;
    Ok(Read { ended, waiting })
}

/// Sixteen generations at a time; one more is INTERNAL.
#[derive(Default)]
struct InternalUnderLoad {
    running: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Behaviour for InternalUnderLoad {
    async fn turn(&self, _state: &State, _request: &GenerationRequest) -> Result<Turn, Status> {
        let place = Place(Arc::clone(&self.running));
        if place.0.fetch_add(1, Ordering::Relaxed) >= 16 {
            return Err(Status::internal("out of memory"));
        }
        Ok(Box::new(place))
    }
}

/// Counts a generation while it runs.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
