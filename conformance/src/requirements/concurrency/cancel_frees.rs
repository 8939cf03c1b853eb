//! CONCURRENCY-003.

use std::time::{Duration, Instant};

use crate::{
    exemplar::Behaviour,
    probe::{
        Load, Pace, Probe, Room,
        wire::{Connection, End},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// After a client cancels, the work stops: capacity is back within 2 s (`requests_inflight`, or a burst that
    /// needs it).
    ///
    /// # Why it matters
    /// Users close tabs. A server that goes on generating for them wastes its work, and under load it also delays
    /// other users.
    ///
    /// # How it is checked
    /// Three generations are started at once; where all of them run, twelve, and then forty: until some of them wait or are
    /// refused, and the number that runs is the server's capacity. Each is long enough, by the server's own pace, to
    /// outlast what follows. They are cancelled, and as many new ones are started as ran. All of these must get text
    /// within two seconds and three times what the first ones needed. While a cancelled one still holds its slot, that
    /// cannot be, in whatever order the server serves. Late ones are waited for, cancelled in their turn, and measured
    /// again: twice late is a failure. Where Health shows `requests_inflight` and the number moved as they started, it must
    /// also be back within two seconds. At last one generation is read on: it must last longer than the cancelled
    /// ones were seen to; else longer ones are taken, or one alone is cancelled as soon as the counter shows it. A server
    /// may also give its slots in turns: some generations stand still while others go on. How many have begun is then not
    /// its capacity, and only the counter is looked at. If neither the counter moves nor a capacity is seen, nothing shows
    /// whether the work went on, and the check says so; so it does where the longest generation is over too soon to tell.
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

/// Generations at once; more are started where all of these run.
const WIDTHS: [usize; 3] = [3, 12, 40];
/// The time that the contract allows.
const LIMIT: Duration = Duration::from_secs(2);
/// For the machine's own unrest.
const SLACK: Duration = Duration::from_millis(500);
/// A start may take so many times as long as it did at first.
const SLOWER: u32 = 3;
/// A late answer is waited for so much longer.
const LONGER: Duration = Duration::from_secs(3);
/// No other check cancels longer generations.
const LEFT_BEHIND: Duration = Duration::from_secs(2);
/// One late answer is the machine's.
const TRIES: usize = 2;
/// Looks, each with longer generations than the last, and then as many with one alone.
const ATTEMPTS: usize = 3;
/// Asked for beyond the missing time, so that one more look is enough.
const MARGIN: f64 = 1.25;
/// No look asks for more than so many times what the last one asked for.
const MOST_LONGER: f64 = 16.0;

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let mut wanted = lasting(pace);
    for attempt in 1.. {
        let (age, bound, counted) = match look(probe, pace, wanted).await? {
            Seen::Stopped { age, bound, counted } => (age, bound, counted),
            Seen::RanOn(why) => return probe.assert(false, || why),
            Seen::Hidden(why) => return Err(NotPassed::Inconclusive(why)),
        };
        // A pass is worth something only if the cancelled work would have gone on for longer.
        let lasted = lasts(probe, pace, bound, age).await?;
        if lasted >= age {
            break;
        }
        let missing = age.as_secs_f64() / lasted.as_secs_f64().max(1e-6);
        let longer = wanted.mul_f64((MARGIN * missing).min(MOST_LONGER));
        if attempt < ATTEMPTS && bound == pace.bound(wanted) && pace.bound(longer) > bound {
            wanted = longer; // the machine was busy while the pace was measured
        } else if counted && one_alone(probe, pace, bound).await? {
            break;
        } else {
            return Err(NotPassed::Inconclusive(too_soon(bound, lasted)));
        }
    }
    probe.assert(true, String::new)
}

/// What cancelled generations showed.
enum Seen {
    /// The work stopped before a generation of `bound` tokens was so old; whether the counter showed it.
    Stopped { age: Duration, bound: i64, counted: bool },
    /// It did not, and how that showed.
    RanOn(String),
    /// It could not be seen, and why.
    Hidden(String),
}

async fn look(probe: &Probe, pace: Pace, wanted: Duration) -> Result<Seen, NotPassed> {
    let connections = probe.connections(WIDTHS[WIDTHS.len() - 1]).await?;
    let before = probe.requests_inflight().await?;
    if before.is_none() {
        // What an earlier check cancelled may still hold slots, and the capacity would be taken for smaller than it is.
        tokio::time::sleep(LEFT_BEHIND).await;
    }
    let (mut load, room, counted) = fill(probe, &connections, pace, wanted, before).await?;
    let (started, bound) = (load.started_within(), load.bound);
    let allowed = LIMIT + started * SLOWER + SLACK;
    let mut late = Vec::new();
    loop {
        let (began, over) = (load.began, load.ended() > 0);
        let cancelled = Instant::now();
        let mut work = load.cancel().await;
        let before = before.unwrap_or_default();
        let left = if counted { probe.inflight_stays_above(before, cancelled, LIMIT).await? } else { None };
        // Without a counter the work would show only by holding the slots that the burst needs.
        let age = if counted { began.elapsed() } else { cancelled - began + allowed };
        let stopped = Seen::Stopped { age: if over { Duration::MAX } else { age }, bound, counted };
        let stuck = left.map(|left| format!("requests_inflight was still {left}, not {before}"));
        let Room::Slots(running) = room else {
            // No capacity is seen: only the counter tells.
            let settled = probe.settled(pace, work).await;
            let Some(stuck) = stuck else {
                settled?;
                return Ok(if counted { stopped } else { Seen::Hidden(no_capacity(room)) });
            };
            late.push(stuck);
            if late.len() == TRIES {
                return Ok(Seen::RanOn(counter_words(WIDTHS[0], &late)));
            }
            idle_again(probe, before, work).await?;
            load = Load::start_anew(probe, &connections, pace, WIDTHS[0], bound);
            load.steady().await;
            continue;
        };
        // A burst that needs the whole capacity: as many as ran.
        load = Load::start_anew(probe, &connections, pace, running, bound);
        let in_time = load.reaches(running, cancelled + allowed).await;
        late.push(match (in_time, stuck) {
            (true, None) => {
                work += load.cancel().await;
                probe.settled(pace, work).await?;
                return Ok(stopped);
            }
            (true, Some(stuck)) => stuck,
            (false, _) => {
                // For the next try, and to say how late.
                let longer = if late.is_empty() { LONGER } else { SLACK };
                let served = load.reaches(running, cancelled + allowed + longer).await;
                let took = cancelled.elapsed().as_secs_f64();
                format!("{} {took:.1} s", if served { "got text only after" } else { "had no text after" })
            }
        });
        if late.len() == TRIES {
            let work = load.cancel().await;
            // The cause is said here; what comes next is to meet an idle server, if that can be waited for.
            let _ = probe.settled(pace, work.min(LONGER)).await;
            return Ok(Seen::RanOn(words_of(running, &late, allowed, started)));
        }
    }
}

/// Whether one generation alone, cancelled as soon as the counter shows it, is gone from there sooner than it would end.
async fn one_alone(probe: &Probe, pace: Pace, bound: i64) -> Result<bool, NotPassed> {
    let connections = probe.connections(1).await?;
    for _ in 0..ATTEMPTS {
        let before = probe.requests_inflight().await?;
        let load = Load::start_anew(probe, &connections, pace, 1, bound);
        let rose = probe.inflight_rises_above(before).await?;
        let (began, over) = (load.began, load.ended() > 0);
        let work = load.cancel().await;
        let left = probe.inflight_stays_above(before.unwrap_or_default(), Instant::now(), LIMIT).await?;
        let age = began.elapsed();
        probe.settled(pace, work).await?;
        if rose && !over && left.is_none() && lasts(probe, pace, bound, age).await? >= age {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How long a generation lasts that is not cancelled; one that goes on beyond `enough` is read no further.
async fn lasts(probe: &Probe, pace: Pace, bound: i64, enough: Duration) -> Result<Duration, NotPassed> {
    let request = probe.request(bound);
    let mut stream = probe.stream().await?;
    stream.send(&request);
    stream.half_close();
    let generation = stream.finish_within(request, enough.saturating_add(pace.token * 4 + SLACK / 4)).await;
    if generation.took() >= enough {
        probe.settled(pace, pace.lasting(bound)).await?;
        return Ok(generation.took());
    }
    let whole = match generation.end {
        End::TimedOut(_) => probe.predict(probe.request(bound)).await?, // it stands still in the middle
        _ => generation,
    };
    Ok(whole.served()?.took())
}

/// Starts generations until some of them wait, and says how many run then and whether the counter moved.
async fn fill(
    probe: &Probe,
    connections: &[Connection],
    pace: Pace,
    wanted: Duration,
    before: Option<i64>,
) -> Result<(Load, Room, bool), NotPassed> {
    let mut load = Load::start(probe, connections, pace, WIDTHS[0], wanted).await?;
    let mut counted = probe.inflight_rises_above(before).await?;
    let room = load.room(probe, connections, &WIDTHS).await;
    counted = counted || probe.requests_inflight().await? > before;
    Ok((load, room, counted))
}

/// Long enough that the work, if it goes on, outlasts the limit and everything before the cancel.
fn lasting(pace: Pace) -> Duration {
    LIMIT + SLACK * 3 + (pace.first * 20).max(SLACK * 2) + pace.token * 20
}

fn no_capacity(room: Room) -> String {
    let why = match room {
        Room::InTurns => {
            "generations stand still in turns, so that how many run at a time is not seen".to_owned()
        }
        _ => format!(
            "{} generations at once do not keep each other waiting, or are over too soon to tell",
            WIDTHS[WIDTHS.len() - 1]
        ),
    };
    format!(
        "Health shows no requests_inflight that moves, and {why}: nothing shows whether their work went on after the cancel"
    )
}

fn too_soon(bound: i64, whole: Duration) -> String {
    format!(
        "a generation of {bound} tokens is over after {:.1} s: too soon to tell whether its work stops on a cancel",
        whole.as_secs_f64()
    )
}

fn words_of(running: usize, late: &[String], allowed: Duration, started: Duration) -> String {
    format!(
        "after a cancel the work went on: the server takes {running} at a time; after {running} generations were \
         cancelled, as many new ones {} ({:.1} s were allowed; on the idle server they needed {:.1} s)",
        late.join(" and in a second try "),
        allowed.as_secs_f64(),
        started.as_secs_f64()
    )
}

fn counter_words(width: usize, late: &[String]) -> String {
    format!(
        "after a cancel the work went on: {} s after {width} generations or more were cancelled, {}",
        LIMIT.as_secs(),
        late.join(", and in a second try ")
    )
}

/// Waits for the counter to come back, for as long as the cancelled work could take.
async fn idle_again(probe: &Probe, before: i64, work: Duration) -> Judgement {
    let began = Instant::now();
    while probe.requests_inflight().await? > Some(before) && began.elapsed() < work {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[derive(Default)]
struct RunsOn;

impl Behaviour for RunsOn {
    fn stops_on_cancel(&self) -> bool {
        false
    }
}
