//! ERROR-001.

use ai_inference_proto::GenerationRequest;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::{Probe, wire::End},
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// An unknown model_id is NOT_FOUND, and the message names it.
    ///
    /// # Why it matters
    /// A gateway turns NOT_FOUND into "no such model" and stops; UNKNOWN or INTERNAL it retries. The name in the
    /// message is what tells a person about the typing error.
    ///
    /// # How it is checked
    /// Three models that cannot exist are asked for, one of them with a name that begins like a served one; each call must end NOT_FOUND, with the model's name in the
    /// message and without any response. Then the server must still serve.
    ///
    /// # What a violation looks like
    /// UNKNOWN, INTERNAL or INVALID_ARGUMENT; NOT_FOUND without the name; another model's text.
    ///
    /// # References
    /// Contract, ERROR-001; gRPC, "Status codes".
    id: "ERROR-001",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "an unknown model is NOT_FOUND and named",
    check: check,
    mutant: UnknownCode, fault: "an unknown model is UNKNOWN", seen_as: "UNKNOWN",
}

async fn check(probe: &Probe) -> Judgement {
    let number = probe.random(1 << 30);
    let served = &probe.endpoint().model;
    for model_id in [
        format!("no-such-model-{number}"),
        "没有-this/model:1".to_owned(),
        format!("{served}-no-such-{number}"), // begins like one that is served
    ] {
        let request = GenerationRequest { model_id: model_id.clone(), ..probe.request(4) };
        let generation = probe.predict(request).await?;
        generation.refused(&[Code::NotFound], &format!("the unknown model {model_id:?}"))?;
        let End::Status(status) = &generation.end else { continue };
        probe.assert(status.message.contains(&model_id), || {
            format!("NOT_FOUND for the model {model_id:?} does not name it: {:?}", status.message)
        })?;
    }
    probe.still_serves("a request for an unknown model").await
}

#[derive(Default)]
struct UnknownCode;

impl Behaviour for UnknownCode {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        state.admit(request).map_err(|status| match status.code() {
            Code::NotFound => Status::unknown(status.message()),
            _ => status,
        })
    }
}
