//! CONCURRENCY-005.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::stream;
use tokio::{sync::Semaphore, time::timeout};
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::{Pace, Probe, Stream, StreamItem, is_refused, wire::Connection},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A reader that stops reading does not stall other streams.
    ///
    /// # Why it matters
    /// A laptop that is closed, or a proxy with a full buffer, stops reading and keeps its connection. Where all streams share
    /// one queue or one writer, that reader stops the answers of all other users.
    ///
    /// # How it is checked
    /// Generations of some seconds are started on connections whose flow-control window is 512 bytes, one at first and then
    /// three, and are read a little at a time. If a short generation is served beside them, the server has room for it while
    /// they run; else there is one reader, or the check says that the server runs one generation at a time. One more
    /// generation is started, and then the readers stop. That generation must reach its end, and after a pause in which
    /// the server's buffers fill, short generations must be served, and Health must be answered, on a connection of a
    /// stopped reader and on another one, about as soon as before. Twice late is a failure. At last the readers read on: where less came
    /// than their windows hold, the server never had to wait for them, and the check says so.
    ///
    /// # What a violation looks like
    /// A stream that is read stands still until another client reads on.
    ///
    /// # References
    /// Contract, CONCURRENCY-005 and CONCURRENCY-016; RFC 9113, section 5.2 (flow control).
    id: "CONCURRENCY-005",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    since: "0.1.0",
    title: "a reader that stops reading stalls no other stream",
    check: check,
    mutant: OneQueue, fault: "all streams share one queue", seen_as: "had stopped reading",
}

/// Readers that stop, where the server has room for so many and one more.
const READERS: usize = 3;
/// Each of their generations, by the server's pace: longer than the check looks.
const LASTING: Duration = Duration::from_secs(4);
/// Tokens of the generations that are served beside them: two, and one that runs while they stop.
const SHORT: i64 = 2;
const RUNNING: i64 = 64;
/// A model's context may be small; shorter generations fill no window.
const LEAST_BOUND: i64 = 64;
/// Between two reads of a reader that reads a little at a time.
const GAP: Duration = Duration::from_millis(4);
/// A stream that is not stalled is served within this time and some times what it needs alone.
const LIMIT: Duration = Duration::from_secs(1);
const SLOWER: u32 = 8;
/// The server's buffers fill for as long as so many tokens take, and no longer and no shorter than this.
const FILLING: u32 = 100;
const FILLING_LEAST: Duration = Duration::from_millis(50);
const FILLING_MOST: Duration = Duration::from_secs(1);
/// Bytes that the target may send to a reader before it reads (the narrow connection's window).
const WINDOW: usize = 512;
/// One late answer is the machine's.
const TRIES: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let mut late = Vec::new();
    while late.len() < TRIES {
        match look(probe, pace).await? {
            Ok(()) => return probe.assert(true, String::new),
            Err(why) => late.push(why),
        }
    }
    probe.assert(false, || format!("{}; in a second try {}", late[0], late[1]))
}

/// How one round ended: in words, if a stream was late.
type Looked = Result<(), String>;

async fn look(probe: &Probe, pace: Pace) -> Result<Looked, NotPassed> {
    let connections = [probe.connect_narrow().await?, probe.connect().await?];
    let scene = Scene { probe, pace, limit: LIMIT + pace.short * SLOWER };
    let most = pace.lasting(pace.bound(LASTING)) * READERS as u32;
    let (mut readers, bound) = match scene.readers(&connections).await {
        Ok(started) => started,
        Err(why) => {
            let _ = probe.settled(pace, most).await; // why nothing can be seen says more
            return Err(why);
        }
    };
    let looked = scene.stop(&mut readers, &connections).await;
    let unread = match &looked {
        Ok(Ok(())) => more_than_a_window(&mut readers, bound).await,
        _ => Ok(()),
    };
    let work = pace.lasting(bound) * readers.len() as u32;
    drop(readers);
    let settled = probe.settled(pace, work).await;
    let looked = looked?;
    if looked.is_ok() {
        unread?;
        settled?;
    }
    Ok(looked)
}

/// A generation whose reader reads a little at a time, or not at all.
struct Reader {
    stream: Stream,
    /// Of the responses so far, at least.
    bytes: usize,
    ended: bool,
}

