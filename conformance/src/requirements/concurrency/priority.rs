//! CONCURRENCY-007.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ai_inference_proto::GenerationRequest;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, Conformant, State, Turn},
    probe::{Full, NOT_FULL, Probe, StreamItem, wire::End},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// With the server saturated, a request with a lower `priority` value starts before those with a higher one that came
    /// earlier (lower first: as deployed, and as vLLM does).
    ///
    /// # Why it matters
    /// A person who waits for an answer and a job that runs at night share one server. Priorities are of use only if they
    /// decide who waits; a server that reads them the wrong way round makes people wait for jobs.
    ///
    /// # How it is checked
    /// The number of generations that run at a time is found first. Then as many generations of priority 0 take all slots but
    /// one, and one more takes the last. Six short requests come, one after the other, and wait; the last slot is freed, and
    /// they pass through it one by one, so that the order of their first texts is the order of their starts. It is looked at
    /// with the less urgent ones first (priorities 6 and 5), with the more urgent ones first, so that "last come, first served" is
    /// seen too, and with very large and negative ones in turns, unless they are refused. Each pair of unequal priorities
    /// is counted: two thirds must have started in the right order, so that a server which lets nobody wait for ever is not
    /// blamed for letting one through. A wrong order is looked at three times, each with longer requests. A server whose
    /// capacity has no end in sight, that refuses what it has no room for, or that gives its slots in turns, shows no
    /// order, and the check says so.
    ///
    /// # What a violation looks like
    /// First come, first served, whatever the priority; or the higher value first.
    ///
    /// # References
    /// Contract, CONCURRENCY-007.
    id: "CONCURRENCY-007",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "of those that wait the lower priority value starts first",
    check: check,
    mutant: FirstCome, fault: "first come, first served", seen_as: "started in the order of their priorities",
}

/// Priorities in the order in which the requests come.
const ARRIVALS: [[i32; 6]; 3] =
    [[6, 6, 6, 5, 5, 5], [5, 5, 5, 6, 6, 6], [LARGE, -LARGE, LARGE, -LARGE, LARGE, -LARGE]];
/// In the millions, and with low bits that say nothing.
const LARGE: i32 = 2_000_000_000;
/// Of the pairs, in the right order: so many of so many.
const RIGHT: (usize, usize) = (2, 3);
/// Each of those that wait lasts so long, by the pace of the full server. A wrong order is looked at again with longer ones: on a
/// busy machine the first texts of short ones come together.
const EACH: [Duration; 3] = [Duration::from_millis(8), Duration::from_millis(40), Duration::from_millis(160)];
const LEAST_TOKENS: i64 = 4;
/// Between two arrivals, so that their order is the server's too.
const APART: Duration = Duration::from_millis(5);
/// Whoever does not wait has started by then, and in so many times what a first text takes.
const QUIET: Duration = Duration::from_millis(200);
/// The same, once the server has been seen to be full.
const FULL: Duration = Duration::from_millis(75);
const QUIET_STARTS: u32 = 4;
/// Longer than one case takes, beside its requests' own time.
const LASTING: Duration = Duration::from_secs(1);

async fn check(probe: &Probe) -> Judgement {
    probe.of_a_full_server(|probe| Box::pin(look(probe))).await
}

async fn look(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let cases = (ARRIVALS.len() * ARRIVALS[0].len()) as u32;
    let quiet = QUIET.max(pace.first * QUIET_STARTS);
    let capacity = probe.capacity(pace, LASTING + (quiet + EACH[1]) * cases).await?;
    let bounds = EACH.map(|each| capacity.tokens(each).max(LEAST_TOKENS));
    let mut full = Full::but_one(probe, capacity).await?;
    let mut judged = Ok(());
    for (case, arrivals) in ARRIVALS.iter().enumerate() {
        let quiet = if case == 0 { quiet } else { FULL.max(pace.first * QUIET_STARTS) };
        judged = in_order(probe, &mut full, arrivals, quiet, bounds).await;
        if judged.is_err() {
            break;
        }
    }
    let settled = full.end(probe).await;
    judged?;
    settled
}

