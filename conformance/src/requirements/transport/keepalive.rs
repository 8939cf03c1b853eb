//! TRANSPORT-002.

use std::time::{Duration, Instant};

use crate::{
    exemplar::{Arrival, Behaviour, Fate, State},
    probe::{ByHand, Pace, Probe, wire::frames::PING},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A keepalive ping every 10 s on a connection where chunks flow is tolerated and answered.
    ///
    /// # Why it matters
    /// Clients behind firewalls and load balancers send PINGs so that a long answer is not cut and a dead server is noticed. A
    /// server that answers GOAWAY "too_many_pings" ends all the generations on the connection.
    ///
    /// # How it is checked
    /// On a connection by hand generations run one after the other. Eight PINGs are sent, each after chunks have come since the
    /// one before; all must be acknowledged. A server that tolerates PINGs so quick tolerates slow ones: those that
    /// count PINGs forget them when they send data, or count them by the time between. A server that ends the connection is asked again
    /// as the requirement says: chunks flow, all but two of as many PINGs as it did not bear are sent at once, and then one after
    /// 10 s and one after 20 s. If the connection ends again, it is a failure. That takes 20 s.
    ///
    /// # What a violation looks like
    /// GOAWAY ENHANCE_YOUR_CALM, "too_many_pings"; or PINGs that are not acknowledged.
    ///
    /// # References
    /// Contract, TRANSPORT-002; RFC 9113, section 6.7; gRPC A8, "Client-side keepalive".
    id: "TRANSPORT-002",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a PING every 10 s beside chunks is tolerated",
    check: check,
    mutant: CountsPings, fault: "PINGs are too many however many chunks flow", seen_as: "too_many_pings",
}

/// PINGs in a row that show that the server does not count them.
const QUICK: usize = 8;
/// PINGs at the contract's interval.
const SLOW: usize = 2;
const INTERVAL: Duration = Duration::from_secs(10);
/// Calls in a row that may be refused.
const REFUSED: usize = 3;
/// Time of one generation.
const LASTING: Duration = Duration::from_secs(3);
/// An acknowledgement may take so long beside other work.
const LIMIT: Duration = Duration::from_secs(5);

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let mut flow = Flow::start(probe, pace).await?;
    for number in 1..=QUICK {
        if flow.on(Duration::ZERO).await.is_err() || !flow.ping(probe).await? {
            return slowly(probe, pace, number).await;
        }
    }
    Ok(())
}

/// The same at the contract's interval, where quick PINGs were not borne.
async fn slowly(probe: &Probe, pace: Pace, unborne: usize) -> Judgement {
    let mut flow = Flow::start(probe, pace).await?;
    let mut sent = 0;
    for _ in SLOW..unborne.max(SLOW + 1) {
        flow.on(Duration::ZERO).await?;
        sent += usize::from(flow.ping(probe).await?);
    }
    for _ in 0..SLOW {
        let on = flow.on(INTERVAL).await;
        let borne = on.is_ok() && flow.ping(probe).await?;
        flow.hand.is_no_goodbye()?;
        probe.assert(borne, || {
            format!(
                "a connection on which chunks flowed was ended by a PING {} s after the one before, the {}. PING on it: {}",
                INTERVAL.as_secs(),
                sent + 1,
                flow.hand.ended().unwrap_or("closed by the target")
            )
        })?;
        sent += 1;
    }
    Ok(())
}

/// A connection on which generations run one after the other.
struct Flow<'a> {
    probe: &'a Probe,
    hand: ByHand,
    bound: i64,
    /// The longest time without a frame that is no sign of a stop.
    patience: Duration,
}

impl<'a> Flow<'a> {
    async fn start(probe: &'a Probe, pace: Pace) -> Result<Self, NotPassed> {
        let hand = probe.by_hand().await?;
        Ok(Self { probe, hand, bound: pace.bound(LASTING), patience: probe.patience() })
    }

    /// Lets chunks flow for so long, and until one more has come.
    async fn on(&mut self, time: Duration) -> Judgement {
        let until = Instant::now() + time;
        let mut refused = 0;
        loop {
            if self.hand.over() {
                self.hand.begin(self.probe, self.probe.request(self.bound)).await;
            }
            let before = self.hand.answers();
            self.hand.until(self.patience, |hand| hand.answers() > before || hand.over()).await;
            let flows = self.hand.answers() > before;
            // A call that is not begun is sent again, as gRPC clients do.
            refused = if flows { 0 } else { refused + 1 };
            if self.hand.ended().is_some() || refused > REFUSED || !flows && !self.hand.over() {
                let why = self.hand.ended().unwrap_or("nothing more came");
                return Err(NotPassed::Inconclusive(format!("chunks did not flow beside the PINGs: {why}")));
            }
            if flows && Instant::now() >= until {
                return Ok(());
            }
        }
    }

    /// Whether a PING is borne; one that is never acknowledged, on a connection that goes on, is a failure.
    async fn ping(&mut self, probe: &Probe) -> Result<bool, NotPassed> {
        let took = self.hand.ping(LIMIT).await;
        let ended = self.hand.ended().is_some();
        probe.assert(took.is_some() || ended, || {
            format!(
                "a PING on a connection where chunks flowed was not acknowledged within {} s",
                LIMIT.as_secs()
            )
        })?;
        Ok(took.is_some())
    }
}

#[derive(Default)]
struct CountsPings;

impl Behaviour for CountsPings {
    fn frame(&self, _state: &State, arrival: Arrival) -> Fate {
        if arrival.kind == PING && arrival.pings > 1 { Fate::GoAway } else { Fate::Taken }
    }
}
