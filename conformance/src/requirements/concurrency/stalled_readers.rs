//! CONCURRENCY-016.

use std::time::Duration;

use crate::{
    exemplar::Behaviour,
    probe::{Pace, Probe, Stream},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Readers that stop reading, as many as the server has slots, do not lock others out: a good request is served within a
    /// minute. *Slow, unsafe.*
    ///
    /// # Why it matters
    /// A phone in a tunnel reads nothing and says nothing. A server that keeps a slot for it until it comes back needs only as
    /// many such phones as it has slots, and nobody is served.
    ///
    /// # How it is checked
    /// The number of generations that run at a time is found first. Then as many clients as that ask for long generations
    /// and stop reading after some hundred bytes of the answer. A good request on another connection must then be served
    /// within a minute; one that is refused is sent again until then. At last the clients go away, and the server must be idle
    /// again. A server whose capacity has no end in sight cannot be filled so, and the check says so.
    ///
    /// # What a violation looks like
    /// The good request waits for as long as the others do not read.
    ///
    /// # References
    /// Contract, CONCURRENCY-016.
    id: "CONCURRENCY-016",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    slow: true,
    unsafe_: true,
    since: "0.1.0",
    title: "readers that stop reading do not lock others out",
    check: check,
    mutant: KeepsSlots, fault: "readers that do not read keep their slots", seen_as: "stopped reading",
}

/// The time that the contract allows.
const LIMIT: Duration = Duration::from_mins(1);
/// Long enough that the slots are seen to be full.
const LASTING: Duration = Duration::from_secs(3);
/// Tokens of a generation whose text is longer than what transports hold for a slow reader.
const LONG: i64 = 4096;
/// Tokens whose text fills the reader's window.
const WINDOW: i64 = 64;
/// For the machine's own unrest.
const SLACK: Duration = Duration::from_millis(300);

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let capacity = probe.capacity(pace, LASTING).await?;
    let bound = longest_taken(probe, pace, capacity.bound).await?;
    let mut readers: Vec<Stream> = Vec::new();
    for _ in 0..capacity.slots {
        let mut stream = probe.stream_on(&probe.connect_narrow().await?).await;
        stream.send(&probe.request(bound));
        stream.half_close();
        readers.push(stream);
    }
    tokio::time::sleep(pace.lasting(WINDOW) + SLACK).await;
    let end = probe.predict_waiting(probe.request(4), LIMIT).await?.end;
    drop(readers);
    let settled = probe.settled(pace, pace.lasting(bound)).await;
    probe.assert(end.is_ok(), || {
        format!(
            "the server takes {} at a time; after {} clients had stopped reading their answers, a good request {} ({} s are \
             allowed)",
            capacity.slots,
            capacity.slots,
            end.told(),
            LIMIT.as_secs()
        )
    })?;
    settled
}

/// A bound as long as is wished for, or as the server's context allows.
async fn longest_taken(probe: &Probe, pace: Pace, taken: i64) -> Result<i64, NotPassed> {
    let mut bound = LONG.max(taken);
    while bound > taken {
        let mut stream = probe.stream().await?;
        stream.send(&probe.request(bound));
        stream.half_close();
        let started = stream.first_text().await.is_ok();
        drop(stream);
        probe.settled(pace, pace.lasting(bound)).await?;
        if started {
            return Ok(bound);
        }
        bound /= 2;
    }
    Ok(taken)
}

#[derive(Default)]
struct KeepsSlots;

impl Behaviour for KeepsSlots {
    fn reader_patience(&self) -> Duration {
        Duration::MAX
    }
}
