//! Background load: generations that run side by side while a check measures something else, and how many of them the
//! server runs at a time.
//!
//! Nothing is left behind: what is cancelled here was no longer than was asked for, and [`Probe::settled`] waits for it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::JoinSet};
use tonic::Code;

use super::{
    Pace, Probe, Seen, StreamItem, Streamer,
    pace::LEAST_BOUND,
    wire::{Connection, End},
};
use crate::verdict::NotPassed;

/// Between two attempts of a generation that the server refused.
const BACK_OFF: Duration = Duration::from_millis(50);
/// No new generation has started for so long, at least, before the rest is taken to be waiting.
const QUIET: Duration = Duration::from_millis(300);
/// The same where as many run as when the server was last seen to be full.
const QUIET_AGAIN: Duration = Duration::from_millis(100);
/// The same as a multiple of what a start takes on this server.
const QUIET_STARTS: u32 = 6;
/// A start takes so long at most, where it is not known better.
const START: Duration = Duration::from_millis(50);
/// A generation stands still that gets no text in so many looks in a row, while each of the others gets so many.
const LOOKS: usize = 5;
const TEXTS: usize = 3;
/// In so many looks in a row all get some: none stands still.
const ALL_MOVE: usize = 2;
/// Between two looks, at least.
const GLANCE: Duration = Duration::from_millis(40);
/// The same in the server's own tokens.
const GLANCE_TOKENS: u32 = 2;
/// They wait for each other; the owner says how long the check waits for them.
const WAIT: Duration = Duration::from_mins(10);

/// Generations side by side, each started again when it ends or is refused.
#[derive(Debug)]
pub struct Load {
    workers: JoinSet<()>,
    board: Arc<Board>,
    width: usize,
    pace: Pace,
    seen: Seen,
    /// max_new_tokens of each, as the server took it.
    pub bound: i64,
    /// When the first were sent.
    pub began: Instant,
    /// When the last generation started.
    grown: Instant,
}

#[derive(Debug, Default)]
struct Board {
    /// Of each generation between its first text and its end: how much text it has got so far.
    texts: Mutex<BTreeMap<usize, usize>>,
    /// Texts of all of them so far.
    said: AtomicUsize,
    ended: AtomicUsize,
    starts: Mutex<Vec<Instant>>,
    refusal: Mutex<Option<End>>,
    changed: Notify,
}

impl Load {
    /// Starts `width` generations that last about `lasting` each, spread over the connections, and waits for the first
    /// text of any of them: a server may take fewer at a time.
    pub async fn start(
        probe: &Probe,
        connections: &[Connection],
        pace: Pace,
        width: usize,
        lasting: Duration,
    ) -> Result<Self, NotPassed> {
        let mut bound = pace.bound(lasting);
        loop {
            let load = Self::launch(probe, connections, width, bound, pace);
            match load.first_text(probe).await {
                Ok(()) => return Ok(load),
                // Beyond the server's context: a shorter one is asked for.
                Err(end) if end.code() == Some(Code::InvalidArgument) && bound > LEAST_BOUND => bound /= 2,
                Err(End::TimedOut(patience)) => {
                    return Err(NotPassed::Inconclusive(format!(
                        "none of {width} generations of {bound} tokens at once showed text within {:.1} s: nothing shows \
                         which of them run",
                        patience.as_secs_f64()
                    )));
                }
                Err(end) => {
                    return Err(NotPassed::Fail(format!(
                        "none of {width} legal generations of {bound} tokens at once sent any text; one of them {}",
                        end.told()
                    )));
                }
            }
        }
    }

    /// The same at once and with a bound that the server takes, without a wait for any text.
    pub fn start_anew(
        probe: &Probe,
        connections: &[Connection],
        pace: Pace,
        width: usize,
        bound: i64,
    ) -> Self {
        Self::launch(probe, connections, width, bound, pace)
    }

    fn launch(probe: &Probe, connections: &[Connection], width: usize, bound: i64, pace: Pace) -> Self {
        let (board, workers) = (Arc::new(Board::default()), JoinSet::new());
        let (seen, now) = (probe.endpoint().seen.clone(), Instant::now());
        let mut load = Self { workers, board, width: 0, pace, seen, bound, began: now, grown: now };
        load.grow(probe, connections, width);
        load
    }

    /// Starts more of them, until there are `width`.
    pub fn grow(&mut self, probe: &Probe, connections: &[Connection], width: usize) {
        for at in self.width..width {
            let (board, connection) = (Arc::clone(&self.board), connections[at % connections.len()].clone());
            let (streamer, request) = (probe.streamer().with_patience(WAIT), probe.request(self.bound));
            self.workers.spawn(async move { board.work(at, &streamer, &connection, &request).await });
        }
        self.width = width;
        self.grown = Instant::now();
    }

    async fn first_text(&self, probe: &Probe) -> Result<(), End> {
        let deadline = Instant::now() + probe.patience();
        loop {
            let changed = self.board.changed.notified();
            if !self.board.starts().is_empty() {
                return Ok(());
            }
            let refusal = self.board.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let left = deadline.saturating_duration_since(Instant::now());
            match refusal {
                Some(end) if !end.is_full() && !end.not_processed() => return Err(end),
                refusal if left.is_zero() => {
                    return Err(refusal.unwrap_or(End::TimedOut(probe.patience())));
                }
                _ => drop(tokio::time::timeout(left, changed).await),
            }
        }
    }

