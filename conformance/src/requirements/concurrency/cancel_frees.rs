//! CONCURRENCY-003.

use std::time::{Duration, Instant};

use crate::{
    exemplar::Behaviour,
    probe::{Probe, Stream, StreamItem, wire::End},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// After a client cancels, the work stops: capacity is back within 2 s (`requests_inflight`, or a burst that
    /// needs it).
    ///
    /// # Why it matters
    /// Users close tabs. A server that goes on generating for them serves nobody, and under load serves nobody
    /// else.
    ///
    /// # How it is checked
    /// Eight long generations are started, read until each has sent text, and cancelled. Where Health shows
    /// `requests_inflight` and the number moved as they started, it must be back where it was within two seconds.
    /// Where it does not, a short generation is timed alone, beside the eight, and two seconds after the cancel; it
    /// must be quick again. If neither the counter nor the clock shows the eight at all, the check is blind and
    /// says so.
    ///
    /// # What a violation looks like
    /// `requests_inflight` stays up until the cancelled generations have run to their ends.
    ///
    /// # References
    /// Contract, CONCURRENCY-003; gRPC, "Cancellation".
    id: "CONCURRENCY-003",
    level: Must,
    roles: [Server],
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "after a cancel the work stops",
    check: check,
    mutant: RunsOn, fault: "a cancelled generation runs on", seen_as: "requests_inflight",
}

const WIDTH: usize = 8;
const LIMIT: Duration = Duration::from_secs(2);
const TRIES: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    let alone = time_short(probe).await?;
    let bound = probe.longest_bound().await?;
    let mut slow = String::new();
    for _ in 0..TRIES {
        let before = inflight(probe).await?;
        let running = start(probe, bound).await?;
        let during = inflight(probe).await?;
        match (before, during) {
            (Some(before), Some(during)) if during > before => {
                cancel(running);
                let Some(left) = stays_above(probe, before).await? else {
                    return probe.assert(true, String::new);
                };
                slow = format!(
                    "requests_inflight is still {left} {LIMIT:?} after {WIDTH} generations were cancelled (it was {before})"
                );
            }
            _ => {
                let beside = time_short(probe).await?;
                cancel(running);
                if beside < alone * 2 {
                    return Err(NotPassed::Inconclusive(format!(
                        "Health shows no requests_inflight that moves, and {WIDTH} generations do not slow another \
                         down ({alone:.1?} alone, {beside:.1?} beside them)"
                    )));
                }
                tokio::time::sleep(LIMIT).await;
                let after = time_short(probe).await?;
                if after < (alone + beside) / 2 {
                    return probe.assert(true, String::new);
                }
                slow = format!(
                    "a short generation takes {after:.1?} {LIMIT:?} after {WIDTH} were cancelled: {beside:.1?} beside \
                     them, {alone:.1?} alone"
                );
            }
        }
    }
    probe.assert(false, || slow)
}

/// `requests_inflight` of Health, where it is shown.
async fn inflight(probe: &Probe) -> Result<Option<i64>, NotPassed> {
    let health = probe.health(&probe.trace_id()).await?;
    Ok(health.informative()?.metrics.get("requests_inflight").and_then(|v| v.parse().ok()))
}

/// Starts the generations, each on a connection of its own, and waits for text on each; a server that takes fewer at
/// a time has as many running as it takes.
async fn start(probe: &Probe, bound: i64) -> Result<Vec<Stream>, NotPassed> {
    let mut streams = Vec::new();
    for _ in 0..WIDTH {
        let mut stream = probe.stream_on(&probe.connect().await?).await;
        stream.send(&probe.request(bound));
        stream.half_close();
        match stream.next().await {
            StreamItem::End(End::TimedOut(_)) if !streams.is_empty() => {} // it waits for a slot: cancelled too
            StreamItem::End(end) if end.is_full() && !streams.is_empty() => break,
            StreamItem::End(end) => {
                return Err(NotPassed::Fail(format!("a generation of {bound} tokens {}", end.told())));
            }
            _ => {}
        }
        streams.push(stream);
    }
    Ok(streams)
}

fn cancel(streams: Vec<Stream>) {
    for stream in streams {
        stream.cancel();
    }
}

/// Waits for the counter to come back; what it shows at the limit if it does not.
async fn stays_above(probe: &Probe, before: i64) -> Result<Option<i64>, NotPassed> {
    let cancelled = Instant::now();
    loop {
        let now = inflight(probe).await?.unwrap_or(before);
        if now <= before {
            return Ok(None);
        }
        if cancelled.elapsed() > LIMIT {
            return Ok(Some(now));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// The best of three short generations.
async fn time_short(probe: &Probe) -> Result<Duration, NotPassed> {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let generation = probe.predict(probe.request(8)).await?;
        generation.served()?;
        best = best.min(generation.responses.last().map_or(Duration::MAX, |r| r.at));
    }
    Ok(best)
}

#[derive(Default)]
struct RunsOn;

impl Behaviour for RunsOn {
    fn stops_on_cancel(&self) -> bool {
        false
    }
}