impl Reader {
    async fn read(&mut self, within: Duration) {
        match timeout(within, self.stream.next()).await {
            Ok(StreamItem::Response(response)) => {
                self.bytes += response.message.chunk.len() + response.message.trace_id.len();
            }
            Ok(StreamItem::Undecodable(_) | StreamItem::End(_)) => self.ended = true,
            Err(_) => {}
        }
    }
}

struct Scene<'a> {
    probe: &'a Probe,
    pace: Pace,
    limit: Duration,
}

impl Scene<'_> {
    /// As many readers as leave room for one more generation, and the bound of their generations.
    async fn readers(&self, connections: &[Connection; 2]) -> Result<(Vec<Box<Reader>>, i64), NotPassed> {
        let [narrow, wide] = connections;
        let mut bound = self.pace.bound(LASTING);
        let first = loop {
            match self.reader(narrow, bound).await? {
                Started::Reads(reader) => break reader,
                Started::TooLong if bound > LEAST_BOUND => bound /= 2,
                Started::TooLong | Started::Not => {
                    return Err(NotPassed::Inconclusive(format!(
                        "a generation of {bound} tokens on an idle server had no text within {:.1} s: there is no reader to stop",
                        self.limit.as_secs_f64()
                    )));
                }
            }
        };
        let mut readers = vec![first];
        if let Err(why) = self.beside(&mut readers, wide).await? {
            return Err(NotPassed::Inconclusive(format!(
                "the server runs one generation at a time, so that a second waits whether the first is read or not: beside \
                 one that is read a little at a time, {why}"
            )));
        }
        while readers.len() < READERS {
            let own = self.probe.connect_narrow().await?;
            let Started::Reads(reader) = self.reader(&own, bound).await? else { break };
            readers.push(reader);
        }
        if readers.len() < READERS || self.beside(&mut readers, wide).await?.is_err() {
            readers.truncate(1); // no room for all of them and one more
            let _ = self.beside(&mut readers, wide).await?;
        }
        if readers.iter().any(|reader| reader.ended) {
            return Err(NotPassed::Inconclusive(format!(
                "a generation of {bound} tokens was over before its reader could stop reading"
            )));
        }
        Ok((readers, bound))
    }

    async fn reader(&self, connection: &Connection, bound: i64) -> Result<Started, NotPassed> {
        let mut stream = self.stream_on(connection).await;
        stream.send(&self.probe.request(bound));
        stream.half_close();
        let began = Instant::now();
        loop {
            let left = self.limit.saturating_sub(began.elapsed());
            let Ok(item) = timeout(left, stream.next()).await else { return Ok(Started::Not) };
            match item {
                StreamItem::Response(response) if response.message.chunk.is_empty() => {}
                StreamItem::Response(_) => {
                    return Ok(Started::Reads(Box::new(Reader { stream, bytes: 0, ended: false })));
                }
                StreamItem::End(end) if end.code() == Some(Code::InvalidArgument) => {
                    return Ok(Started::TooLong);
                }
                StreamItem::End(end) if end.is_turned_away() => return Ok(Started::Not),
                StreamItem::End(end) => {
                    return Err(NotPassed::Fail(format!(
                        "a legal request got no text: the call {}",
                        end.told()
                    )));
                }
                StreamItem::Undecodable(why) => return Err(NotPassed::Fail(why)),
            }
        }
    }

    /// A short generation while the readers read a little at a time; in words, if it was not served in time.
    async fn beside(
        &self,
        readers: &mut [Box<Reader>],
        connection: &Connection,
    ) -> Result<Looked, NotPassed> {
        tokio::select! {
            served = self.served(connection) => served,
            never = drip(readers) => match never {},
        }
    }

    /// The readers stop: in words, if a stream that is read is late then.
    async fn stop(
        &self,
        readers: &mut [Box<Reader>],
        connections: &[Connection; 2],
    ) -> Result<Looked, NotPassed> {
        let [narrow, wide] = connections;
        let count = readers.len();
        let shared = self.probe.has_room(narrow).await;
        let connection = if shared { narrow } else { wide };
        let began = Instant::now();
        let running = loop {
            let started = tokio::select! {
                started = self.reader(connection, RUNNING) => started?,
                never = drip(readers) => match never {},
            };
            match started {
                Started::Reads(reader) => break reader.stream,
                _ if began.elapsed() > self.limit => {
                    return Err(NotPassed::Inconclusive(
                        "a generation that was served beside the readers at first found no room later".into(),
                    ));
                }
                _ => tokio::time::sleep(GAP).await, // its slot is just becoming free
            }
        };
        // From here on nothing of them is read.
        let stopped = |what: &str| format!("while {count} readers had stopped reading, {what}");
        let most = self.limit + self.pace.lasting(RUNNING) * (count as u32 + 2);
        let Ok(finished) = timeout(most, running.finish(self.probe.request(RUNNING))).await else {
            return Ok(Err(stopped(&format!(
                "a generation that had begun before did not reach its end within {:.1} s",
                most.as_secs_f64()
            ))));
        };
        if !finished.reached_its_end() {
            finished
                .served()
                .map_err(|why| why.when(&format!("while {count} readers had stopped reading")))?;
        }
        tokio::time::sleep((self.pace.token * FILLING).clamp(FILLING_LEAST, FILLING_MOST)).await;
        let both = [(narrow, "the connection of one of them"), (wide, "another connection")];
        for (connection, place) in both.into_iter().skip(usize::from(!shared)) {
            if let Err(why) = self.served(connection).await? {
                return Ok(Err(stopped(&format!("on {place} {why}"))));
            }
            let asked = Instant::now();
            let (trace_id, options) = (self.probe.trace_id(), self.probe.options());
            let health = self.probe.health_on(connection, &trace_id, &options);
            let Ok(health) = timeout(self.limit, health).await else {
                let took = asked.elapsed().as_secs_f64();
                return Ok(Err(stopped(&format!("on {place} Health had no answer within {took:.1} s"))));
            };
            health.informative()?;
        }
        Ok(Ok(()))
    }

    /// Runs a short generation; in words, if it was not served within the limit.
    async fn served(&self, connection: &Connection) -> Result<Looked, NotPassed> {
        let late = |what: &str| {
            let limit = self.limit.as_secs_f64();
            Ok(Err(format!("a generation of {SHORT} tokens {what} within {limit:.1} s")))
        };
        match self.probe.ask_within(connection, &self.probe.request(SHORT), self.limit).await {
            None => late("did not reach its end"),
            Some(generation) if is_refused(&generation) => late("was refused, and not served"),
            Some(generation) => generation.served().map(|_| Ok(())),
        }
    }

    /// Its own patience is longer than anything here waits for it.
    async fn stream_on(&self, connection: &Connection) -> Stream {
        self.probe.streamer().with_patience(self.probe.patience() + LASTING * 2).open(connection).await
    }
}

