//! Prompts that fail: the smallest one is what people see.

use std::sync::Arc;

use ai_inference_proto::GenerationRequest;
use conformance::{
    events::Verdict::Fail,
    exemplar::{Behaviour, State},
};
use tonic::Status;

use super::Sneaky;

pub(super) static ALL: &[Sneaky] = &[
    Sneaky {
        name: "ERROR-006/a-nul-in-the-middle",
        behaviour: || Arc::new(Refuses(|prompt| prompt.contains('\0'))),
        verdict: Fail,
        reason: "the prompt \"\\0\" was answered INTERNAL",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "ERROR-006/a-private-character-beyond-the-basic-plane",
        behaviour: || Arc::new(Refuses(|prompt| prompt.chars().any(|c| c > '\u{3ffff}' && c < '\u{10ffff}'))),
        verdict: Fail,
        reason: "was answered INTERNAL",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "ERROR-006/many-combining-marks",
        behaviour: || Arc::new(Refuses(|prompt| prompt.matches('\u{301}').count() > 100)),
        verdict: Fail,
        reason: "(101 characters) was answered INTERNAL",
        beside: &["STREAM-001"],
    },
];

struct Refuses(fn(&str) -> bool);

impl Behaviour for Refuses {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        if (self.0)(&request.prompt) {
            return Err(Status::internal("the tokenizer broke"));
        }
        state.admit(request)
    }
}
