//! STREAM-016.

use std::sync::atomic::{AtomicBool, Ordering};

use ai_inference_proto::{ControlMessage, GenerationRequest};
use tonic::Status;

use crate::{
    exemplar::{Behaviour, Conformant, Script, State},
    probe::{Generation, Probe, Unloadable, quote, status},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// The answer is the model's alone: no loading, progress or status text is put into chunks. (Seen on a first request after
    /// `unload_model`: its greedy text equals a later one's.)
    ///
    /// # Why it matters
    /// Clients join the chunks and show or store them. "[loading]" in front of an answer breaks every client that reads JSON,
    /// and nobody can take it out again.
    ///
    /// # How it is checked
    /// A greedy text is asked for twice; where the two differ, nothing can be seen. Then the model is unloaded with
    /// `unload_model`, and the same is asked for twice more, with fifteen seconds for the load. The first text after the
    /// unload must begin as the later one does; one that begins otherwise is looked at again, after another unload. A server
    /// that is NOT_FOUND after the unload is asked to load the model; one that does not unload leaves nothing to see.
    ///
    /// # What a violation looks like
    /// The first answer begins with `[loading]`, and later ones do not.
    ///
    /// # References
    /// Contract, STREAM-016 and CONTROL-007; the interface contract, `StreamPredictResponse.chunk`.
    id: "STREAM-016",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "no loading or status text in chunks",
    check: check,
    mutant: SaysLoading, fault: "the first answer after an unload begins with [loading]", seen_as: "[loading]",
}

const TOKENS: i64 = 16;
/// One first text that is unlike the later one may be a tie that the model breaks now so and now so.
const TRIES: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    let model = probe.served_model().await?;
    probe.knows("unload_model").await?;
    let (before, again) = (text(&model).await?, text(&model).await?);
    if before != again {
        return Err(NotPassed::Inconclusive(
            "equal greedy requests give different texts (SAMPLING-003)".to_owned(),
        ));
    }
    let mut odd = Vec::new();
    for _ in 0..TRIES {
        model.unload().await?;
        let first = model.bring_back(TOKENS).await?;
        let later = text(&model).await?;
        if begins_alike(&first, &later) {
            return probe.assert(true, String::new);
        }
        odd.push((first.text(), later));
    }
    let (first, later) = &odd[0];
    probe.assert(later != &before, || {
        format!(
            "the first greedy text after unload_model begins otherwise than later ones, {TRIES} times: {}, later {}; loading and \
             status text does not belong in chunks",
            quote(first, 80),
            quote(later, 60)
        )
    })?;
    Err(NotPassed::Inconclusive("the greedy text after unload_model is another one than before".to_owned()))
}

async fn text(model: &Unloadable<'_>) -> Result<String, NotPassed> {
    Ok(model.predict(TOKENS).await?.served()?.text())
}

/// Whether the first chunk's text begins the later text, or is begun by it. Further on a model may waver.
fn begins_alike(first: &Generation, later: &str) -> bool {
    let chunk = first.text_bearing().next().map_or("", |response| response.message.chunk.as_str());
    let chunk = chunk.trim_end_matches('\u{fffd}');
    first.text() == later || !chunk.is_empty() && later.starts_with(chunk)
}

/// Announces in the answer that it has to load the model.
#[derive(Default)]
struct SaysLoading {
    unloaded: AtomicBool,
}

#[tonic::async_trait]
impl Behaviour for SaysLoading {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let answer = state.control(&message);
        if message.command == "unload_model" && status(&answer) == "ok" {
            self.unloaded.store(true, Ordering::Relaxed);
        }
        Ok(answer)
    }

    fn speak(&self, request: &GenerationRequest) -> Script {
        let mut script = Conformant.speak(request);
        if self.unloaded.swap(false, Ordering::Relaxed) {
            script.tokens.insert(0, "[loading]".to_owned());
        }
        script
    }
}
