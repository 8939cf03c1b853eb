//! Parameters that arrive or do not, on models that show it and on models that hide it.

use std::sync::Arc;

use ai_inference_proto::{Dialect, GenerationRequest, Sampling};
use bytes::Bytes;
use conformance::{
    events::Verdict::{Fail, Inconclusive, Pass},
    exemplar::{Behaviour, Conformant, Script},
};
use tonic::Status;

use super::{Sneaky, behaviours::Scripts};

const A_DOUBLE: &str = "is temperature a double here?";

pub(super) static ALL: &[Sneaky] = &[
    Sneaky {
        name: "WIRE-014/temperature-alone-is-a-double",
        behaviour: || Arc::new(Drops(|s| Sampling { temperature: 0.0, ..s })),
        verdict: Fail,
        reason: A_DOUBLE,
        beside: &["SAMPLING-002"],
    },
    Sneaky {
        name: "WIRE-014/the-penalty-alone-is-a-double",
        behaviour: || Arc::new(Drops(|s| Sampling { repetition_penalty: 0.0, ..s })),
        verdict: Fail,
        reason: "is repetition_penalty a double here?",
        beside: &["SAMPLING-003"],
    },
    Sneaky {
        name: "WIRE-014/a-float-is-a-decode-error",
        behaviour: || Arc::new(Strict),
        verdict: Fail,
        reason: A_DOUBLE,
        beside: &[],
    },
    Sneaky {
        name: "WIRE-014/dropped-floats-leave-it-greedy",
        behaviour: || Arc::new(Drops(|s| Sampling { temperature: 0.01, top_p: 0.001, ..s })),
        verdict: Fail,
        reason: A_DOUBLE,
        beside: &["SAMPLING-003"],
    },
    Sneaky {
        name: "WIRE-014/top-p-is-not-used",
        behaviour: || Arc::new(Speaks(|s| Sampling { top_p: 0.9, ..s })),
        verdict: Fail,
        reason: "top_p does not arrive, or is not used",
        beside: &[],
    },
    Sneaky {
        name: "WIRE-014/the-bound-is-not-used",
        behaviour: || Arc::new(Speaks(|s| Sampling { max_new_tokens: 0, ..s })),
        verdict: Fail,
        reason: "max_new_tokens 2 gave",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "WIRE-014/always-the-same",
        behaviour: || Arc::new(Speaks(|s| Sampling { temperature: 0.01, top_p: 0.001, ..s })),
        verdict: Inconclusive,
        reason: "the model says much the same",
        beside: &["SAMPLING-003"],
    },
    Sneaky {
        name: "WIRE-014/always-another-one",
        behaviour: || Arc::new(Speaks(|s| Sampling { temperature: 1.0, top_p: 0.9, ..s })),
        verdict: Inconclusive,
        reason: "the text is another one each time",
        beside: &["SAMPLING-002"],
    },
    Sneaky {
        name: "WIRE-014/temperature-is-not-used",
        behaviour: || Arc::new(Speaks(|s| Sampling { temperature: 1.0, ..s })),
        verdict: Inconclusive,
        reason: "nothing shows whether temperature arrives",
        beside: &["SAMPLING-003"],
    },
    Sneaky {
        name: "WIRE-014/ends-after-one-token",
        behaviour: || Arc::new(Scripts(|_, script| script.tokens.truncate(1))),
        verdict: Inconclusive,
        reason: "nothing shows whether",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "WIRE-014/apart-behind-the-first-half",
        behaviour: || {
            Arc::new(Scripts(|request, script| {
                let more =
                    Conformant.speak(&with(request, |s| Sampling { temperature: 1.0, top_p: 1.0, ..s }));
                let from = script.tokens.len().min(12);
                script.tokens.splice(from.., more.tokens.into_iter().skip(from));
            }))
        },
        verdict: Pass,
        reason: "",
        beside: &["SAMPLING-002"],
    },
];

fn with(request: &GenerationRequest, change: impl Fn(Sampling) -> Sampling) -> GenerationRequest {
    GenerationRequest { sampling: request.sampling.map(change), ..request.clone() }
}

/// Reads the types of `cy.llm`; of `contract`'s own it drops some.
struct Drops(fn(Sampling) -> Sampling);

impl Behaviour for Drops {
    fn decode(&self, dialect: Dialect, bytes: &Bytes) -> Result<GenerationRequest, Status> {
        Conformant
            .decode(Dialect::CyLlm, bytes)
            .or_else(|_| Conformant.decode(dialect, bytes).map(|request| with(&request, self.0)))
    }
}

/// As prost does with a schema in which they are doubles.
struct Strict;

impl Behaviour for Strict {
    fn decode(&self, _dialect: Dialect, bytes: &Bytes) -> Result<GenerationRequest, Status> {
        Conformant.decode(Dialect::CyLlm, bytes)
    }
}

/// Reads all and uses some.
struct Speaks(fn(Sampling) -> Sampling);

impl Behaviour for Speaks {
    fn speak(&self, request: &GenerationRequest) -> Script {
        Conformant.speak(&with(request, self.0))
    }
}
