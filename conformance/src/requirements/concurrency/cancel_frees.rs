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
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "after a cancel the work stops",
    check: check,
    mutant: RunsOn, fault: "a cancelled generation runs on", seen_as: "requests_inflight",
}

const WIDTH: usize = 8;
const LIMIT: Duration = Duration::from_secs(2);
const TRIES: usize = 3;
/// Beyond what the machine needs by itself for a few short generations.
const SLACK: Duration = Duration::from_millis(500);

async fn check(probe: &Probe) -> Judgement {
    let alone = time_short(probe).await?;
    let bound = probe.longest_bound().await?;
    let mut not_passed = None;
    for _ in 0..TRIES {
        let before = probe.requests_inflight().await?;
        let mut running = start(probe, bound).await?;
        // Looked at while it runs, before any text is waited for: a quick model may be done soon after.
        let mut counted = rises_above(probe, before).await?;
        wait_for_text(&mut running).await?;
        counted = counted || probe.requests_inflight().await? > before;
        // Not served in time beside them: the capacity is taken, which is a right answer, and shows that it is finite.
        let beside = tokio::time::timeout(alone * 4 + SLACK, probe.predict(probe.request(8))).await;
        let felt = !beside.is_ok_and(|g| g.is_ok_and(|g| g.end.is_ok()));
        let cancelled = Instant::now();
        running.into_iter().for_each(Stream::cancel);

        let before = before.unwrap_or_default();
        if counted && let Some(left) = stays_above(probe, before).await? {
            not_passed = Some(NotPassed::Fail(format!(
                "requests_inflight is still {left} {LIMIT:?} after {WIDTH} generations were cancelled (it was {before})"
            )));
            continue;
        }
        let served = burst(probe).await?.saturating_duration_since(cancelled);
        let allowed = LIMIT + alone * (2 * WIDTH as u32) + SLACK;
        if served > allowed {
            not_passed = Some(NotPassed::Fail(format!(
                "{WIDTH} short generations took until {served:.1?} after {WIDTH} long ones were cancelled, where \
                 {allowed:.1?} was allowed (one alone takes {alone:.1?})"
            )));
            continue;
        }
        if counted || felt {
            return probe.assert(true, String::new);
        }
        not_passed = Some(NotPassed::Inconclusive(format!(
            "Health shows no requests_inflight that moves, and {WIDTH} generations do not keep another one waiting: \
             nothing shows whether their work went on"
        )));
    }
    match not_passed {
        Some(NotPassed::Fail(why)) => probe.assert(false, || why),
        other => other.map_or(Ok(()), Err),
    }
}

/// Starts the generations all at once, each on a connection of its own.
async fn start(probe: &Probe, bound: i64) -> Result<Vec<Stream>, NotPassed> {
    let mut streams = Vec::new();
    for _ in 0..WIDTH {
        streams.push(probe.stream_on(&probe.connect().await?).await);
    }
    for stream in &mut streams {
        stream.send(&probe.request(bound));
        stream.half_close();
    }
    Ok(streams)
}

/// Whether the counter rises soon.
async fn rises_above(probe: &Probe, before: Option<i64>) -> Result<bool, NotPassed> {
    for _ in 0..10 {
        if probe.requests_inflight().await? > before {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(false)
}

/// Waits for text on any of the streams: a server may take fewer at a time, and queue or refuse the others.
async fn wait_for_text(streams: &mut [Stream]) -> Judgement {
    let mut refused = Ok(());
    for stream in streams {
        match stream.first_text().await {
            Ok(_) => return Ok(()),
            Err(why) => refused = refused.and(Err(why)),
        }
    }
    refused
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
