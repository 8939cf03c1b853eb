//! How many generations a server runs at a time, and a server that is kept full but for one slot.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use super::{Load, Pace, Probe, Stream, wire::Connection};
use crate::verdict::{Judgement, NotPassed};

/// Generations at once; more are started where all of these run.
const WIDTHS: [usize; 3] = [4, 16, 64];
/// Connections for a crowd: a server may take one call at a time on each.
const CONNECTIONS: usize = 72;

/// How many generations a server runs at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// So many; the rest waits, or is refused.
    Slots(usize),
    /// As many as were started.
    NoEnd(usize),
    /// Some that have begun stand still: slots are given in turns.
    InTurns,
    /// Generations are over too soon to tell.
    TooSoon,
}

impl Load {
    /// Starts more and more of them until some wait, and says how many run at a time.
    pub async fn room(&mut self, probe: &Probe, connections: &[Connection], widths: &[usize]) -> Room {
        match self.fill(probe, connections, widths).await {
            Room::Slots(_) if self.in_turns().await => Room::InTurns,
            room => room,
        }
    }

    /// The same without a look whether those that have begun go on: how many have begun.
    pub async fn fill(&mut self, probe: &Probe, connections: &[Connection], widths: &[usize]) -> Room {
        for width in widths {
            self.grow(probe, connections, *width);
            let running = self.steady().await;
            if self.ended() > 0 {
                return Room::TooSoon;
            }
            if running < *width {
                probe.endpoint().seen.add_slots(running);
                return Room::Slots(running);
            }
        }
        Room::NoEnd(widths.last().copied().unwrap_or_default())
    }
}

impl Room {
    /// The slots, or why they cannot be counted.
    fn counted(self) -> Result<usize, NotPassed> {
        let why = match self {
            Self::Slots(slots) => return Ok(slots),
            Self::NoEnd(width) => {
                format!(
                    "{width} generations at once do not keep each other waiting: no end of its capacity is seen"
                )
            }
            Self::InTurns => {
                "generations stand still in turns: how many run at a time is not seen".to_owned()
            }
            Self::TooSoon => "generations are over too soon to fill the server with them".to_owned(),
        };
        Err(NotPassed::Inconclusive(why))
    }
}

/// So often is a server filled that was not full, at most.
const FILLED: usize = 3;
/// Why nothing was seen of a server that had room though all its slots seemed taken.
pub const NOT_FULL: &str =
    "requests started though every slot had been taken: the server could not be kept full";

/// A look under way.
type Looking<'a> = Pin<Box<dyn Future<Output = Judgement> + Send + 'a>>;

/// What a server has room for, with what is needed to fill it.
#[derive(Debug)]
pub struct Capacity {
    /// Generations that run at a time.
    pub slots: usize,
    /// max_new_tokens of a generation that lasts as long as was asked for.
    pub bound: i64,
    /// From sending the last of those that were counted to its first text.
    pub started_within: Duration,
    /// Connections to spread them over.
    pub connections: Vec<Connection>,
    pace: Pace,
    /// A full server's generations are so many times as slow as one alone.
    slower: f64,
}

impl Capacity {
    /// So many tokens come in so long a time while the server is full.
    pub fn tokens(&self, lasting: Duration) -> i64 {
        self.pace.tokens(lasting.div_f64(self.slower))
    }

    /// How long a generation of so many tokens lasts on an idle server.
    pub fn lasting(&self, bound: i64) -> Duration {
        self.pace.lasting(bound)
    }
}

impl Probe {
    /// What a look at a full server shows. Where it was not full, the look is taken again: on a busy machine not all slots are
    /// seen at first.
    pub async fn of_a_full_server(&self, look: for<'a> fn(&'a Self) -> Looking<'a>) -> Judgement {
        let mut judged = look(self).await;
        for _ in 1..FILLED {
            if !matches!(&judged, Err(NotPassed::Inconclusive(why)) if why == NOT_FULL) {
                break;
            }
            self.endpoint().seen.forget_slots();
            judged = look(self).await;
        }
        judged
    }

    /// Fills the server to see how many generations run at a time, and lets it become idle again. Inconclusive where that
    /// cannot be seen.
    pub async fn capacity(&self, pace: Pace, lasting: Duration) -> Result<Capacity, NotPassed> {
        let connections = self.connections(CONNECTIONS).await?;
        let mut load = Load::start(self, &connections, pace, WIDTHS[0], lasting).await?;
        let mut room = load.fill(self, &connections, &WIDTHS).await;
        let (full, before) = (Instant::now(), load.said());
        if matches!(room, Room::Slots(_)) && load.in_turns().await {
            room = Room::InTurns;
        }
        let (elapsed, said) = (full.elapsed(), load.said() - before);
        let (bound, started_within) = (load.bound, load.started_within());
        let work = load.cancel().await;
        self.settled(pace, work).await?;
        let slots = room.counted()?;
        let each = elapsed.as_secs_f64() * slots as f64 / said.max(1) as f64;
        let slower = (each / pace.text.as_secs_f64().max(1e-6)).max(1.0);
        Ok(Capacity { slots, bound, started_within, connections, pace, slower })
    }
}

/// A server whose slots are all taken, by generations of priority 0; one of them opens when it is told to.
#[derive(Debug)]
pub struct Full {
    /// What it has room for.
    pub capacity: Capacity,
    blockers: Load,
    gate: Option<Stream>,
}

impl Full {
    /// Takes all slots but one.
    pub async fn but_one(probe: &Probe, capacity: Capacity) -> Result<Self, NotPassed> {
        let Capacity { slots, bound, ref connections, pace, .. } = capacity;
        let blockers = Load::start_anew(probe, connections, pace, slots - 1, bound);
        if blockers.reaches(slots - 1, Instant::now() + probe.patience()).await {
            return Ok(Self { capacity, blockers, gate: None });
        }
        let work = blockers.cancel().await;
        probe.settled(pace, work).await?;
        Err(NotPassed::Inconclusive(format!(
            "{slots} generations ran at once, and a moment later fewer did: the server cannot be kept full"
        )))
    }

    /// Takes the last slot.
    pub async fn close(&mut self, probe: &Probe) -> Judgement {
        let connection = &self.capacity.connections[self.capacity.slots % self.capacity.connections.len()];
        let mut gate = probe.stream_on(connection).await;
        gate.send(&probe.request(self.capacity.bound));
        gate.half_close();
        gate.first_text().await.map_err(|why| match why {
            NotPassed::Fail(why) => {
                NotPassed::Inconclusive(format!("the server's last slot could not be taken: {why}"))
            }
            other => other,
        })?;
        self.gate = Some(gate);
        Ok(())
    }

    /// Lets go of the last slot.
    pub fn open(&mut self) {
        self.gate = None;
    }

    /// Cancels everything, and waits until the server is idle.
    pub async fn end(self, probe: &Probe) -> Judgement {
        drop(self.gate);
        let work = self.blockers.cancel().await.max(self.capacity.pace.lasting(self.capacity.bound));
        probe.settled(self.capacity.pace, work).await
    }
}
