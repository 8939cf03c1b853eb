//! CONCURRENCY-012.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ai_inference_proto::GenerationRequest;
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::{
    Code, Status,
    metadata::{BinaryMetadataValue, MetadataMap},
};

use crate::{
    exemplar::{Behaviour, Conformant, State, Turn},
    probe::{
        Probe, StreamItem,
        wire::{self, End},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// RESOURCE_EXHAUSTED for overload says when to come back (`grpc-retry-pushback-ms` or RetryInfo).
    ///
    /// # Why it matters
    /// Clients that are refused try again. Without a hint they all come back at once, and the server is as full as before.
    ///
    /// # How it is checked
    /// Generations are started and held, 64, then 256, 1,200 and 2,400 of them, until the server refuses some as
    /// RESOURCE_EXHAUSTED. Each of those refusals must carry `grpc-retry-pushback-ms` with a number of milliseconds that is not
    /// negative, or a google.rpc.RetryInfo in `grpc-status-details-bin`. Then all are cancelled, and the server must be
    /// idle again. A server that queues them all, or refuses in another way, shows nothing, and the check says so.
    ///
    /// # What a violation looks like
    /// RESOURCE_EXHAUSTED with a message and nothing else.
    ///
    /// # References
    /// Contract, CONCURRENCY-012; gRPC A6, "Pushback"; google.rpc.RetryInfo.
    id: "CONCURRENCY-012",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "a refusal for overload says when to come back",
    check: check,
    mutant: NoHint, fault: "no hint", seen_as: "does not say when to come back",
}

/// Generations at once, until some are refused.
const WIDTHS: [usize; 4] = [64, 256, 1200, 2400];
/// Connections to spread them over.
const CONNECTIONS: usize = 16;
/// How long each would last: longer than it takes to send them all.
const LASTING: Duration = Duration::from_secs(4);
/// Refusals that are enough to see that all carry a hint.
const ENOUGH: usize = 8;
/// A refusal comes by then, and in so many times what a first text takes; more are sent where none has come much sooner.
const QUIET: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_millis(75);
const QUIET_STARTS: u32 = 4;
/// Between two looks whether all are sent.
const LOOK: Duration = Duration::from_millis(10);
const PUSHBACK: &str = "grpc-retry-pushback-ms";
const DETAILS: &str = "grpc-status-details-bin";
const RETRY_INFO: &str = "google.rpc.RetryInfo";

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let connections = probe.connections(CONNECTIONS).await?;
    let (_, bound) = probe.begun(&connections[0], pace, LASTING).await?;
    let ends = Arc::new(Mutex::new(Vec::<End>::new()));
    let so_far = || ends.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let sent = Arc::new(AtomicUsize::new(0));
    let mut held = JoinSet::new();
    for width in WIDTHS {
        for at in held.len()..width {
            let connection = connections[at % connections.len()].clone();
            let (ends, sent) = (Arc::clone(&ends), Arc::clone(&sent));
            let (streamer, request) = (probe.streamer().with_patience(LASTING), probe.request(bound));
            held.spawn(async move {
                let mut stream = streamer.open(&connection).await;
                stream.send(&request);
                stream.half_close();
                sent.fetch_add(1, Ordering::Relaxed);
                let mut responses = 0;
                let end = loop {
                    match stream.next().await {
                        StreamItem::Response(_) => responses += 1,
                        StreamItem::Undecodable(why) => break End::Malformed(why),
                        StreamItem::End(end) => break end,
                    }
                };
                if responses == 0 {
                    ends.lock().unwrap_or_else(PoisonError::into_inner).push(end);
                }
            });
        }
        let began = Instant::now();
        while sent.load(Ordering::Relaxed) < width && began.elapsed() < LASTING {
            tokio::time::sleep(LOOK).await;
        }
        let quiet = if width == WIDTHS[WIDTHS.len() - 1] { QUIET } else { SOON };
        tokio::time::sleep(quiet.max(pace.first * QUIET_STARTS)).await;
        if so_far().iter().any(End::is_full) {
            break;
        }
    }
    held.shutdown().await;
    let settled = probe.settled(pace, pace.lasting(bound) * WIDTHS[0] as u32).await;
    let ends = so_far();
    let refusals = ends.iter().filter_map(|end| match end {
        End::Status(status) if status.code == Code::ResourceExhausted => Some(status),
        _ => None,
    });
    let refusals: Vec<_> = refusals.take(ENOUGH).collect();
    for status in &refusals {
        let hint = hint(status);
        probe.assert(hint.is_ok(), || {
            format!(
                "RESOURCE_EXHAUSTED {} for overload does not say when to come back: {}",
                wire::quote(&status.message, 80),
                hint.unwrap_or_else(|why| why)
            )
        })?;
    }
    settled?;
    if refusals.is_empty() {
        let what = ends
            .first()
            .map_or("all of them waited or ran".to_owned(), |end| format!("one of them {}", end.told()));
        return Err(NotPassed::Inconclusive(format!(
            "up to {} generations at once were not refused as RESOURCE_EXHAUSTED: {what}",
            WIDTHS[WIDTHS.len() - 1]
        )));
    }
    Ok(())
}

