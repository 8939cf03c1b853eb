//! CONCURRENCY-011.

use std::time::Duration;

use crate::{
    exemplar::{Arrival, Behaviour, Fate, State},
    probe::{Load, Probe, Within, wire::frames::PING},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// An HTTP/2 PING is answered within 1 s while every slot generates.
    ///
    /// # Why it matters
    /// Clients and load balancers send PINGs to learn whether a server lives. One that answers only between two steps of its
    /// model looks dead when it works hardest, and its connections are closed with all the generations on them.
    ///
    /// # How it is checked
    /// Generations are kept running, more of them until some wait, sixteen at most. While at least one is between its first
    /// text and its end, a PING is sent by hand five times, each time once, on a new connection: a server may count many
    /// PINGs on a silent connection as abuse. Three that are acknowledged later than after a second are the server's; one
    /// or two are the machine's. At the end the generations are cancelled, and the server must be idle again.
    ///
    /// # What a violation looks like
    /// The acknowledgement comes when a generation ends, or not at all.
    ///
    /// # References
    /// Contract, CONCURRENCY-011; RFC 9113, section 6.7.
    id: "CONCURRENCY-011",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "a PING is answered within 1 s under load",
    check: check,
    mutant: AnswersLate, fault: "PINGs wait while a generation runs", seen_as: "a PING while every slot generated",
}

/// Generations at once; more are started where all of these run.
const WIDTHS: [usize; 2] = [4, 16];
/// Each of them: longer than the limit, so that a PING shows if it waits for one.
const LASTING: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(1);
const SAMPLES: usize = 5;
/// An acknowledgement is waited for so many times as long as it may take, to tell how late it is.
const LONGER: u32 = 3;

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let connections = probe.connections(WIDTHS[1]).await?;
    let mut load = Load::start(probe, &connections, pace, WIDTHS[0], LASTING).await?;
    load.room(probe, &connections, &WIDTHS).await;
    let within = Within { what: "a PING while every slot generated", limit: LIMIT, samples: SAMPLES };
    let judged = within.judge(probe, || one_ping(probe, &load)).await;
    let work = load.cancel().await;
    let settled = probe.settled(pace, work).await;
    judged?;
    settled
}

async fn one_ping(probe: &Probe, load: &Load) -> Result<Duration, NotPassed> {
    let mut hand = probe.by_hand().await?;
    let began = std::time::Instant::now();
    while load.running() == 0 {
        if began.elapsed() > probe.patience() {
            return Err(NotPassed::Inconclusive("no generation stayed running beside the PINGs".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = hand.ping(LIMIT * LONGER).await;
    probe.assert(took.is_some() || hand.ended().is_none(), || {
        format!(
            "while every slot generated, a connection with one PING was ended: {}",
            hand.ended().unwrap_or_default()
        )
    })?;
    Ok(took.unwrap_or(LIMIT * LONGER))
}

#[derive(Default)]
struct AnswersLate;

impl Behaviour for AnswersLate {
    fn frame(&self, state: &State, arrival: Arrival) -> Fate {
        if arrival.kind == PING && state.inflight() > 0 { Fate::Late(LIMIT * 5 / 4) } else { Fate::Taken }
    }
}
