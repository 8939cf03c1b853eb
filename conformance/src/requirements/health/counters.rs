//! HEALTH-009.

use std::time::{Duration, Instant};

use ai_inference_proto::{GenerationRequest, HealthAnswer};
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::{
        Generation, Pace, Probe, Stream, StreamItem,
        wire::{Connection, time},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Counters shown in metrics (`requests_inflight`, `requests_success`, `requests_failed`) are base-10 integers and move
    /// as requests pass; a stream counts as in flight until its last message.
    ///
    /// # Why it matters
    /// Coordinators send the next request to the worker with the fewest in flight. A counter that only grows makes an idle
    /// worker look full; one that forgets running streams sends all requests to one worker.
    ///
    /// # How it is checked
    /// Each counter that Health shows must be written in digits alone. Over three served generations `requests_success` must
    /// rise by three, and `requests_failed` must not. Three requests for an unknown model must not count as successes. While
    /// a generation runs that lasts two tenths of a second, Health is called again and again: each time between the first
    /// text and the last message, `requests_inflight` must be above its value before. Within a second after the last message
    /// it must be back, also where the client has not yet half-closed its stream. What is seen wrong is looked at once more
    /// before it is a failure: others may use the target. Whether `requests_failed` counts what is refused is left open. A
    /// server that shows none of the counters, or whose generations are over too soon, is inconclusive.
    ///
    /// # What a violation looks like
    /// `requests_inflight` grows with each request and never comes back; or it is "1.0".
    ///
    /// # References
    /// Contract, HEALTH-009.
    id: "HEALTH-009",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    since: "0.1.0",
    title: "counters are integers and move as requests pass",
    check: check,
    mutant: OnlyGrows, fault: "requests_inflight only grows", seen_as: "after its last message",
}

/// Requests that must move a counter.
const REQUESTS: u64 = 3;
/// A counter that is shown late is waited for so long.
const LATE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);
/// What is seen wrong twice is the server's.
const TRIES: usize = 2;
/// Long enough for some looks at the counter.
const LASTING: Duration = Duration::from_millis(200);
const LOOKS: usize = 3;
/// A look that ends so shortly before the last message may have seen what came after it.
const MARGIN: Duration = Duration::from_millis(10);
/// Generations tried, each longer than the last, until one allows enough looks.
const ATTEMPTS: usize = 3;
const LEAST_BOUND: i64 = 32;

/// What Health shows of the counters.
#[derive(Clone, Copy)]
struct Counters {
    inflight: Option<u64>,
    success: Option<u64>,
    failed: Option<u64>,
}

async fn check(probe: &Probe) -> Judgement {
    let shown = counters(probe).await?;
    probe.predict(probe.request(4)).await?.served()?;
    if shown.inflight.or(shown.success).or(shown.failed).is_none() {
        return Err(NotPassed::Inconclusive(
            "Health shows none of requests_inflight, requests_success and requests_failed".into(),
        ));
    }
    served_ones(probe).await?;
    if shown.success.is_some() {
        refused_ones(probe).await?;
    }
    if shown.inflight.is_some() { in_flight(probe).await } else { Ok(()) }
}

async fn counters(probe: &Probe) -> Result<Counters, NotPassed> {
    let health = probe.health(&probe.trace_id()).await?;
    let metrics = &health.informative()?.metrics;
    let count = |name: &str| {
        let Some(shown) = metrics.get(name) else { return Ok(None) };
        let count = shown.bytes().all(|b| b.is_ascii_digit()).then(|| shown.parse().ok()).flatten();
        probe.assert(count.is_some(), || {
            format!("metrics[{name:?}] is {shown:?}, which is no number of requests in decimal digits")
        })?;
        Ok(count)
    };
    Ok(Counters {
        inflight: count("requests_inflight")?,
        success: count("requests_success")?,
        failed: count("requests_failed")?,
    })
}

/// By how much a counter has risen; nothing where it is not shown.
fn risen(before: Option<u64>, after: Option<u64>) -> u64 {
    after.unwrap_or_default().saturating_sub(before.unwrap_or_default())
}

/// Served requests are successes, and no failures.
async fn served_ones(probe: &Probe) -> Judgement {
    let mut failed = 0;
    for _ in 0..TRIES {
        let before = counters(probe).await?;
        for _ in 0..REQUESTS {
            probe.predict(probe.request(4)).await?.served()?;
        }
        let began = Instant::now();
        let after = loop {
            let now = counters(probe).await?;
            if risen(before.success, now.success) >= REQUESTS || began.elapsed() > LATE {
                break now;
            }
            tokio::time::sleep(PAUSE).await;
        };
        if let (Some(before), Some(after)) = (before.success, after.success) {
            probe.assert(after >= before + REQUESTS, || {
                format!("requests_success went from {before} to {after} over {REQUESTS} generations that were served")
            })?;
        }
        if risen(before.failed, after.failed) < REQUESTS {
            return Ok(());
        }
        failed = risen(before.failed, after.failed);
    }
    probe.assert(false, || {
        format!("requests_failed rose by {failed} over {REQUESTS} generations that were served")
    })
}

