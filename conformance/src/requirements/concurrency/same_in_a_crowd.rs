//! CONCURRENCY-002.

use std::{sync::Arc, time::Instant};

use ai_inference_proto::{GenerationRequest, Sampling};

use crate::{
    exemplar::{Behaviour, Responses, rewrite},
    probe::{Probe, is_refused, quote},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// 32 parallel greedy streams give what each gives alone (exact on the reference sidecar; a backend whose kernels are
    /// not batch-invariant may say so in its known failures).
    ///
    /// # Why it matters
    /// A user's answer should not depend on who else is asking. A batch that mixes up positions, lengths or sampling
    /// parameters of its members gives text that is wrong and looks right.
    ///
    /// # How it is checked
    /// Eight greedy requests that differ in prompt, in length and in repetition_penalty are each run alone. Then 32 streams
    /// run at once, four of each request, first over four connections and then each on its own where the server takes as many.
    /// Each text is compared with what its request gave alone. Two that differ are a failure, if the
    /// requests still give their first text when they are run alone once more. A single one is inconclusive, and so is
    /// a server whose greedy text differs from one time to the next (SAMPLING-003). What a full server refuses is not looked at; where it takes one at a time, the check says so.
    ///
    /// # What a violation looks like
    /// The text of a stream changes in the middle, ends earlier or goes on longer when others run beside it.
    ///
    /// # References
    /// Contract, CONCURRENCY-002, SAMPLING-003 and CONCURRENCY-006.
    id: "CONCURRENCY-002",
    level: Should,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    since: "0.1.0",
    title: "parallel greedy streams give what each gives alone",
    check: check,
    mutant: BatchChangesText, fault: "batching changes the text", seen_as: "gave another text than alone",
}

/// Streams at once.
const STREAMS: usize = 32;
/// How many connections they are spread over.
const CONNECTIONS: [usize; 2] = [4, STREAMS];
/// A difference that cannot be a tie which the model breaks now so and now so.
const DIFFERENT: usize = 2;
/// Fewer streams at once than this are no crowd.
const LEAST_AT_ONCE: usize = 2;
/// Tokens of each request: members of a batch that leave it at different times.
const TOKENS: [i64; 4] = [24, 8, 16, 20];
/// Each third request asks for this repetition_penalty, so that one batch holds several.
const PENALTY: f64 = 1.3;

const TOPICS: [&str; 8] =
    ["rivers", "bread", "春天的河水", "gravity", "emoji 🚀✨", "clocks", "paper", "玻璃"];

async fn check(probe: &Probe) -> Judgement {
    let began = Instant::now();
    let mut alone = Vec::new();
    for kind in 0..TOPICS.len() {
        alone.push(text_alone(probe, kind).await?);
    }
    let patience = probe.patience() + began.elapsed() * (STREAMS / TOPICS.len() * 2) as u32;
    if text_alone(probe, 0).await? != alone[0] {
        return Err(NotPassed::Inconclusive(
            "the same greedy request gave two texts when it was run alone twice (SAMPLING-003): there is nothing to compare with"
                .into(),
        ));
    }
    let mut different = Vec::new();
    let mut most = 0;
    for count in CONNECTIONS {
        let connections = probe.connections(count).await?;
        let requests = (0..STREAMS).map(|at| ask(probe, at % TOPICS.len())).collect();
        let generations = probe.at_once(&connections, requests, patience).await?;
        let served = || generations.iter().enumerate().filter(|(_, generation)| !is_refused(generation));
        most = most.max(served().count());
        for (at, generation) in served() {
            generation.served().map_err(|why| why.when(&format!("of {STREAMS} parallel streams")))?;
            let (kind, text) = (at % TOPICS.len(), generation.text());
            if text != alone[kind] {
                different.push((kind, text));
            }
        }
    }
    if most < LEAST_AT_ONCE {
        return Err(NotPassed::Inconclusive(format!(
            "of {STREAMS} streams at once the server took {most} and refused the rest: none ran beside another"
        )));
    }
    let Some((kind, text)) = different.first() else { return probe.assert(true, String::new) };
    judge(probe, &alone[*kind], *kind, text, different.len()).await
}

/// Blames the crowd for a text only if its request still gives the same text alone.
async fn judge(probe: &Probe, alone: &str, kind: usize, text: &str, count: usize) -> Judgement {
    let again = text_alone(probe, kind).await?;
    if again != alone {
        return Err(NotPassed::Inconclusive(
            "a greedy request gave another text beside others, and another one again when it was run alone once more".into(),
        ));
    }
    let (own, seen) = around_difference(alone, text);
    if count < DIFFERENT {
        return Err(NotPassed::Inconclusive(format!(
            "one of {} parallel greedy streams gave another text than alone: {seen} in the place of {own}; all others gave the \
             same",
            STREAMS * CONNECTIONS.len()
        )));
    }
    probe.assert(false, || {
        format!(
            "{count} of {} parallel greedy streams gave another text than alone, the first {seen} in the place of {own}; if \
             the backend's kernels are not batch-invariant, list this requirement in its known failures and say so there",
            STREAMS * CONNECTIONS.len()
        )
    })
}

/// The two texts from where they part.
fn around_difference(alone: &str, text: &str) -> (String, String) {
    const BEFORE: usize = 12;
    let same = alone.chars().zip(text.chars()).take_while(|(a, b)| a == b).count();
    let from = |text: &str| quote(&text.chars().skip(same.saturating_sub(BEFORE)).collect::<String>(), 40);
    (from(alone), from(text))
}

async fn text_alone(probe: &Probe, kind: usize) -> Result<String, NotPassed> {
    let generation = probe.predict(ask(probe, kind)).await?;
    Ok(generation.served()?.text())
}

fn ask(probe: &Probe, kind: usize) -> GenerationRequest {
    let request = probe.request(TOKENS[kind % TOKENS.len()]);
    let sampling = request.sampling.map(|sampling| Sampling {
        repetition_penalty: if kind % 3 == 2 { PENALTY } else { sampling.repetition_penalty },
        ..sampling
    });
    GenerationRequest { prompt: format!("Here is a short story about {}", TOPICS[kind]), sampling, ..request }
}

/// While other streams run, the fourth chunk of each has a mark of its own.
#[derive(Default)]
struct BatchChangesText {
    running: Arc<()>,
}

impl Behaviour for BatchChangesText {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let running = Arc::clone(&self.running); // one for the mutant itself, and one a stream
        rewrite(responses, move |mut message| {
            if message.index == 3 && Arc::strong_count(&running) > 2 {
                message.chunk = format!("{}!", message.chunk);
            }
            vec![message]
        })
    }
}