/// What came of a reader's request.
enum Started {
    Reads(Box<Reader>),
    /// The server refuses so long a generation.
    TooLong,
    /// No text came in time.
    Not,
}

/// Reads a response of each, and the next of each, without an end.
async fn drip(readers: &mut [Box<Reader>]) -> Infallible {
    loop {
        for reader in &mut *readers {
            tokio::time::sleep(GAP).await;
            if !reader.ended {
                reader.read(GAP).await;
            }
        }
    }
}

/// Whether more comes for each reader than fits into its window: else the server never had to wait.
async fn more_than_a_window(readers: &mut [Box<Reader>], bound: i64) -> Judgement {
    for reader in readers {
        reader.bytes = 0;
        let began = Instant::now();
        while !reader.ended && reader.bytes <= WINDOW && began.elapsed() < FILLING_MOST {
            reader.read(FILLING_MOST).await;
        }
        if reader.bytes <= WINDOW {
            return Err(NotPassed::Inconclusive(format!(
                "of a generation of {bound} tokens only {} bytes were left when its reader had stopped: less than its window \
                 of {WINDOW} bytes, so that the server never waited for it",
                reader.bytes
            )));
        }
    }
    Ok(())
}

/// A response goes to its stream's transport before the next one of any stream is taken up.
struct OneQueue {
    turn: Arc<Semaphore>,
}

impl Default for OneQueue {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Behaviour for OneQueue {
    fn respond(&self, _request: &ai_inference_proto::GenerationRequest, responses: Responses) -> Responses {
        let start = (responses, Arc::clone(&self.turn), None);
        Box::pin(stream::unfold(start, |(mut responses, turn, held)| async move {
            drop(held); // the one before has been handed over
            let response = responses.next().await?;
            let held = Arc::clone(&turn).acquire_owned().await.ok();
            Some((response, (responses, turn, held)))
        }))
    }
}
