//! CONCURRENCY-013.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ai_inference_proto::HealthAnswer;
use futures_util::future::join_all;
use tokio::{sync::Semaphore, time::timeout};
use tokio_stream::StreamExt as _;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, Requests, State},
    probe::{
        Pace, Probe, Stream, is_refused,
        wire::{Connection, End},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Idle open streams (100 with nothing sent) keep neither Health nor another generation waiting.
    ///
    /// # Why it matters
    /// Clients open a stream when a chat opens, and send when the user has typed. A server that gives each stream a thread of a
    /// small pool serves ten such clients and leaves all others without an answer.
    ///
    /// # How it is checked
    /// 100 StreamPredict calls are opened and nothing is sent on them, ten on each connection. Where a connection takes
    /// fewer, more connections are opened, up to 100; what the server does not take is not held against it. While they are
    /// open, Health must answer within a second, and a short generation must be served within a second and some times what it
    /// takes on the idle server: on a connection that was open before, and on one of the idle streams' where it takes one more
    /// call. Twice late is a failure. A server that refuses them for want of capacity makes the check inconclusive. Then the
    /// streams are cancelled, and the server must serve as before.
    ///
    /// # What a violation looks like
    /// Health is not answered, or a request waits, until idle streams are closed.
    ///
    /// # References
    /// Contract, CONCURRENCY-013, HEALTH-004; RFC 9113, section 5.1.2 (MAX_CONCURRENT_STREAMS).
    id: "CONCURRENCY-013",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "idle open streams keep no other call waiting",
    check: check,
    mutant: TenThreads, fault: "a thread for each stream, ten threads", seen_as: "idle streams were open",
}

/// Idle streams, and how many of them a connection gets.
const IDLE: usize = 100;
const EACH: usize = 10;
/// A connection that takes one more call takes it at once.
const ROOM: Duration = Duration::from_millis(200);
/// The target has taken them up by then.
const ARRIVED: Duration = Duration::from_millis(50);
/// Health and a generation are served within this time, the generation within some times what it needs besides.
const LIMIT: Duration = Duration::from_secs(1);
const SLOWER: u32 = 4;
/// Tokens of the generation.
const TOKENS: i64 = 2;
/// One late answer is the machine's.
const TRIES: usize = 2;
/// Between two attempts at a server that says it is full.
const BACK_OFF: Duration = Duration::from_millis(50);

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let first = probe.connection().await?;
    let idle = Idle::open(probe).await?;
    tokio::time::sleep(ARRIVED).await;
    let mut places = vec![("on another connection", first)];
    if let Some(connection) = idle.connections.first()
        && probe.has_room(connection).await
    {
        places.push(("on a connection with idle streams", connection.clone()));
    }
    let count = idle.streams.len();
    let mut late = Vec::new();
    while late.len() < TRIES {
        match beside(probe, pace, &places).await {
            Ok(Ok(())) => break,
            Ok(Err(why)) => late.push(why),
            Err(NotPassed::Inconclusive(why)) => {
                return Err(NotPassed::Inconclusive(format!("while {count} idle streams were open, {why}")));
            }
            Err(why) => return Err(why.when(&format!("while {count} idle streams were open"))),
        }
    }
    probe.assert(late.len() < TRIES, || {
        format!("while {count} idle streams were open, {}, and in a second try {}", late[0], late[1])
    })?;
    drop(idle);
    probe.still_serves(&format!("{count} idle streams were cancelled")).await
}

/// Streams on which nothing is sent.
struct Idle {
    streams: Vec<Stream>,
    connections: Vec<Connection>,
}

