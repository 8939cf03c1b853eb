//! CONCURRENCY-009.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use ai_inference_proto::{GenerationRequest, GenerationResponse, HealthAnswer};
use tokio_stream::Stream;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, Responses, State},
    probe::{Load, Pace, Probe, is_refused},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Abrupt disconnects (RST in mid-stream, 50 at once) leave the server healthy.
    ///
    /// # Why it matters
    /// A deployment that restarts, or a network that fails, cuts all its clients off in the same moment. What a server forgets
    /// to give back then is lost until it is restarted.
    ///
    /// # How it is checked
    /// Fifty generations are started, and when no more of them begin, all are reset in the middle (RST_STREAM), those that
    /// still wait too. Then fifty on a connection each, as far as the server takes so many, and all the connections are
    /// closed without a word. Both are done twice. One generation on a connection of its own runs when the first are reset,
    /// and must reach its end. After each round Health must say what it said before; `requests_inflight`, where it is shown,
    /// must come back to where it was, within two seconds and the time that the cut generations would have needed; and a
    /// request must be served. At last as many generations as at first must run at once, up to a quarter, unless the server
    /// gives its slots in turns.
    ///
    /// # What a violation looks like
    /// `requests_inflight` stays up by the number of streams that were cut; fewer generations run at once after each round; or no
    /// request is served any more.
    ///
    /// # References
    /// Contract, CONCURRENCY-009, CONCURRENCY-003 and HEALTH-009; RFC 9113, section 5.4.
    id: "CONCURRENCY-009",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "abrupt disconnects leave the server healthy",
    check: check,
    mutant: InflightLeaks, fault: "a stream that is cut stays in flight", seen_as: "requests_inflight",
}

/// Streams that end at once.
const CUT: usize = 50;
/// Connections of those that are reset.
const CONNECTIONS: usize = 10;
/// How long each would last, by the server's pace: it is in its middle when it is cut.
const LASTING: Duration = Duration::from_secs(1);
/// Those that show how many run at last: none is over before the others have had their time to start.
const LONGER: Duration = Duration::from_secs(5);
/// The generation beside them: longer than it takes to start and to cut them.
const BESIDE: Duration = Duration::from_millis(300);
const ROUNDS: usize = 2;
/// For the counter to come back, and for as many as at first to run again.
const LIMIT: Duration = Duration::from_secs(2);
/// A server that runs cut generations to their ends is waited for no longer: whether it stops is CONCURRENCY-003's matter.
const LONGEST: Duration = Duration::from_secs(20);
/// As many as in the first round start in this time; else what starts is waited for.
const STARTING: Duration = Duration::from_millis(300);
/// Between two looks at the counter.
const GLANCE: Duration = Duration::from_millis(10);
/// Fewer by one in so many are no loss; two hundred cuts that lose slots lose more.
const LOOSE: usize = 4;
/// As many as ran at first may need so many times as long to start.
const SLOWER: u32 = 5;

/// How streams are cut.
#[derive(Clone, Copy)]
enum Cut {
    Reset,
    Connection,
}

impl Cut {
    const ALL: [Self; 2] = [Self::Reset, Self::Connection];

    const fn told(self) -> &'static str {
        match self {
            Self::Reset => "50 streams were reset in the middle at once",
            Self::Connection => "the connections of 50 streams were closed in the middle at once",
        }
    }
}

/// What the server was like before.
struct Before {
    pace: Pace,
    healthy: bool,
    inflight: Option<i64>,
}

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let health = probe.health(&probe.trace_id()).await?;
    let healthy = health.informative()?.healthy;
    let before = Before { pace, healthy, inflight: probe.requests_inflight().await? };
    let mut at_first: Option<usize> = None;
    for cut in Cut::ALL {
        for round in 0..ROUNDS {
            let beside = matches!(cut, Cut::Reset) && round == 0;
            let (running, work) = cut_off(probe, pace, cut, beside, at_first).await?;
            is_as_before(probe, &before, cut, work).await?;
            at_first = at_first.or(running);
        }
    }
    match at_first {
        Some(at_first) => runs_as_many(probe, pace, at_first).await,
        None if before.inflight.is_some() => Ok(()), // the counter came back each time
        None => Err(NotPassed::Inconclusive(
            "generations stand still in turns and Health shows no requests_inflight: nothing shows whether all slots came back"
                .to_owned(),
        )),
    }
}

