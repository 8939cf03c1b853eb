//! ERROR-011.

use std::sync::atomic::{AtomicUsize, Ordering};

use ai_inference_proto::{GenerationRequest, contract};
use bytes::Bytes;
use prost::Message as _;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// After any refused request the next good request succeeds.
    ///
    /// # Why it matters
    /// A slot that is taken before a request is checked, and not given back when it is refused, is lost. Each bad
    /// request makes the server a little smaller, until it is full of nothing.
    ///
    /// # How it is checked
    /// Unknown models, broken bytes and empty streams are sent, twenty-five of each, more than a server's slots;
    /// after each kind a good request must be served.
    ///
    /// # What a violation looks like
    /// The good request hangs, or is refused for want of capacity, after enough bad ones.
    ///
    /// # References
    /// Contract, ERROR-011.
    id: "ERROR-011",
    level: Must,
    roles: [Server],
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "after a refused request the next good one succeeds",
    check: check,
    mutant: LosesSlots, fault: "a refused request keeps its slot", seen_as: "after 25 refused",
}

/// More refusals of a kind than a server of this size has slots.
const REPEATS: usize = 25;

async fn check(probe: &Probe) -> Judgement {
    probe.predict(probe.request(2)).await?.served()?;
    let mut refused = 0;
    for kind in ["requests for an unknown model", "requests of broken bytes", "streams without a request"] {
        for _ in 0..REPEATS {
            let mut stream = probe.stream().await?;
            match kind {
                "requests for an unknown model" => {
                    let model_id = "no-such-model".to_owned();
                    stream.send(&GenerationRequest { model_id, ..probe.request(2) });
                }
                "requests of broken bytes" => stream.send_bytes(&[0x0A, 5, b'a'], "a truncated string"),
                _ => {}
            }
            stream.half_close();
            refused += usize::from(!stream.finish(GenerationRequest::default()).await.end.is_ok());
        }
        probe.still_serves(&format!("{REPEATS} refused {kind}")).await?;
    }
    if refused == 0 {
        return Err(NotPassed::Inconclusive("the server refused none of the bad requests".into()));
    }
    Ok(())
}

/// Forty slots; a refused request never gives its own back, until the server is restarted by its watchdog.
#[derive(Default)]
struct LosesSlots {
    lost: AtomicUsize,
}

impl Behaviour for LosesSlots {
    fn received(&self, method: &str, bytes: &Bytes) -> Result<(), Status> {
        let broken = contract::StreamPredictRequest::decode(bytes.clone()).is_err();
        if method == "StreamPredict" && broken {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        state.admit(request).inspect_err(|_| {
            self.lost.fetch_add(1, Ordering::Relaxed);
        })?;
        if self.lost.load(Ordering::Relaxed) >= 40 {
            self.lost.store(0, Ordering::Relaxed);
            return Err(Status::internal("no free slot"));
        }
        Ok(())
    }
}
