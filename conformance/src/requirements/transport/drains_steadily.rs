//! TRANSPORT-009.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ai_inference_proto::GenerationRequest;
use futures_util::StreamExt as _;
use tonic::Code;

use crate::{
    exemplar::{Behaviour, Responses, State},
    probe::{
        Managed, Probe, StreamItem,
        wire::{End, time},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// While it drains, chunks of running generations keep coming at their pace, and new work is answered UNAVAILABLE, not a
    /// refused connection.
    ///
    /// # Why it matters
    /// UNAVAILABLE sends a client to another server at once. A refused connection is tried again, and again, and a stream that
    /// stands still looks like one that is dead.
    ///
    /// # How it is checked
    /// The run starts an instance of its own. A generation of a second runs on it when it gets SIGTERM; a quicker one is read
    /// slowly. Between two of its chunks no more than a second and ten of its own tokens' times may pass. Meanwhile, from three
    /// tenths of a second after the signal, requests are sent on the connection that was open before and on new ones: each must be
    /// answered UNAVAILABLE. A request that a GOAWAY leaves out is sent again on a new connection, as gRPC clients do. What is
    /// seen wrong is looked at once more, with another instance. A server whose generations are over too soon shows nothing.
    ///
    /// # What a violation looks like
    /// From SIGTERM on nothing comes until the generation is complete; or "connection refused".
    ///
    /// # References
    /// Contract, TRANSPORT-009; gRPC, "Status codes" (UNAVAILABLE).
    id: "TRANSPORT-009",
    level: Should,
    dialects: [Contract, CyLlm],
    needs: [Managed],
    isolation: Exclusive,
    since: "0.1.0",
    title: "while a server drains, chunks keep coming and new work is UNAVAILABLE",
    check: check,
    mutant: StandsStill, fault: "a stream stands still from SIGTERM on", seen_as: "stood still",
}

/// The generation that runs when the signal comes.
const LASTING: Duration = Duration::from_millis(700);
/// Until then, between two reads.
const SLOWLY: Duration = Duration::from_millis(20);
/// The signal is known by then.
const HEARD: Duration = Duration::from_millis(300);
/// Between two chunks, besides some of the server's tokens.
const PAUSE: Duration = Duration::from_secs(1);
const TOKENS: u32 = 10;
const TRIES: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    for attempt in 1..=TRIES {
        let managed = probe.started().await?;
        let wrong = look(&managed).await;
        managed.stop().await;
        let Some(wrong) = wrong? else { return probe.assert(true, String::new) };
        probe.assert(attempt < TRIES, || wrong)?;
    }
    Ok(())
}

/// What was seen wrong, in words.
async fn look(managed: &Managed) -> Result<Option<String>, NotPassed> {
    let own = &managed.probe;
    let pace = own.pace().await?;
    let (mut stream, bound) = own.begun(&own.connect_narrow().await?, pace, LASTING).await?;
    own.connection().await?;
    managed.ask_to_end();
    let signalled = Instant::now();
    let flowing = tokio::spawn(async move {
        let (mut longest, mut last) = (Duration::ZERO, Instant::now());
        loop {
            match stream.next().await {
                StreamItem::Response(_) => {
                    longest = longest.max(last.elapsed());
                    if signalled.elapsed() < LASTING {
                        tokio::time::sleep(SLOWLY).await; // a quick model waits for its reader
                    }
                    last = Instant::now();
                }
                StreamItem::Undecodable(why) => return (longest, End::Malformed(why)),
                StreamItem::End(end) => return (longest.max(last.elapsed()), end),
            }
        }
    });
    tokio::time::sleep(HEARD).await;
    if flowing.is_finished() {
        return Err(NotPassed::Inconclusive(format!(
            "a generation of {bound} tokens was over {} after SIGTERM: too soon to see how the server drains",
            time(signalled.elapsed())
        )));
    }
    let mut answers = Vec::new();
    for (place, same) in [("the connection that was open before", true), ("a new connection", false)] {
        let refused = managed.refuses(same).await?;
        if flowing.is_finished() {
            break; // it may be gone by now
        }
        answers.push((place, refused));
    }
    let (longest, end) = flowing.await.map_err(|error| NotPassed::Harness(error.to_string()))?;
    let allowed = PAUSE + pace.token * TOKENS;
    if longest > allowed {
        return Ok(Some(format!(
            "after SIGTERM a running generation stood still for {}, where its tokens come every {}",
            time(longest),
            time(pace.token)
        )));
    }
    if !end.is_ok() {
        return Err(NotPassed::Inconclusive(format!(
            "the running generation {} (TRANSPORT-003)",
            end.told()
        )));
    }
    let wrong =
        answers.into_iter().find(|(_, end)| end.as_ref().and_then(End::code) != Some(Code::Unavailable));
    Ok(wrong.map(|(place, end)| {
        let told = end.map_or_else(|| "was served".to_owned(), |end| end.told());
        format!("while the server drained, new work on {place} {told}, not UNAVAILABLE")
    }))
}

/// Sends nothing while it drains, and the rest at the end.
#[derive(Default)]
struct StandsStill {
    draining: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl Behaviour for StandsStill {
    async fn drain(&self, state: &State) {
        self.draining.store(true, Ordering::Relaxed);
        state.drain().await;
    }

    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let (draining, mut stood) = (Arc::clone(&self.draining), false);
        Box::pin(responses.then(move |response| {
            let pause = draining.load(Ordering::Relaxed) && !stood;
            stood = stood || pause;
            async move {
                if pause {
                    tokio::time::sleep(PAUSE * 3).await;
                }
                response
            }
        }))
    }
}
