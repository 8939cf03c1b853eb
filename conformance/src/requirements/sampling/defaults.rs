//! SAMPLING-001.

use std::collections::BTreeSet;

use ai_inference_proto::{GenerationRequest, Sampling};
use futures_util::future::join_all;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A request without `generation` is served with defaults.
    ///
    /// # Why it matters
    /// In proto3 every parameter is optional, and the documented client leaves most of them out.
    ///
    /// # How it is checked
    /// A request without a `generation` message and one with an empty one are sent; each must be served with text. Then
    /// greedy requests with max_new_tokens of 8, of 32 and unset: where 32 gives more text than 8, unset must too (which
    /// number unset means is SAMPLING-010's). At last six requests are sent with temperature and top_p unset, and six with
    /// the documented 0.7 and 0.9: where the latter give six different texts, the former may not all be one text, as if
    /// unset were greedy.
    ///
    /// # What a violation looks like
    /// INVALID_ARGUMENT; an empty text because unset was read as zero tokens; the same text each time because an unset
    /// temperature was read as zero.
    ///
    /// # References
    /// Contract, section 5 and SAMPLING-001; Protocol Buffers, "Default values".
    id: "SAMPLING-001",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "a request without generation is served with defaults",
    check: check,
    mutant: WantsGeneration, fault: "a request without generation is INVALID_ARGUMENT", seen_as: "INVALID_ARGUMENT",
}

async fn check(probe: &Probe) -> Judgement {
    let asked = [None, Some(Sampling::default())].map(|sampling| {
        let request = GenerationRequest { sampling, ..probe.request(8) };
        Box::pin(probe.predict(request))
    });
    for generation in join_all(asked).await {
        generation?.served()?;
        probe.assert(true, String::new)?;
    }
    // Not read as zero, nor as a handful: more than eight, where the model has more than eight to say.
    let (eight, more, unset) = tokio::try_join!(length(probe, 8), length(probe, 32), length(probe, 0))?;
    probe.assert(unset > eight || more <= eight, || {
        format!("max_new_tokens unset gave {unset} bytes of text, 8 gave {eight} and 32 gave {more}; unset means 256")
    })?;
    spread(probe).await
}

/// Unset is 0.7 and 0.9: not one and the same text each time, where those give another each time.
async fn spread(probe: &Probe) -> Judgement {
    let documented = texts(probe, Sampling { temperature: 0.7, top_p: 0.9, ..Sampling::default() }).await?;
    if documented.len() < DRAWS {
        return Ok(()); // the model says the same by itself now and then: nothing can be told from it
    }
    let unset = texts(probe, Sampling::default()).await?;
    probe.assert(unset.len() > 1, || {
        format!(
            "temperature and top_p unset gave the same text {DRAWS} times, 0.7 and 0.9 gave {DRAWS} different ones: unset \
             is read as greedy"
        )
    })
}

/// The different texts among some generations at once.
async fn texts(probe: &Probe, sampling: Sampling) -> Result<BTreeSet<String>, NotPassed> {
    let sampling = Some(Sampling { max_new_tokens: DRAWN_TOKENS, ..sampling });
    let draws =
        (0..DRAWS).map(|_| Box::pin(probe.predict(GenerationRequest { sampling, ..probe.request(1) })));
    let mut texts = BTreeSet::new();
    for generation in join_all(draws).await {
        texts.insert(generation?.served()?.text());
    }
    Ok(texts)
}

/// So many draws cannot all be equal by chance where as many others are all different.
const DRAWS: usize = 6;
const DRAWN_TOKENS: i64 = 16;

/// Bytes of a greedy text.
async fn length(probe: &Probe, max_new_tokens: i64) -> Result<usize, NotPassed> {
    let generation = probe.predict(probe.request(max_new_tokens)).await?;
    Ok(generation.served()?.text().len())
}

#[derive(Default)]
struct WantsGeneration;

impl Behaviour for WantsGeneration {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        if request.sampling.is_none() {
            return Err(Status::invalid_argument("generation is missing"));
        }
        state.admit(request)
    }
}
