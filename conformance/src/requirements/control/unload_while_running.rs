//! CONTROL-008.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ai_inference_proto::{ControlMessage, GenerationRequest};
use futures_util::StreamExt as _;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, Responses, State},
    probe::{
        Generation, Probe, Unloadable, status,
        wire::{End, time},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Unloading while a generation runs lets that generation finish or ends it with a non-OK status; it never ends OK and
    /// cut short.
    ///
    /// # Why it matters
    /// Half an answer that ends OK is believed, stored and billed. An operator who makes room for another model must not
    /// damage the answers that are under way, not without their clients learning of it.
    ///
    /// # How it is checked
    /// A generation of a quarter of a second or more shows the whole greedy text. Then two more of the same are started,
    /// each on a connection of its own, and when one has brought its first text the model is unloaded; the same once more.
    /// A generation that ends OK must have its last message and the whole text. One with another status, a reset or a lost
    /// connection tells its client, which is right. Two texts that are only the beginning of the whole one were cut; a single
    /// one is inconclusive, and so is a model whose texts differ, a generation that is over too soon, and a server that does
    /// not unload. At the end the model must be served again.
    ///
    /// # What a violation looks like
    /// Status OK and a last message in the middle of the text, as soon as the model is unloaded.
    ///
    /// # References
    /// Contract, CONTROL-008.
    id: "CONTROL-008",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    unsafe_: true,
    since: "0.1.0",
    title: "unloading never cuts a running generation that ends OK",
    check: check,
    mutant: CutsClean, fault: "unloading ends a running generation OK with half its text", seen_as: "cut short",
}

/// Long enough to unload in the middle of it.
const LASTING: Duration = Duration::from_millis(150);
/// One that is over sooner may end before the server has read the command.
const TOO_SOON: Duration = Duration::from_millis(40);
const AT_ONCE: usize = 2;
const ROUNDS: usize = 2;
/// Tokens of a generation that shows whether the model is served again.
const SHORT: i64 = 4;
/// Texts that are the beginning of the whole one. One may be a tie that a model breaks now so and now so.
const CUTS: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    let model = probe.served_model().await?;
    probe.knows("unload_model").await?;
    let (whole, bound) = probe.lasting(probe.pace().await?, LASTING).await?;
    whole.served()?;
    if whole.took() < TOO_SOON {
        return Err(NotPassed::Inconclusive(format!(
            "a generation of {bound} tokens is over after {}: too soon to unload the model in the middle of it",
            time(whole.took())
        )));
    }
    let (mut cut, mut unlike) = (Vec::new(), 0_usize);
    for _ in 0..ROUNDS {
        let ended = unloaded_beside(probe, &model, bound).await;
        model.bring_back(SHORT).await?;
        for generation in ended? {
            match judge(probe, &generation, &whole)? {
                Text::Whole => {}
                Text::Cut(bytes) => cut.push(bytes),
                Text::Unlike => unlike += 1,
            }
        }
        if cut.len() >= CUTS {
            break;
        }
    }
    let length = whole.text().len();
    probe.assert(cut.len() < CUTS, || {
        format!(
            "{} generations that ran when their model was unloaded ended OK and cut short: after {} of {length} bytes",
            cut.len(),
            cut.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
        )
    })?;
    match (cut.first(), unlike) {
        (Some(bytes), _) => Err(NotPassed::Inconclusive(format!(
            "one generation ended OK after {bytes} of {length} bytes when its model was unloaded: it was cut, or the model \
             wavers"
        ))),
        (None, 1..) => Err(NotPassed::Inconclusive(
            "equal greedy requests give different texts: whether one was cut cannot be told".into(),
        )),
        (None, 0) => Ok(()),
    }
}

/// Unloads the model while some generations run, the first of which has begun to speak; how they all ended.
async fn unloaded_beside(
    probe: &Probe,
    model: &Unloadable<'_>,
    bound: i64,
) -> Result<Vec<Generation>, NotPassed> {
    let request = model.request(bound);
    let connections = probe.connections(AT_ONCE).await?;
    let mut running = Vec::new();
    for connection in &connections {
        let mut stream = probe.stream_on(connection).await;
        stream.send(&request);
        stream.half_close();
        // The first has its slot before the others come: they may be refused.
        let first = if running.is_empty() { Some(stream.first_text().await?) } else { None };
        running.push((stream, first));
    }
    model.unload().await?;
    let mut ended = Vec::new();
    for (stream, first) in running {
        let mut generation = stream.finish(request.clone()).await;
        generation.responses.splice(0..0, first);
        ended.push(generation);
    }
    Ok(ended)
}

/// What came of a generation's text.
enum Text {
    /// All of it came, or its client knows that it did not.
    Whole,
    /// So many bytes of it came.
    Cut(usize),
    /// It is another text.
    Unlike,
}

fn judge(probe: &Probe, generation: &Generation, whole: &Generation) -> Result<Text, NotPassed> {
    let looks_whole = match &generation.end {
        End::Status(_) => generation.end.is_ok(),
        End::NoStatus { .. } | End::TimedOut(_) => true, // nothing tells the client that more was to come
        End::Reset(_) | End::Closed(_) | End::Malformed(_) => false,
    };
    let (text, expected) = (generation.text(), whole.text());
    probe.assert(!looks_whole || generation.reached_its_end(), || {
        let (end, count) = (generation.end.told(), generation.responses.len());
        format!("a generation that ran when its model was unloaded {end} after {count} responses, without a last message")
    })?;
    if !looks_whole || text.starts_with(&expected) {
        return Ok(Text::Whole);
    }
    if expected.starts_with(&text) {
        return Ok(Text::Cut(text.len()));
    }
    let as_long = generation.text_bearing().count() >= whole.text_bearing().count();
    Ok(if as_long { Text::Whole } else { Text::Unlike })
}

/// Ends every running generation cleanly when a model is unloaded.
#[derive(Default)]
struct CutsClean {
    unloads: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Behaviour for CutsClean {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let answer = state.control(&message);
        if message.command == "unload_model" && status(&answer) == "ok" {
            self.unloads.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answer)
    }

    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let (unloads, before) = (Arc::clone(&self.unloads), self.unloads.load(Ordering::Relaxed));
        Box::pin(responses.scan(false, move |over, response| {
            let already = *over;
            let response = response.map(|mut message| {
                if unloads.load(Ordering::Relaxed) > before {
                    *over = true;
                    message.end_of_stream = true;
                    message.chunk.clear();
                }
                message
            });
            std::future::ready((!already).then_some(response))
        }))
    }
}
