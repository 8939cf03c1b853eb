//! SAMPLING-006.

use ai_inference_proto::{GenerationRequest, Sampling};
use tonic::Status;

use super::illegal::{Parameter, refused};
use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// top_p above 1 is INVALID_ARGUMENT.
    ///
    /// # Why it matters
    /// top_p is a share of the probability. A client that sends 90 means nine tenths and gets the whole distribution, and
    /// nothing tells it so.
    ///
    /// # How it is checked
    /// A request with top_p of exactly 1 must be served. Requests with 1.01, 1.5, 2, 90 and a million must be refused with
    /// INVALID_ARGUMENT before any response; then the server must still serve.
    ///
    /// # What a violation looks like
    /// Text, as if nothing were wrong with the number.
    ///
    /// # References
    /// Contract, SAMPLING-006.
    id: "SAMPLING-006",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "top_p above 1 is INVALID_ARGUMENT",
    check: check,
    mutant: TakesMoreThanOne, fault: "top_p above 1 is accepted", seen_as: "top_p 1.01 was answered OK",
}

const ILLEGAL: [f64; 5] = [1.01, 1.5, 2.0, 90.0, 1e6];

async fn check(probe: &Probe) -> Judgement {
    let mut whole = probe.request(4);
    whole.sampling = whole.sampling.map(|sampling| Sampling { top_p: 1.0, ..sampling });
    probe.predict(whole).await?.served()?;
    refused(probe, Parameter::TopP, &ILLEGAL).await?;
    probe.still_serves("values of top_p above 1").await
}

#[derive(Default)]
struct TakesMoreThanOne;

impl Behaviour for TakesMoreThanOne {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        let sampling = request.sampling.map(|s| Sampling { top_p: s.top_p.min(1.0), ..s });
        state.admit(&GenerationRequest { sampling, ..request.clone() })
    }
}