/// Refused requests are no successes.
async fn refused_ones(probe: &Probe) -> Judgement {
    for _ in 0..TRIES {
        let idle = counters(probe).await?;
        for _ in 1..REQUESTS {
            counters(probe).await?;
        }
        let before = counters(probe).await?;
        for _ in 0..REQUESTS {
            let model_id = format!("no-such-model-{}", probe.random(1 << 30));
            let generation = probe.predict(GenerationRequest { model_id, ..probe.request(4) }).await?;
            if generation.end.code() != Some(Code::NotFound) {
                return Ok(()); // ERROR-001's matter
            }
        }
        let after = counters(probe).await?;
        // It may count calls of any kind, or requests of others.
        if risen(idle.success, before.success) > 0 || risen(before.success, after.success) < REQUESTS {
            return Ok(());
        }
    }
    probe.assert(false, || {
        format!(
            "requests_success rose by {REQUESTS} over {REQUESTS} requests for an unknown model, all refused"
        )
    })
}

async fn in_flight(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let two_calls = probe.takes_two_calls().await?;
    let connection = if two_calls { probe.connection().await? } else { probe.connect().await? };
    let mut wrong = None;
    for _ in 0..TRIES {
        wrong = look(probe, &connection, pace).await?;
        if wrong.is_none() {
            break;
        }
    }
    probe.assert(wrong.is_none(), || wrong.unwrap_or_default())
}

/// What is wrong with the counter over two generations, if anything is.
async fn look(probe: &Probe, connection: &Connection, pace: Pace) -> Result<Option<String>, NotPassed> {
    let before = inflight(probe).await?;
    let (looks, took) = looks(probe, connection, pace).await?;
    if let Some((at, shown)) = looks.iter().find(|(_, shown)| *shown <= before) {
        return Ok(Some(format!(
            "requests_inflight was {before} before a generation, and {shown} in the middle of it, {} after its request \
             (it lasted {}): it does not count until its last message",
            time(*at),
            time(took)
        )));
    }
    let after = back(probe, before).await?;
    if after > before {
        return Ok(Some(format!(
            "requests_inflight was {before} before a generation, and it was {after} still {} after its last message",
            time(LATE)
        )));
    }
    let mut stream = probe.stream_on(connection).await;
    stream.send(&probe.request(4));
    if !answered(&mut stream).await {
        return Ok(None); // STREAM-008's matter
    }
    let after = back(probe, before).await?;
    stream.half_close();
    Ok((after > before).then(|| {
        format!(
            "requests_inflight was {before} before a generation, and it was {after} still {} after its last message, while \
             its stream was not half-closed: it counts open streams",
            time(LATE)
        )
    }))
}

/// Reads one generation to its last message.
async fn answered(stream: &mut Stream) -> bool {
    loop {
        match stream.next().await {
            StreamItem::Response(response) if response.message.end_of_stream => return true,
            StreamItem::Response(_) => {}
            StreamItem::Undecodable(_) | StreamItem::End(_) => return false,
        }
    }
}

/// What the counter showed, and when, between a generation's first text and its last message; and how long it lasted.
async fn looks(
    probe: &Probe,
    connection: &Connection,
    pace: Pace,
) -> Result<(Vec<(Duration, u64)>, Duration), NotPassed> {
    let mut bound = pace.bound(LASTING);
    let mut took = Duration::ZERO;
    for _ in 0..ATTEMPTS {
        let began = Instant::now();
        let (request, mut looks) = (probe.request(bound), Vec::new());
        let mut stream = probe.stream_on(connection).await;
        stream.send(&request);
        stream.half_close();
        let running = tokio::spawn(stream.finish(request));
        while !running.is_finished() {
            let asked = began.elapsed();
            let shown = inflight(probe).await?;
            looks.push((asked, began.elapsed(), shown));
            tokio::time::sleep(PAUSE).await;
        }
        let generation: Generation = running.await.map_err(|error| NotPassed::Harness(error.to_string()))?;
        if generation.end.code() == Some(Code::InvalidArgument) && bound > LEAST_BOUND {
            bound = (bound / 2).max(LEAST_BOUND); // beyond the server's context
            continue;
        }
        let first = generation.served()?.text_bearing().next().map_or(Duration::ZERO, |r| r.at);
        took = generation.took();
        looks.retain(|(asked, known, _)| *asked > first && *known + MARGIN.max(pace.token) < took);
        if looks.len() >= LOOKS {
            return Ok((looks.into_iter().map(|(asked, _, shown)| (asked, shown)).collect(), took));
        }
        bound *= 2; // the pace was a sample
    }
    Err(NotPassed::Inconclusive(format!(
        "a generation is over after {}: too soon to see whether requests_inflight counts it",
        time(took)
    )))
}

async fn inflight(probe: &Probe) -> Result<u64, NotPassed> {
    counters(probe)
        .await?
        .inflight
        .ok_or_else(|| NotPassed::Fail("Health showed requests_inflight, and then it did not".into()))
}

/// The counter as soon as it is back, and at the limit otherwise.
async fn back(probe: &Probe, before: u64) -> Result<u64, NotPassed> {
    let began = Instant::now();
    loop {
        let now = inflight(probe).await?;
        if now <= before || began.elapsed() > LATE {
            return Ok(now);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Counts a request in, and not out.
#[derive(Default)]
struct OnlyGrows;

#[tonic::async_trait]
impl Behaviour for OnlyGrows {
    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        let mut answer = state.health();
        let count =
            |name: &str| answer.metrics.get(name).and_then(|count| count.parse().ok()).unwrap_or(0_u64);
        let all = count("requests_inflight") + count("requests_success");
        answer.metrics.insert("requests_inflight".into(), all.to_string());
        Ok(answer)
    }
}
