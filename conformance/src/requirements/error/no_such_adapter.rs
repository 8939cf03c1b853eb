//! ERROR-008.

use ai_inference_proto::GenerationRequest;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::{Generation, Probe, quote},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// An adapter that does not exist is NOT_FOUND or INVALID_ARGUMENT, not ignored.
    ///
    /// # Why it matters
    /// An adapter is what makes the model this customer's. Without it the base model answers in fluent text, and nothing says
    /// that it is the wrong one.
    ///
    /// # How it is checked
    /// Requests name adapters that do not exist: a plain name, one with a folder in it, and one that is not ASCII, each of them
    /// twice and with a number that no other run has. Each must be refused with NOT_FOUND or INVALID_ARGUMENT before any
    /// response, the second time as well; then the server must still serve without an adapter.
    ///
    /// # What a violation looks like
    /// The base model's text.
    ///
    /// # References
    /// Contract, ERROR-008; the interface contract, `StreamPredictRequest.adapter`.
    id: "ERROR-008",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "an adapter that does not exist is NOT_FOUND or INVALID_ARGUMENT",
    check: check,
    mutant: IgnoresAdapter, fault: "an adapter that does not exist is ignored", seen_as: "which does not exist, was answered OK",
}

/// The right refusals.
const ACCEPTED: [Code; 2] = [Code::NotFound, Code::InvalidArgument];
const NAMES: [&str; 3] = ["no-such-adapter", "no/such/adapter", "没有的适配器"];
/// What failed to load once may be taken for loaded the second time.
const TIMES: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    for name in NAMES {
        let adapter = format!("{name}-{:08x}", probe.random(u32::MAX as usize));
        for _ in 0..TIMES {
            let request = GenerationRequest { adapter: adapter.clone(), ..probe.request(4) };
            refused(probe, &probe.predict(request).await?)?;
        }
    }
    probe.still_serves("requests for adapters that do not exist").await
}

fn refused(probe: &Probe, generation: &Generation) -> Judgement {
    if generation.end.is_full() {
        let told = generation.end.told();
        return Err(NotPassed::Inconclusive(format!(
            "a request with an adapter {told}: nothing was looked at"
        )));
    }
    let because = format!("the adapter {}, which does not exist,", quote(&generation.request.adapter, 60));
    generation.refused(&ACCEPTED, &because)?;
    probe.assert(true, String::new)
}

#[derive(Default)]
struct IgnoresAdapter;

impl Behaviour for IgnoresAdapter {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        state.admit(&GenerationRequest { adapter: String::new(), ..request.clone() })
    }
}