/// The hint that a refusal carries, or what is wrong with it.
fn hint(status: &wire::Status) -> Result<String, String> {
    let value = |name: &str| {
        let lines = status.metadata.iter().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    if let Some(pushback) = value(PUSHBACK) {
        let right = pushback.parse::<u64>().is_ok();
        return right.then(|| pushback.clone()).ok_or_else(|| {
            format!("{PUSHBACK} is {}, which is no number of milliseconds", wire::quote(&pushback, 40))
        });
    }
    let details = value(DETAILS).ok_or_else(|| format!("it has neither {PUSHBACK} nor {DETAILS}"))?;
    let bytes = decoded(&details).ok_or_else(|| format!("{DETAILS} is not base64"))?;
    let details =
        RpcStatus::decode(bytes.as_slice()).map_err(|error| format!("{DETAILS} cannot be read: {error}"))?;
    let told = details.details.iter().any(|detail| detail.type_url.ends_with(RETRY_INFO));
    told.then(|| RETRY_INFO.to_owned()).ok_or_else(|| format!("{DETAILS} holds no {RETRY_INFO}"))
}

/// The bytes of a binary header.
fn decoded(value: &str) -> Option<Vec<u8>> {
    let mut headers = http::HeaderMap::new();
    headers.insert(DETAILS, value.parse().ok()?);
    let metadata = MetadataMap::from_headers(headers);
    let value: &BinaryMetadataValue = metadata.get_bin(DETAILS)?;
    Some(value.to_bytes().ok()?.to_vec())
}

/// google.rpc.Status, as far as it is read.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Default)]
struct NoHint;

#[tonic::async_trait]
impl Behaviour for NoHint {
    async fn turn(&self, state: &State, request: &GenerationRequest) -> Result<Turn, Status> {
        let turn = Conformant.turn(state, request).await;
        turn.map_err(|status| Status::new(status.code(), status.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_hints_are_read() {
        let status = |metadata: &[&str]| wire::Status {
            code: Code::ResourceExhausted,
            message: String::new(),
            metadata: metadata.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert!(hint(&status(&[])).is_err());
        assert!(hint(&status(&["grpc-retry-pushback-ms: 100"])).is_ok());
        assert!(hint(&status(&["grpc-retry-pushback-ms: -1"])).is_err());
        let details = |type_url: &str| {
            let any = prost_types::Any { type_url: type_url.to_owned(), value: vec![] };
            let bytes = RpcStatus { details: vec![any] }.encode_to_vec();
            let value = BinaryMetadataValue::from_bytes(&bytes);
            let text = String::from_utf8(value.as_encoded_bytes().to_vec()).unwrap();
            status(&[&format!("grpc-status-details-bin: {text}")])
        };
        assert!(hint(&details("type.googleapis.com/google.rpc.RetryInfo")).is_ok());
        assert!(hint(&details("type.googleapis.com/google.rpc.ErrorInfo")).is_err());
    }
}
