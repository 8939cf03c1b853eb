//! TRANSPORT-008.

use std::time::Duration;

use crate::{
    exemplar::{Arrival, Behaviour, Fate, State},
    probe::{ByHand, Probe, wire::frames::PING},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// The same ping every 10 s is tolerated while the server sends nothing, as when a request waits or a long prompt is read
    /// (gRPC's own default is a GOAWAY at the fifth: a deployment must allow it). *Slow: a minute.*
    ///
    /// # Why it matters
    /// A request that waits in a queue for a minute gets nothing to read meanwhile. A client that makes sure of its server
    /// then loses its place to a GOAWAY, comes back to the end of the queue, and loses it again.
    ///
    /// # How it is checked
    /// On a connection by hand a StreamPredict call is opened and left without a request, so that the server has nothing to
    /// say. Eight PINGs are sent one after the other. A server that tolerates PINGs so quick tolerates slow ones. One that ends
    /// the connection is asked again with six PINGs, 10 s apart, which takes 50 s; if the connection ends, or one of them
    /// is not acknowledged, it is a failure.
    ///
    /// # What a violation looks like
    /// GOAWAY ENHANCE_YOUR_CALM, "too_many_pings". For servers on gRPC's C core the channel argument
    /// `grpc.http2.min_ping_interval_without_data_ms` (at most 10,000) or `grpc.http2.max_ping_strikes` (0) allows it; in grpc-go
    /// `keepalive.EnforcementPolicy.MinTime`; in grpc-java `permitKeepAliveTime`.
    ///
    /// # References
    /// Contract, TRANSPORT-008; RFC 9113, section 6.7; gRPC A8, "Client-side keepalive".
    id: "TRANSPORT-008",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Quiet,
    slow: true,
    since: "0.1.0",
    title: "a PING every 10 s is tolerated on a silent connection",
    check: check,
    mutant: CountsSilentPings, fault: "GOAWAY too_many_pings on a silent stream", seen_as: "too_many_pings",
}

/// PINGs in a row that show that the server does not count them.
const QUICK: usize = 8;
/// One more than gRPC's own default bears.
const SLOW: usize = 6;
const INTERVAL: Duration = Duration::from_secs(10);
/// An acknowledgement may take so long beside other work.
const LIMIT: Duration = Duration::from_secs(5);

async fn check(probe: &Probe) -> Judgement {
    probe.predict(probe.request(1)).await?.served()?;
    let mut hand = silent(probe).await?;
    let mut borne = 0;
    while borne < QUICK && hand.ping(LIMIT).await.is_some() {
        borne += 1;
    }
    if borne == QUICK {
        return probe.assert(true, String::new);
    }
    let mut hand = silent(probe).await?;
    for number in 1..=SLOW {
        let borne = hand.ping(LIMIT).await.is_some();
        hand.is_no_goodbye()?;
        probe.assert(borne, || told(&hand, number))?;
        if number < SLOW {
            hand.until(INTERVAL, |_| false).await;
        }
        hand.is_no_goodbye()?;
        probe.assert(hand.ended().is_none(), || told(&hand, number))?;
    }
    Ok(())
}

/// A connection with a call on it that has asked for nothing.
async fn silent(probe: &Probe) -> Result<ByHand, NotPassed> {
    let mut hand = probe.by_hand().await?;
    hand.open(probe).await;
    Ok(hand)
}

fn told(hand: &ByHand, number: usize) -> String {
    let how = match hand.ended() {
        Some(how) => format!("the connection was ended: {how}"),
        None => format!("it was not acknowledged within {} s", LIMIT.as_secs()),
    };
    format!(
        "PING {number}, sent {} s apart on a connection with a call that waits and nothing else: {how}; the server must be set to \
         allow PINGs at that interval",
        INTERVAL.as_secs()
    )
}

/// As strict as gRPC's own default, and sooner.
#[derive(Default)]
struct CountsSilentPings;

impl Behaviour for CountsSilentPings {
    fn frame(&self, _state: &State, arrival: Arrival) -> Fate {
        if arrival.kind == PING && arrival.silent_pings > 1 { Fate::GoAway } else { Fate::Taken }
    }
}
