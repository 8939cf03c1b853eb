//! WIRE-016.

use ai_inference_proto::{Dialect, GenerationRequest};
use bytes::Bytes;
use tonic::{Code, Status};

use super::broken_message::{BROKEN, BROKEN_NESTED};
use crate::{
    exemplar::{Behaviour, Conformant},
    probe::{
        METHODS, Probe,
        wire::{End, framed},
    },
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// The status for such bytes is INVALID_ARGUMENT or INTERNAL (stock grpc.aio and grpc-java say UNKNOWN: a warning, not
    /// a failure).
    ///
    /// # Why it matters
    /// UNKNOWN says that the server itself does not know what went wrong. Operators look for a fault in the server, and
    /// clients that retry UNKNOWN send the same bytes again.
    ///
    /// # How it is checked
    /// As for WIRE-007, Health, Control and StreamPredict are sent bytes that are not the declared message, alone and, on
    /// StreamPredict, after a good request. Each call must end with INVALID_ARGUMENT or INTERNAL; after a good request it
    /// may also end OK, where a server takes one request a stream. Then the server must still serve.
    ///
    /// # What a violation looks like
    /// UNKNOWN "Exception deserializing request!", which is what grpc.aio says by itself.
    ///
    /// # References
    /// Contract, WIRE-007 and WIRE-016; gRPC, "Status codes" (INTERNAL for what cannot be parsed).
    id: "WIRE-016",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a broken message is INVALID_ARGUMENT or INTERNAL",
    check: check,
    mutant: SaysUnknown, fault: "a broken message is UNKNOWN", seen_as: "was answered UNKNOWN",
}

async fn check(probe: &Probe) -> Judgement {
    for method in METHODS {
        for (what, bytes) in BROKEN {
            let end = probe.ask(method, &framed(bytes), what, &probe.options()).await?.end;
            judge(probe, &format!("{method} with {what}"), &end)?;
        }
    }
    let good = || probe.legal("StreamPredict", &probe.trace_id());
    let nested = [good(), BROKEN_NESTED.to_vec()].concat();
    let what = "a truncated `generation`";
    let end = probe.ask("StreamPredict", &framed(&nested), what, &probe.options()).await?.end;
    judge(probe, &format!("StreamPredict with {what}"), &end)?;

    let what = "a good request and then a truncated string";
    let second = [framed(&good()), framed(BROKEN[0].1)].concat();
    let end = probe.ask("StreamPredict", &second, what, &probe.options()).await?.end;
    if !end.is_ok() {
        judge(probe, &format!("StreamPredict with {what}"), &end)?;
    }
    probe.still_serves("broken messages").await
}

fn judge(probe: &Probe, asked: &str, end: &End) -> Judgement {
    let right = matches!(end.code(), Some(Code::InvalidArgument | Code::Internal));
    probe.assert(right, || {
        let advice = match end.code() {
            Some(Code::Unknown) => {
                ": grpc.aio, grpc-java and grpc-kotlin say so by themselves; take the raw bytes and parse them yourself (in \
                 Java and Kotlin ServerInterceptors.useInputStreamMessages, inside an interceptor that closes with the status)"
            }
            _ => "",
        };
        format!("{asked} {}, not INVALID_ARGUMENT or INTERNAL{advice}", end.told())
    })
}

#[derive(Default)]
struct SaysUnknown;

impl Behaviour for SaysUnknown {
    fn decode(&self, dialect: Dialect, bytes: &Bytes) -> Result<GenerationRequest, Status> {
        Conformant.decode(dialect, bytes).map_err(|_| Status::unknown("Exception deserializing request!"))
    }
}
