//! CONCURRENCY-004.

use std::time::{Duration, Instant};

use ai_inference_proto::GenerationRequest;
use tonic::Code;

use crate::{
    exemplar::Behaviour,
    probe::{Capacity, Generation, Load, Pace, Probe, Stream, wire::End},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A deadline that passes ends the call as DEADLINE_EXCEEDED (or CANCELLED on the server's side) and frees capacity, also
    /// when the reader has stopped reading.
    ///
    /// # Why it matters
    /// A client that gives a deadline has gone when it passes. What the server generates after that, nobody reads; under load
    /// it takes the slots that others wait for. A client that hangs is the one whose deadline matters most.
    ///
    /// # How it is checked
    /// A generation that would last for seconds, by the server's own pace, is given a deadline of about 0.3 s (`grpc-timeout`
    /// in milliseconds). The call must end as DEADLINE_EXCEEDED or CANCELLED (RST_STREAM CANCEL means the same), not before the
    /// deadline and within 2.5 s after it; a call that is late is repeated before it is a failure. Then the same is asked by a
    /// client that stops reading after some hundred bytes, with the time in microseconds. Where Health shows
    /// `requests_inflight` and the number moved, it must be back within two seconds after the deadline. Where it does not, as many
    /// such clients come as the server has slots, and as many new generations must have text soon after the deadline. When
    /// the client reads again, its call must have ended as above. Where no capacity and no counter is seen, or generations
    /// are over too soon, the check says so.
    ///
    /// # What a violation looks like
    /// The call goes on to its last message; or it ends in time only for a client that reads.
    ///
    /// # References
    /// Contract, CONCURRENCY-004; gRPC, "Deadlines"; gRPC over HTTP/2, "Timeout".
    id: "CONCURRENCY-004",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "a deadline that passes ends the call and frees its slot",
    check: check,
    mutant: IgnoresDeadline, fault: "a call goes on beyond its deadline", seen_as: "beyond its deadline",
}

/// The deadline, beside twice the time to a first text.
const AFTER: Duration = Duration::from_millis(200);
/// From the deadline until the call must be over and its capacity back.
const LIMIT: Duration = Duration::from_secs(2);
/// For the machine's own unrest.
const SLACK: Duration = Duration::from_millis(500);
/// One late end is the machine's.
const TRIES: usize = 2;
/// A start may take so many times as long as it did at first.
const SLOWER: u32 = 3;
/// A generation lasts so many times as long as it takes to see that it goes on.
const LONGER: u32 = 2;
/// No server accepts less.
const LEAST_BOUND: i64 = 32;

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let after = AFTER + pace.first * 2;
    let (bound, over) = ends_for_a_reader(probe, pace, after).await?;
    let before = probe.requests_inflight().await?;
    for attempt in 1..=TRIES {
        let (stream, request, deadline) = stalled(probe, after, bound).await?;
        if !probe.inflight_rises_above(before).await? {
            drop(stream);
            probe.settled(pace, pace.lasting(bound)).await?;
            return match over {
                Some(over) => Err(over),
                None => frees_slots(probe, pace, after).await,
            };
        }
        tokio::time::sleep_until(deadline.into()).await;
        let before = before.unwrap_or_default();
        let left = probe.inflight_stays_above(before, deadline, LIMIT).await?;
        let end = stream.finish_within(request, LIMIT).await;
        probe.settled(pace, pace.lasting(bound)).await?;
        let Some(left) = left else {
            return match over {
                Some(over) if end.end.is_ok() => Err(over), // all of it had left the server in time
                // Cut in the middle of a message, it has ended too: what comes behind that is no status that the client reads.
                _ => probe.assert(is_kept(&end.end) || is_cut(&end.end), || told_late(&end, after)),
            };
        };
        probe.assert(attempt < TRIES, || {
            format!(
                "a client that had stopped reading held its capacity beyond its deadline: {} s after it, requests_inflight \
                 was still {left}, not {before}, in {TRIES} tries",
                LIMIT.as_secs()
            )
        })?;
    }
    Ok(())
}

