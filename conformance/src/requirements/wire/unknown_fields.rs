//! WIRE-005.

use std::collections::BTreeMap;

use ai_inference_proto::{ControlMessage, contract};
use bytes::Bytes;
use prost::Message as _;
use tonic::Status;

use crate::{exemplar::Behaviour, probe::Probe, requirement::Judgement};

crate::requirement! {
    /// # Requirement
    /// Unknown fields in any request are ignored.
    ///
    /// # Why it matters
    /// This is how protobuf lets clients and servers be upgraded one at a time. A server that refuses a field it
    /// does not know makes every addition to the contract a breaking change.
    ///
    /// # How it is checked
    /// Health, Control and StreamPredict are each called with four extra fields (numbers 1000 to 1003, one of each wire
    /// type) and must answer as they do without; StreamPredict's also stand inside `generation` and `metadata`.
    ///
    /// # What a violation looks like
    /// INVALID_ARGUMENT, or a decode error, to a request that is legal but for a field added later.
    ///
    /// # References
    /// Contract, WIRE-005; Protocol Buffers, "Unknown fields".
    id: "WIRE-005",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "unknown fields are ignored",
    check: check,
    mutant: StrictDecoder, fault: "a request with field 1000 is answered INVALID_ARGUMENT", seen_as: "INVALID_ARGUMENT",
}

/// Fields 1000 (varint 1), 1001 (fixed64), 1002 ("new") and 1003 (fixed32), as they stand on the wire.
const ADDED: [u8; 25] = [
    0xC0, 0x3E, 1, //
    0xC9, 0x3E, 1, 2, 3, 4, 5, 6, 7, 8, //
    0xD2, 0x3E, 3, b'n', b'e', b'w', //
    0xDD, 0x3E, 1, 2, 3, 4,
];

async fn check(probe: &Probe) -> Judgement {
    let connection = probe.connection().await?;
    let options = probe.options();
    let ask = contract::WorkerHealthRequest { trace_id: probe.trace_id() };
    let ask = [ask.encode_to_vec(), ADDED.to_vec()].concat();
    let health =
        probe.unary_on(&connection, "Health", &ask, "WorkerHealthRequest + fields 1000-1003", &options).await;
    let known = contract::WorkerHealthResponse::decode(health.ok()?.as_slice());
    probe.assert(known.is_ok_and(|h| h.healthy || !h.metrics.is_empty()), || {
        "Health with unknown fields was answered with a message that says nothing".to_owned()
    })?;

    let ping =
        ControlMessage { trace_id: probe.trace_id(), command: "ping".into(), payload: BTreeMap::new() };
    let ping = [contract::ControlMessage::from(ping).encode_to_vec(), ADDED.to_vec()].concat();
    let control = probe.unary_on(&connection, "Control", &ping, "ping + fields 1000-1003", &options).await;
    control.ok()?;
    probe.assert(true, String::new)?;

    let request = probe.request(4);
    // Once more inside `generation` (5) and `metadata` (6): a second occurrence of a message is merged into the first.
    let nested = |field: u8| [vec![field << 3 | 2, ADDED.len() as u8], ADDED.to_vec()].concat();
    let known = probe.dialect().encode_request(request.clone());
    let bytes = [known, ADDED.to_vec(), nested(5), nested(6)].concat();
    let mut stream = probe.stream().await?;
    stream.send_bytes(&bytes, "StreamPredictRequest + fields 1000-1003");
    stream.half_close();
    stream.finish(request).await.served()?;
    probe.assert(true, String::new)
}

#[derive(Default)]
struct StrictDecoder;

impl Behaviour for StrictDecoder {
    fn received(&self, _method: &str, bytes: &Bytes) -> Result<(), Status> {
        if bytes.windows(2).any(|tag| tag == [0xC0, 0x3E]) {
            return Err(Status::invalid_argument("unknown field 1000"));
        }
        Ok(())
    }
}