/// Starts them and cuts them off: how many ran then, unless they ran in turns, and how long the server may go on with them.
async fn cut_off(
    probe: &Probe,
    pace: Pace,
    cut: Cut,
    beside: bool,
    at_first: Option<usize>,
) -> Result<(Option<usize>, Duration), NotPassed> {
    let connections = probe
        .connections(match cut {
            Cut::Reset => CONNECTIONS,
            Cut::Connection => CUT,
        })
        .await?;
    let request = probe.request(pace.bound(BESIDE));
    let own = probe.connect().await?;
    let witness = if beside {
        let mut stream = probe.stream_on(&own).await;
        stream.send(&request);
        stream.half_close();
        Some(tokio::spawn(stream.finish(request)))
    } else {
        None
    };
    let load = Load::start(probe, &connections, pace, CUT, LASTING).await?;
    let running = match at_first {
        Some(wanted) if load.reaches(wanted, Instant::now() + STARTING).await => Some(wanted),
        _ => {
            let running = load.steady().await;
            let in_turns = load.ended() == 0 && load.in_turns().await;
            (!in_turns).then_some(running)
        }
    };
    let lasting = pace.lasting(load.bound);
    match cut {
        Cut::Reset => {
            load.cancel().await;
            drop(connections);
        }
        Cut::Connection => {
            drop(connections); // the streams hold the last handles
            load.cancel().await;
        }
    }
    if let Some(witness) = witness {
        let generation = witness.await.map_err(|error| NotPassed::Harness(error.to_string()))?;
        if !is_refused(&generation) {
            generation
                .served()
                .map_err(|why| why.when(&format!("on a connection of its own, while {}", cut.told())))?;
        }
    }
    Ok((running, lasting * CUT.div_ceil(running.unwrap_or(1)) as u32))
}

/// Health, the counter and service, after a round.
async fn is_as_before(probe: &Probe, before: &Before, cut: Cut, work: Duration) -> Judgement {
    let after = format!("after {}", cut.told());
    let health = probe.health(&probe.trace_id()).await?;
    let healthy = health.informative().map_err(|why| why.when(&after))?.healthy;
    probe.assert(healthy || !before.healthy, || format!("{after}, Health says healthy = false"))?;
    if let Some(inflight) = before.inflight {
        comes_back(probe, inflight, &after, work).await?;
    }
    // What still runs is waited for: that it does is another requirement's matter.
    let one = probe.predict_within(probe.request(1), work.min(LONGEST) + probe.patience()).await?;
    one.served().map_err(|why| why.when(&after))?;
    probe.settled(before.pace, work.min(LONGEST)).await
}

/// Waits for the counter; a server that goes on with the work is given the time for it.
async fn comes_back(probe: &Probe, before: i64, after: &str, work: Duration) -> Judgement {
    let began = Instant::now();
    let limit = work.min(LONGEST) + LIMIT;
    loop {
        let now = probe.requests_inflight().await?.unwrap_or(before);
        if now <= before {
            return probe.assert(true, String::new);
        }
        if began.elapsed() <= limit {
            tokio::time::sleep(GLANCE).await;
            continue;
        }
        if work > LONGEST {
            return Err(NotPassed::Inconclusive(format!(
                "{after}, requests_inflight was still {now}, not {before}, {:.0} s later; the server may still be at work for \
                 streams that are gone (CONCURRENCY-003)",
                limit.as_secs_f64()
            )));
        }
        return probe.assert(false, || {
            format!(
                "{after}, requests_inflight was {now}, not {before} as before, and stayed there for {:.1} s, which is longer than \
                 all of their work takes",
                limit.as_secs_f64()
            )
        });
    }
}

/// As many generations as ran at first run again at once.
async fn runs_as_many(probe: &Probe, pace: Pace, at_first: usize) -> Judgement {
    let connections = probe.connections(CONNECTIONS).await?;
    let began = Instant::now();
    let load = Load::start(probe, &connections, pace, at_first, LONGER).await?;
    let limit = LIMIT + began.elapsed() * SLOWER;
    // How many run is a look at a moment: one that is just over may have been counted beside the one that follows it.
    let enough = at_first - at_first / LOOSE;
    let all = load.reaches(enough, Instant::now() + limit).await;
    let (running, ended) = (load.running(), load.ended());
    let work = load.cancel().await;
    probe.assert(all || ended > 0, || {
        format!(
            "after {} streams were cut in {} rounds, {running} generations run at once, where {at_first} ran at first",
            CUT * ROUNDS * Cut::ALL.len(),
            ROUNDS * Cut::ALL.len()
        )
    })?;
    probe.settled(pace, work).await
}

/// Counts a stream as in flight until its last message has been sent, and has no other end for it.
#[derive(Default)]
struct InflightLeaks {
    left: Arc<AtomicI64>,
}

#[tonic::async_trait]
impl Behaviour for InflightLeaks {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        Box::pin(Counted { responses, left: Arc::clone(&self.left), whole: false })
    }

    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        let mut answer = state.health();
        let count = state.inflight() as i64 + self.left.load(Ordering::Relaxed);
        answer.metrics.insert("requests_inflight".into(), count.to_string());
        Ok(answer)
    }
}

/// Adds to the counter what was dropped before its end.
struct Counted {
    responses: Responses,
    left: Arc<AtomicI64>,
    whole: bool,
}

impl Stream for Counted {
    type Item = Result<GenerationResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.responses.as_mut().poll_next(context);
        if let Poll::Ready(Some(Ok(response))) = &polled {
            self.whole |= response.end_of_stream;
        }
        polled
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.whole {
            self.left.fetch_add(1, Ordering::Relaxed);
        }
    }
}