/// The call of a client that reads ends at its deadline; the bound that was taken, and whether the generation is over by itself
/// before.
async fn ends_for_a_reader(
    probe: &Probe,
    pace: Pace,
    after: Duration,
) -> Result<(i64, Option<NotPassed>), NotPassed> {
    let mut bound = pace.bound((after + LIMIT + SLACK) * LONGER);
    let mut late = 0;
    let began = Instant::now();
    loop {
        let request = probe.request(bound);
        let asked = Instant::now();
        let streamer = probe.streamer().with_deadline(&format!("{}m", after.as_millis()));
        let mut stream = streamer.open(&probe.connection().await?).await;
        stream.send(&request);
        stream.half_close();
        let generation = stream.finish_within(request, after + LIMIT + SLACK).await;
        let took = asked.elapsed();
        let code = generation.end.code();
        if code == Some(Code::InvalidArgument) && bound > LEAST_BOUND {
            bound /= 2; // beyond the server's context
        } else if generation.end.is_full() && began.elapsed() < probe.patience() {
            tokio::time::sleep(SLACK / 5).await;
        } else if code == Some(Code::Ok) {
            return Ok((bound, Some(over_by_itself(bound, took))));
        } else if is_kept(&generation.end) {
            probe.assert(took.as_millis() >= after.as_millis() * 9 / 10, || {
                format!(
                    "a call with a deadline of {} ms {} after {} ms already",
                    after.as_millis(),
                    generation.end.told(),
                    took.as_millis()
                )
            })?;
            probe.settled(pace, pace.lasting(bound)).await?;
            return Ok((bound, None));
        } else {
            late += 1;
            let is_late = matches!(generation.end, End::TimedOut(_));
            probe.assert(is_late && late < TRIES, || told_late(&generation, after))?;
            probe.settled(pace, pace.lasting(bound)).await?;
        }
    }
}

/// A generation whose client reads nothing, and the time of its deadline.
async fn stalled(
    probe: &Probe,
    after: Duration,
    bound: i64,
) -> Result<(Stream, GenerationRequest, Instant), NotPassed> {
    let request = probe.request(bound);
    let connection = probe.connect_narrow().await?;
    let streamer = probe.streamer().with_deadline(&format!("{}u", after.as_micros()));
    let deadline = Instant::now() + after;
    let mut stream = streamer.open(&connection).await;
    stream.send(&request);
    stream.half_close();
    Ok((stream, request, deadline))
}

/// As many clients that do not read as there are slots; their slots must be others' soon after the deadline.
async fn frees_slots(probe: &Probe, pace: Pace, after: Duration) -> Judgement {
    let capacity = probe.capacity(pace, (after + LIMIT + SLACK) * LONGER).await?;
    let Capacity { slots, bound, started_within, ref connections, .. } = capacity;
    let allowed = LIMIT + started_within * SLOWER + SLACK;
    for attempt in 1..=TRIES {
        let mut streams = Vec::new();
        for _ in 0..slots {
            streams.push(stalled(probe, after, bound).await?);
        }
        let deadline = streams.iter().map(|(.., deadline)| *deadline).max().unwrap_or_else(Instant::now);
        tokio::time::sleep_until(deadline.into()).await;
        let load = Load::start_anew(probe, connections, pace, slots, bound);
        let in_time = load.reaches(slots, deadline + allowed).await;
        drop(streams);
        let work = load.cancel().await;
        let settled = probe.settled(pace, work).await;
        if in_time {
            settled?;
            return probe.assert(true, String::new);
        }
        probe.assert(attempt < TRIES, || {
            format!(
                "clients that had stopped reading held their slots beyond their deadline: the server takes {slots} at a time; \
                 {:.1} s after the deadline of {slots} such calls, as many new ones did not all have text, in {TRIES} tries",
                allowed.as_secs_f64()
            )
        })?;
        settled?;
    }
    Ok(())
}

/// The ends that a deadline may have.
fn is_kept(end: &End) -> bool {
    matches!(end.code(), Some(Code::DeadlineExceeded | Code::Cancelled))
        || matches!(end, End::Reset(reason) if reason == "CANCEL")
}

/// The server has given a call up whose client does not read.
fn is_cut(end: &End) -> bool {
    matches!(end, End::Reset(_) | End::Malformed(_))
}

fn told_late(generation: &Generation, after: Duration) -> String {
    let after = after.as_millis();
    match &generation.end {
        End::TimedOut(_) => format!(
            "a call with a deadline of {after} ms went on beyond its deadline: {:.1} s after it, the call had not ended ({} \
             responses had come)",
            (LIMIT + SLACK).as_secs_f64(),
            generation.responses.len()
        ),
        end => format!(
            "a call beyond its deadline of {after} ms {}, not DEADLINE_EXCEEDED or CANCELLED",
            end.told()
        ),
    }
}

fn over_by_itself(bound: i64, took: Duration) -> NotPassed {
    NotPassed::Inconclusive(format!(
        "a generation of {bound} tokens is over after {:.1} s by itself: too soon to see what a deadline does",
        took.as_secs_f64()
    ))
}

#[derive(Default)]
struct IgnoresDeadline;

impl Behaviour for IgnoresDeadline {
    fn keeps_deadlines(&self) -> bool {
        false
    }
}
