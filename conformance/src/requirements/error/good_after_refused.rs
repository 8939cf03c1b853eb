//! ERROR-011.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use ai_inference_proto::{Dialect, GenerationRequest, contract};
use bytes::Bytes;
use prost::Message as _;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::{Probe, StreamItem, wire::End},
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
    /// Unknown models, broken bytes, broken bytes after a good request of the same stream, empty streams and negative bounds
    /// are sent, seventy of each, more than a server's slots; after each kind three good requests in a row must be served: the
    /// model may not fail every second one. Where Health shows `requests_inflight`, it must not have grown by half as many.
    ///
    /// # What a violation looks like
    /// The good request hangs, or is refused for want of capacity, after enough bad ones.
    ///
    /// # References
    /// Contract, ERROR-011.
    id: "ERROR-011",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "after a refused request the next good one succeeds",
    check: check,
    mutant: LosesSlots, fault: "a refused request keeps its slot", seen_as: "after 70 refused",
}

/// More refusals of a kind than a server of this size has slots, so many at a time.
const BATCHES: usize = 7;
const BATCH: usize = 10;

/// A string field that announces five bytes where one follows.
const BROKEN: [u8; 3] = [0x0A, 5, b'a'];
/// Of a good request before it.
const TOKENS: i64 = 4;

/// Good requests in a row: one may succeed where every second fails.
const GOOD: usize = 3;

const UNKNOWN_MODEL: &str = "requests for an unknown model";
const BROKEN_BYTES: &str = "requests of broken bytes";
const BROKEN_LATER: &str = "streams of a good request and broken bytes";
const NO_REQUEST: &str = "streams without a request";
const NEGATIVE_BOUND: &str = "requests with a negative bound";

async fn check(probe: &Probe) -> Judgement {
    probe.predict(probe.request(2)).await?.served()?;
    let mut kinds = vec![UNKNOWN_MODEL, BROKEN_BYTES, BROKEN_LATER, NO_REQUEST];
    if probe.dialect() == Dialect::Contract {
        kinds.push(NEGATIVE_BOUND); // unsigned in the other
    }
    let mut refused = 0;
    let mut hanging = Vec::new();
    for kind in kinds {
        let before = probe.requests_inflight().await?;
        let mut ends = Vec::new();
        for _ in 0..BATCHES {
            let earlier = ends.len();
            ends.extend(batch(probe, kind).await?);
            if let Some(hang) =
                ends.iter().skip(earlier).flatten().find(|end| matches!(end, End::TimedOut(_)))
            {
                let told = hang.told();
                probe.assert(earlier == 0, || {
                    format!("after {earlier} refused {kind}, one more of them {told}")
                })?;
                hanging.push(kind); // from the first on: nothing was refused
                break;
            }
            if ends.contains(&None) {
                break; // served: that kind's own requirement's matter
            }
        }
        refused += ends.iter().flatten().filter(|end| !end.is_ok()).count();
        let sent = ends.len();
        probe.still_serves(&format!("{sent} refused {kind}")).await?;
        for good in 2..=GOOD {
            let circumstance =
                format!("after {sent} refused {kind}, in good request {good} of {GOOD} in a row");
            probe.predict(probe.request(2)).await?.served().map_err(|why| why.when(&circumstance))?;
        }
        let (Some(before), Some(after)) = (before, settled(probe, before).await?) else { continue };
        probe.assert(after < before + (sent / 2) as i64, || {
            format!("after {sent} refused {kind}, requests_inflight went from {before} to {after} and stayed there")
        })?;
    }
    if !hanging.is_empty() {
        return Err(NotPassed::Inconclusive(format!(
            "{} got no answer at all: none was refused",
            hanging.join(" and ")
        )));
    }
    if refused == 0 {
        return Err(NotPassed::Inconclusive("the server refused none of the bad requests".into()));
    }
    Ok(())
}

/// Sends one batch of bad requests at once; how each ended, or `None` if it was served.
async fn batch(probe: &Probe, kind: &str) -> Result<Vec<Option<End>>, NotPassed> {
    let mut streams = Vec::new();
    for _ in 0..BATCH {
        let mut stream = probe.stream().await?;
        match kind {
            UNKNOWN_MODEL => {
                let model_id = "no-such-model".to_owned();
                stream.send(&GenerationRequest { model_id, ..probe.request(2) });
            }
            NEGATIVE_BOUND => stream.send(&probe.request(-1)),
            BROKEN_BYTES => stream.send_bytes(&BROKEN, "a truncated string"),
            BROKEN_LATER => {
                stream.send(&probe.request(TOKENS));
                stream.send_bytes(&BROKEN, "a truncated string");
            }
            _ => {}
        }
        stream.half_close();
        let begins_well = kind == BROKEN_LATER;
        streams.push(tokio::spawn(async move {
            loop {
                match stream.next().await {
                    StreamItem::End(end) => return Some(end),
                    StreamItem::Response(_) if begins_well => {}
                    _ => return None, // served after all; dropping the stream cancels it
                }
            }
        }));
    }
    let mut ends = Vec::new();
    for stream in streams {
        ends.push(stream.await.map_err(|e| NotPassed::Harness(e.to_string()))?);
    }
    Ok(ends)
}

/// The counter, given a moment to come back to where it was.
async fn settled(probe: &Probe, before: Option<i64>) -> Result<Option<i64>, NotPassed> {
    let mut now = None;
    for _ in 0..20 {
        now = probe.requests_inflight().await?;
        if now <= before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(now)
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