impl Idle {
    /// Opens as many as the target takes, on as many connections as that needs.
    async fn open(probe: &Probe) -> Result<Self, NotPassed> {
        let mut idle = Self { streams: Vec::new(), connections: Vec::new() };
        let mut wanted = IDLE / EACH;
        while idle.streams.len() < IDLE && idle.connections.len() < IDLE {
            let connections = probe.connections(wanted).await?;
            let fewer = connections.len() < wanted;
            let opened = join_all(connections.iter().map(|connection| open_on(probe, connection))).await;
            let opened: Vec<Stream> = opened.into_iter().flatten().collect();
            let none = opened.is_empty();
            idle.streams.extend(opened);
            idle.connections.extend(connections);
            if none || fewer {
                break; // the target takes no more
            }
            // A connection takes fewer: the rest on as many more connections as there may be.
            let each = (idle.streams.len() / idle.connections.len()).max(1);
            wanted =
                (IDLE.saturating_sub(idle.streams.len()).div_ceil(each)).min(IDLE - idle.connections.len());
        }
        idle.streams.truncate(IDLE);
        if idle.streams.is_empty() {
            return Err(NotPassed::Fail("no StreamPredict call could be opened".into()));
        }
        Ok(idle)
    }
}

/// Ten streams on one connection, or as many as it takes.
async fn open_on(probe: &Probe, connection: &Connection) -> Vec<Stream> {
    let streamer = probe.streamer().with_patience(ROOM);
    let mut streams = Vec::new();
    while streams.len() < EACH {
        let stream = streamer.open(connection).await;
        if !stream.is_open() {
            break;
        }
        streams.push(stream);
    }
    streams
}

/// Health and a generation in each place; in words, if one of them is late.
async fn beside(
    probe: &Probe,
    pace: Pace,
    places: &[(&str, Connection)],
) -> Result<Result<(), String>, NotPassed> {
    for (place, connection) in places {
        if !health(probe, connection).await? {
            return Ok(Err(format!("Health {place} had no answer within {:.1} s", LIMIT.as_secs_f64())));
        }
        let limit = LIMIT + pace.short * SLOWER;
        if !generation(probe, connection, limit).await? {
            return Ok(Err(format!(
                "a generation {place} was not served within {:.1} s",
                limit.as_secs_f64()
            )));
        }
        probe.assert(true, String::new)?;
    }
    Ok(Ok(()))
}

/// Whether Health was answered in time.
async fn health(probe: &Probe, connection: &Connection) -> Result<bool, NotPassed> {
    let began = Instant::now();
    loop {
        let (trace_id, options) = (probe.trace_id(), probe.options());
        let asked = probe.health_on(connection, &trace_id, &options);
        let Ok(health) = timeout(LIMIT.saturating_sub(began.elapsed()), asked).await else {
            return Ok(false);
        };
        if !health.end.is_turned_away() {
            return health.informative().map(|_| true);
        }
        if began.elapsed() + BACK_OFF > LIMIT {
            return Err(full("Health", &health.end));
        }
        tokio::time::sleep(BACK_OFF).await;
    }
}

/// Whether a generation was served in time.
async fn generation(probe: &Probe, connection: &Connection, limit: Duration) -> Result<bool, NotPassed> {
    match probe.ask_within(connection, &probe.request(TOKENS), limit).await {
        None => Ok(false),
        Some(generation) if is_refused(&generation) => Err(full("a generation", &generation.end)),
        Some(generation) => generation.served().map(|_| true),
    }
}

fn full(what: &str, end: &End) -> NotPassed {
    NotPassed::Inconclusive(format!(
        "{what} {} each time: the server counts idle streams as work, and what would have waited is refused",
        end.told()
    ))
}

/// Every call takes one of ten threads, for as long as it is open.
struct TenThreads {
    threads: Arc<Semaphore>,
}

impl Default for TenThreads {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(10)) }
    }
}

#[tonic::async_trait]
impl Behaviour for TenThreads {
    async fn requests(&self, requests: Requests) -> Requests {
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        Box::pin(requests.map(move |request| {
            let _ = &thread;
            request
        }))
    }

    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        let _thread = self.threads.acquire().await;
        Ok(state.health())
    }
}
