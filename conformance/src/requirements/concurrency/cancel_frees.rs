//! CONCURRENCY-003.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::{
    exemplar::Behaviour,
    probe::{Probe, Stream},
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
    /// Eight long generations are started, and cancelled when text has come. Where Health shows `requests_inflight` and
    /// the number moved as they started, it must be back where it was within two seconds. Then eight short generations
    /// at once must all be served, within two seconds and the time that they need by themselves: a burst that needs the
    /// capacity. If the counter does not move and the eight long ones do not keep a short one waiting, nothing shows
    /// whether their work went on, and the check says so.
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
/// Beyond what the machine needs by itself for a few short generations.
const SLACK: Duration = Duration::from_millis(500);

async fn check(probe: &Probe) -> Judgement {
    let alone = time_short(probe).await?;
    let bound = probe.longest_bound().await?;
    let mut fault = String::new();
    for _ in 0..TRIES {
        let before = probe.requests_inflight().await?;
        let running = start(probe, bound).await?;
        let during = probe.requests_inflight().await?;
        let counted = before.zip(during).is_some_and(|(before, during)| during > before);
        // Not served in time beside them: the capacity is taken, which is a right answer, and shows that it is finite.
        let beside = tokio::time::timeout(alone * 4 + SLACK, probe.predict(probe.request(8))).await;
        let felt = !beside.is_ok_and(|g| g.is_ok_and(|g| g.end.is_ok()));
        let count = running.len();
        let cancelled = Instant::now();
        running.into_iter().for_each(Stream::cancel);

        if counted && let Some(left) = stays_above(probe, before.unwrap_or_default()).await? {
            let before = before.unwrap_or_default();
            fault = format!(
                "requests_inflight is still {left} {LIMIT:?} after {count} generations were cancelled (it was {before})"
            );
            continue;
        }
        let served = burst(probe).await?;
        let allowed = LIMIT + alone * (2 * WIDTH as u32) + SLACK;
        if served.saturating_duration_since(cancelled) > allowed {
            fault = format!(
                "{WIDTH} short generations took until {:.1?} after {count} long ones were cancelled, where {:.1?} was \
                 allowed (one alone takes {alone:.1?})",
                served.saturating_duration_since(cancelled),
                allowed
            );
            continue;
        }
        if counted || felt {
            return probe.assert(true, String::new);
        }
        return Err(NotPassed::Inconclusive(format!(
            "Health shows no requests_inflight that moves, and {count} generations do not keep another one waiting: \
             nothing shows whether their work went on"
        )));
    }
    probe.assert(false, || fault)
}

/// Starts the generations all at once, each on a connection of its own, and waits for the first text of any of them: a
/// server may take fewer at a time, and queue or refuse the others.
async fn start(probe: &Probe, bound: i64) -> Result<Vec<Stream>, NotPassed> {
    let mut streams = Vec::new();
    for _ in 0..WIDTH {
        let mut stream = probe.stream_on(&probe.connect().await?).await;
        stream.send(&probe.request(bound));
        stream.half_close();
        streams.push(stream);
    }
    let first = &mut streams[0];
    match first.first_text().await {
        Err(NotPassed::Fail(why)) if streams.len() > 1 => {
            // The first may have been the one that was refused or queued: any other will do.
            let mut others = streams.iter_mut().skip(1);
            loop {
                let Some(other) = others.next() else { return Err(NotPassed::Fail(why)) };
                if other.first_text().await.is_ok() {
                    break;
                }
            }
        }
        other => {
            other?;
        }
    }
    Ok(streams)
}

/// Waits for the counter to come back; what it shows at the limit if it does not.
async fn stays_above(probe: &Probe, before: i64) -> Result<Option<i64>, NotPassed> {
    let cancelled = Instant::now();
    loop {
        let now = probe.requests_inflight().await?.unwrap_or(before);
        if now <= before {
            return Ok(None);
        }
        if cancelled.elapsed() > LIMIT {
            return Ok(Some(now));
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// As many short generations at once as were cancelled; when the last of them was served.
async fn burst(probe: &Probe) -> Result<Instant, NotPassed> {
    let short = (0..WIDTH).map(|_| Box::pin(probe.predict(probe.request(8))));
    for generation in join_all(short).await {
        generation?.served()?;
    }
    Ok(Instant::now())
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
