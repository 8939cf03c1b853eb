//! Broken bytes and reflected schemas: what other servers do, rightly and wrongly.

use std::sync::Arc;

use ai_inference_proto::{Dialect, GenerationRequest};
use bytes::Bytes;
use conformance::{
    events::Verdict::{Fail, Pass},
    exemplar::{Behaviour, Conformant, Requests},
};
use futures_util::StreamExt as _;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::Status;

use super::Sneaky;

pub(super) static ALL: &[Sneaky] = &[
    Sneaky {
        name: "WIRE-007/unknown-as-grpc-aio-says",
        behaviour: || Arc::new(SaysUnknown),
        verdict: Pass,
        reason: "",
        beside: &["WIRE-005", "ERROR-011"],
    },
    Sneaky {
        name: "WIRE-007/a-broken-second-message-hangs",
        behaviour: || Arc::new(SecondHangs),
        verdict: Fail,
        reason: "a good request and then a truncated string",
        beside: &["WIRE-005"],
    },
    Sneaky {
        name: "WIRE-004/a-map-entry-under-a-wrong-name",
        behaviour: || Arc::new(Reflects(wrong_entry)),
        verdict: Fail,
        reason: "must be called",
        beside: &["WIRE-003"],
    },
];

struct SaysUnknown;

impl Behaviour for SaysUnknown {
    fn decode(&self, dialect: Dialect, bytes: &Bytes) -> Result<GenerationRequest, Status> {
        Conformant.decode(dialect, bytes).map_err(|_| Status::unknown("Exception deserializing request!"))
    }
}

/// Reads the first request as it should, and waits for ever at a second that it cannot read.
struct SecondHangs;

#[tonic::async_trait]
impl Behaviour for SecondHangs {
    async fn requests(&self, requests: Requests) -> Requests {
        Box::pin(requests.enumerate().then(|(at, request)| async move {
            let broken = request.as_ref().is_ok_and(|b| Dialect::Contract.decode_request(b).is_err());
            if at > 0 && broken {
                std::future::pending::<()>().await;
            }
            request
        }))
    }
}

/// Shows an edited schema; tonic's own reflection takes it as it is.
struct Reflects(fn(&mut DescriptorProto));

impl Behaviour for Reflects {
    fn reflection(&self) -> Option<Vec<Vec<u8>>> {
        let mut set = FileDescriptorSet::decode(Dialect::Contract.descriptor_set()).ok()?;
        set.file.iter_mut().flat_map(|f| &mut f.message_type).for_each(self.0);
        Some(vec![set.encode_to_vec(), Dialect::CyLlm.descriptor_set().to_vec()])
    }
}

fn wrong_entry(message: &mut DescriptorProto) {
    if message.name() == "ControlMessage" {
        message.nested_type[0].name = Some("Payload".into());
        for field in &mut message.field {
            if field.type_name().ends_with(".PayloadEntry") {
                field.type_name = Some(".ControlMessage.Payload".into());
            }
        }
    }
}