    /// How many generations are between their first text and their end right now.
    pub fn running(&self) -> usize {
        self.board.texts().len()
    }

    /// How one of them was refused that had no text yet, if one was; the server says that it is full.
    pub fn refused(&self) -> Option<End> {
        let refusal = self.board.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        refusal.clone().filter(End::is_turned_away)
    }

    /// How many are kept going, running or not.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many have come to their ends so far.
    pub fn ended(&self) -> usize {
        self.board.ended.load(Ordering::Relaxed)
    }

    /// Waits until no more of them start, and says how many run. Fewer than all: the server has no room for more, and the
    /// rest waits, or was refused.
    pub async fn steady(&self) -> usize {
        loop {
            let changed = self.board.changed.notified();
            if self.running() == self.width {
                return self.width;
            }
            let starts = self.board.starts();
            let gaps = starts.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0]));
            let first = starts.first().map_or(Duration::ZERO, |s| s.saturating_duration_since(self.began));
            let slowest = gaps.max().unwrap_or_default().min(first.max(START));
            let full_before = self.seen.slots() == Some(self.running());
            let no_less = if full_before { QUIET_AGAIN } else { QUIET };
            let quiet = (slowest.max(first).max(self.pace.first) * QUIET_STARTS).max(no_less);
            let last = starts.last().copied().unwrap_or(self.grown).max(self.grown);
            let left = quiet.saturating_sub(last.elapsed());
            if left.is_zero() || self.ended() > 0 {
                return self.running().max(1);
            }
            let _ = tokio::time::timeout(left, changed).await;
        }
    }

    /// Whether one that has begun stands still while the others go on: the server gives its slots in turns, and how many have
    /// begun says nothing of how many run at a time.
    pub async fn in_turns(&self) -> bool {
        let mut before = self.board.texts().clone();
        // Of each: looks since its last text, and how many texts all had together then.
        let (mut still, mut all_move) = (BTreeMap::<usize, (usize, usize)>::new(), 0);
        for _ in 0..LOOKS * 2 {
            tokio::time::sleep(GLANCE.max(self.pace.token * GLANCE_TOKENS)).await;
            let now = self.board.texts().clone();
            let got = |at: &usize| {
                now.get(at).copied().unwrap_or_default() != before.get(at).copied().unwrap_or_default()
            };
            let moving = now.keys().filter(|at| got(at)).count();
            all_move = if moving == now.len() { all_move + 1 } else { 0 };
            if all_move == ALL_MOVE {
                return false;
            }
            let said = self.said();
            for at in now.keys() {
                let (looks, then) = still.entry(*at).or_insert((0, said));
                (*looks, *then) = if got(at) { (0, said) } else { (*looks + usize::from(moving > 0), *then) };
                if *looks >= LOOKS && said - *then >= TEXTS * (now.len() - 1) {
                    return true;
                }
            }
            before = now;
        }
        false
    }

    /// Texts of all of them so far.
    pub fn said(&self) -> usize {
        self.board.said.load(Ordering::Relaxed)
    }

    /// Waits until so many run at once, and says whether they did in time.
    pub async fn reaches(&self, wanted: usize, deadline: Instant) -> bool {
        loop {
            let changed = self.board.changed.notified();
            if self.running() >= wanted {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let _ = tokio::time::timeout(left, changed).await;
        }
    }

    /// From sending the last of them to the last start so far.
    pub fn started_within(&self) -> Duration {
        let last = self.board.starts().last().copied().unwrap_or(self.grown);
        last.saturating_duration_since(self.grown).max(self.pace.first)
    }

    /// Cancels them all; at most so much work may still go on, where it does not stop.
    pub async fn cancel(mut self) -> Duration {
        self.workers.shutdown().await;
        self.pace.lasting(self.bound) * self.width as u32
    }
}

impl Board {
    async fn work(
        &self,
        at: usize,
        streamer: &Streamer,
        connection: &Connection,
        request: &ai_inference_proto::GenerationRequest,
    ) {
        loop {
            let mut stream = streamer.open(connection).await;
            stream.send(request);
            stream.half_close();
            let mut counted = false;
            let end = loop {
                match stream.next().await {
                    StreamItem::Response(response) if response.message.chunk.is_empty() => {}
                    StreamItem::Response(_) => {
                        *self.texts().entry(at).or_default() += 1;
                        self.said.fetch_add(1, Ordering::Relaxed);
                        if !counted {
                            counted = true;
                            self.starts.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                            self.changed.notify_waiters();
                        }
                    }
                    StreamItem::Undecodable(why) => break End::Malformed(why),
                    StreamItem::End(end) => break end,
                }
            };
            if counted {
                self.texts().remove(&at);
                self.ended.fetch_add(1, Ordering::Relaxed);
            } else {
                *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
                self.changed.notify_waiters();
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }

    fn texts(&self) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn starts(&self) -> Vec<Instant> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Probe {
    /// As many connections as the server takes, up to `wanted`; fewer are a legal freedom, none is a failure.
    pub async fn connections(&self, wanted: usize) -> Result<Vec<Connection>, NotPassed> {
        let mut connections = vec![self.connect().await?];
        while connections.len() < wanted {
            match self.connect().await {
                Ok(connection) => connections.push(connection),
                Err(_) => break,
            }
        }
        Ok(connections)
    }
}