async fn in_order(
    probe: &Probe,
    full: &mut Full,
    arrivals: &[i32],
    quiet: Duration,
    bounds: [i64; EACH.len()],
) -> Judgement {
    for (attempt, bound) in bounds.into_iter().enumerate() {
        let Some(order) = starts(probe, full, arrivals, (quiet, bound)).await? else { return Ok(()) };
        let pairs = order
            .iter()
            .enumerate()
            .flat_map(|(at, first)| order[at + 1..].iter().map(move |then| (first, then)));
        let unequal: Vec<_> = pairs.filter(|(first, then)| first != then).collect();
        if unequal.is_empty() {
            return Err(NotPassed::Inconclusive(
                "the server refuses what it has no room for: no requests of unequal priority waited"
                    .to_owned(),
            ));
        }
        let right = unequal.iter().filter(|(first, then)| first < then).count();
        let enough = right * RIGHT.1 >= unequal.len() * RIGHT.0;
        probe.assert(enough || attempt + 1 < bounds.len(), || {
            format!(
                "of {} pairs of waiting requests, {right} started in the order of their priorities, lower value first: they \
                 came as {}, and started as {}",
                unequal.len(),
                listed(arrivals),
                listed(&order)
            )
        })?;
        if enough {
            break;
        }
    }
    Ok(())
}

/// Priorities in the order in which the requests started; `None` where the server refuses these priorities.
async fn starts(
    probe: &Probe,
    full: &mut Full,
    arrivals: &[i32],
    (quiet, bound): (Duration, i64),
) -> Result<Option<Vec<i32>>, NotPassed> {
    full.close(probe).await?;
    let started = Arc::new(Mutex::new(Vec::new()));
    let so_far = || started.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut waiting = JoinSet::new();
    let connections = &full.capacity.connections;
    // They pass through one slot, and a full server is slower by as much as it has slots.
    let work = full.capacity.lasting(bound) * (arrivals.len() * full.capacity.slots) as u32;
    for (at, priority) in arrivals.iter().enumerate() {
        // The last connections have the fewest of the others' calls.
        let connection = connections[connections.len() - 1 - at % connections.len()].clone();
        let streamer = probe.streamer().with_patience(probe.patience() + work);
        let started = Arc::clone(&started);
        let request = GenerationRequest { priority: *priority, ..probe.request(bound) };
        waiting.spawn(async move {
            let mut stream = streamer.open(&connection).await;
            stream.send(&request);
            stream.half_close();
            let mut first = true;
            loop {
                match stream.next().await {
                    StreamItem::Response(response) if first && !response.message.chunk.is_empty() => {
                        first = false;
                        started.lock().unwrap_or_else(PoisonError::into_inner).push(request.priority);
                    }
                    StreamItem::Response(_) => {}
                    StreamItem::Undecodable(why) => return End::Malformed(why),
                    StreamItem::End(end) => return end,
                }
            }
        });
        tokio::time::sleep(APART).await;
    }
    tokio::time::sleep(quiet).await;
    // A more urgent one may push others out of their slots; the least urgent ones must wait.
    let least = arrivals.iter().max();
    if so_far().iter().any(|priority| Some(priority) == least) {
        full.open();
        return Err(NotPassed::Inconclusive(NOT_FULL.to_owned()));
    }
    full.open();
    while let Some(ended) = waiting.join_next().await {
        match ended.map_err(|error| NotPassed::Harness(error.to_string()))? {
            end if end.code() == Some(Code::InvalidArgument) => return Ok(None),
            End::TimedOut(patience) => {
                return Err(NotPassed::Inconclusive(format!(
                    "a request that waited had no text {:.0} s after a slot had been freed",
                    patience.as_secs_f64()
                )));
            }
            end => probe.assert(end.is_ok() || end.is_turned_away(), || {
                format!("a request that waited on a full server {}", end.told())
            })?,
        }
    }
    Ok(Some(so_far()))
}

fn listed(priorities: &[i32]) -> String {
    priorities.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}

#[derive(Default)]
struct FirstCome;

#[tonic::async_trait]
impl Behaviour for FirstCome {
    async fn turn(&self, state: &State, request: &GenerationRequest) -> Result<Turn, Status> {
        Conformant.turn(state, &GenerationRequest { priority: 0, ..request.clone() }).await
    }
}
