//! CONCURRENCY-001.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ai_inference_proto::GenerationRequest;

use crate::{
    exemplar::{Behaviour, Responses, rewrite},
    probe::{Generation, Probe, quote},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// 32 parallel streams never see another's trace_id or text.
    ///
    /// # Why it matters
    /// It is the fault that ends a company: one user reads another's answer. It comes from shared buffers, reused
    /// slots and responses matched by position, and only under load.
    ///
    /// # How it is checked
    /// 32 greedy generations with different prompts, in several scripts, are run one after the other, and then all at
    /// once over four connections, up to three times. Every response must carry its own stream's trace_id, and a stream
    /// whose indexes are in order when it runs alone must have them in order beside others. Each text is compared with
    /// what the stream gave alone. A difference by itself is no fault (kernels that are not batch-invariant,
    /// CONCURRENCY-002); a piece of another stream's text in its place is, and so are two chunks of its own in each
    /// other's place, and a character that is broken beside others and whole alone. Only a piece that a single other
    /// stream has is evidence: what several say is a phrase of the model's, which it may fall into by itself. Two such
    /// pieces fail the server, and so do phrases in many streams; a single piece is reported as inconclusive.
    ///
    /// # What a violation looks like
    /// A response under another trace_id; a chunk that belongs to a neighbour's story.
    ///
    /// # References
    /// Contract, CONCURRENCY-001.
    id: "CONCURRENCY-001",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    since: "0.1.0",
    title: "parallel streams never see each other",
    check: check,
    mutant: LeaksChunks, fault: "a chunk goes to another stream", seen_as: "another stream",
}

const STREAMS: usize = 32;
const CONNECTIONS: usize = 4;
const TOKENS: i64 = 48;
/// The same for a server on which they would take longer one by one.
const FEWER_TOKENS: i64 = 16;
const ONE_BY_ONE: Duration = Duration::from_millis(600);
const ROUNDS: u32 = 3;
/// More rounds than the first are run only where one is quick.
const QUICK: Duration = Duration::from_secs(1);
/// Pieces of a neighbour's text that cannot be chance.
const LEAKS: usize = 2;
/// A phrase of the model's, or a piece at a text's very end, may be a divergence of its own; so many are not.
const WEAK_LEAKS: usize = 8;
/// Fewer different texts than this, and a mix-up could hide.
const LEAST_DISTINCT: usize = 8;

const TOPICS: [&str; STREAMS] = [
    "rivers",
    "bread",
    "春天的河水",
    "gravity",
    "violins",
    "the moon",
    "蜜蜂",
    "chess",
    "volcanoes",
    "丝绸之路",
    "clocks",
    "whales",
    "paper",
    "salt",
    "桥和船",
    "maps",
    "tea",
    "iron",
    "玻璃",
    "dreams",
    "snow",
    "emoji 🚀✨",
    "lighthouses",
    "numbers",
    "deserts",
    "ships",
    "emoji 😀👍🏽",
    "forests",
    "kings",
    "wool",
    "彗星",
    "coffee",
];

async fn check(probe: &Probe) -> Judgement {
    let prompts: Vec<String> = TOPICS.iter().map(|t| format!("Here is a short story about {t}")).collect();
    let began = Instant::now();
    let mut alone = Vec::new();
    probe.predict(ask(probe, &prompts[0], TOKENS)).await?.served()?;
    let room = ONE_BY_ONE.as_secs_f64() / (began.elapsed().as_secs_f64() * STREAMS as f64);
    let tokens = ((TOKENS as f64 * room) as i64).clamp(FEWER_TOKENS, TOKENS);
    for prompt in &prompts {
        let generation = probe.predict(ask(probe, prompt, tokens)).await?;
        generation.served()?;
        alone.push(generation);
    }
    let again = probe.predict(ask(probe, &prompts[0], tokens)).await?.text();
    // A server may queue them all for one slot.
    let patience = probe.patience() + began.elapsed();
    let own_texts: Vec<String> = alone.iter().map(Generation::text).collect();
    let mut leaks = Vec::new();
    let mut weak = Vec::new();
    let mut turned = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let together = all_at_once(probe, &prompts, tokens, patience).await?;
        for (at, generation) in together.iter().enumerate() {
            if in_order(&alone[at]) {
                probe.assert(in_order(generation), || {
                    format!(
                        "a stream whose responses are in order when it runs alone has the indexes {} beside others",
                        indexes(generation)
                    )
                })?;
            }
            let text = generation.text();
            let broken = text.contains('\u{FFFD}') && !own_texts[at].contains('\u{FFFD}');
            probe.assert(!broken, || {
                format!(
                    "a text that is whole when its stream runs alone is broken beside others: {}",
                    quote(&text, 80)
                )
            })?;
            if let Some(words) = swapped_within(generation, &alone[at]) {
                turned.push(words);
                continue;
            }
            let leak = swapped(generation, &alone, at).or_else(|| foreign(&text, &own_texts[at], &own_texts));
            match leak {
                Some(Leak { piece, strong: true }) => leaks.push(piece),
                Some(Leak { piece, strong: false }) => weak.push(piece),
                None => {}
            }
        }
        if leaks.len() >= LEAKS || turned.len() >= LEAKS || began.elapsed() > QUICK {
            break;
        }
    }
    probe.assert(leaks.len() < LEAKS, || {
        format!("{} streams carried text of another stream: {}", leaks.len(), leaks[0])
    })?;
    probe.assert(turned.len() < LEAKS, || {
        format!(
            "{} streams had two chunks of their text in each other's place beside others: {}",
            turned.len(),
            turned[0]
        )
    })?;
    probe.assert(weak.len() < WEAK_LEAKS, || {
        format!("{} streams said what another stream says, in its place: {}", weak.len(), weak[0])
    })?;
    if let [leak] = leaks.as_slice() {
        return Err(NotPassed::Inconclusive(format!(
            "one stream seemed to carry text of another stream: {leak}"
        )));
    }
    let distinct = own_texts.iter().collect::<BTreeSet<_>>().len();
    if again != own_texts[0] || distinct < LEAST_DISTINCT {
        return Err(NotPassed::Inconclusive(format!(
            "every trace_id was right, but texts could not be told apart: {distinct} different texts for {STREAMS} \
             prompts, {} when asked again",
            if again == own_texts[0] { "repeated" } else { "others" }
        )));
    }
    Ok(())
}

fn ask(probe: &Probe, prompt: &str, tokens: i64) -> GenerationRequest {
    GenerationRequest { prompt: prompt.to_owned(), ..probe.request(tokens) }
}

/// Whether each response has the index that follows the one before it.
fn in_order(generation: &Generation) -> bool {
    generation.responses.windows(2).all(|pair| pair[1].message.index == pair[0].message.index + 1)
}

/// The indexes around the first that is out of order.
fn indexes(generation: &Generation) -> String {
    let all: Vec<i64> = generation.responses.iter().map(|r| r.message.index).collect();
    let at = all.windows(2).position(|pair| pair[1] != pair[0] + 1).unwrap_or_default();
    let few: Vec<_> = all[at.saturating_sub(1)..(at + 4).min(all.len())].iter().map(i64::to_string).collect();
    few.join(", ")
}

/// Two chunks of a stream's own text in each other's place, and everything else as it is alone: no kernel does that.
fn swapped_within(generation: &Generation, alone: &Generation) -> Option<String> {
    let chunks =
        |g: &Generation| -> Vec<String> { g.text_bearing().map(|r| r.message.chunk.clone()).collect() };
    let (seen, own) = (chunks(generation), chunks(alone));
    let places: Vec<usize> = (0..seen.len().max(own.len())).filter(|i| seen.get(*i) != own.get(*i)).collect();
    let [first, second] = places.as_slice() else { return None };
    let swapped = seen.get(*first) == own.get(*second) && seen.get(*second) == own.get(*first);
    swapped.then(|| format!("{} before {}", quote(&seen[*first], 40), quote(&seen[*second], 40)))
}

/// Runs all prompts at once and checks every trace_id.
async fn all_at_once(
    probe: &Probe,
    prompts: &[String],
    tokens: i64,
    patience: Duration,
) -> Result<Vec<Generation>, NotPassed> {
    let connections = probe.connections(CONNECTIONS).await?;
    let mut streams = Vec::new();
    for (at, prompt) in prompts.iter().enumerate() {
        let request = ask(probe, prompt, tokens);
        let (streamer, connection) =
            (probe.streamer().with_patience(patience), connections[at % connections.len()].clone());
        streams.push(tokio::spawn(async move {
            let mut stream = streamer.open(&connection).await;
            stream.send(&request);
            stream.half_close();
            stream.finish(request).await
        }));
    }
    let mut generations = Vec::new();
    for stream in streams {
        let mut generation = stream.await.map_err(|e| NotPassed::Harness(e.to_string()))?;
        for response in &generation.responses {
            let (theirs, own) = (&response.message.trace_id, generation.request.trace_id());
            probe.assert(theirs == own, || {
                format!("the stream {own} got a response of another stream, {theirs}")
            })?;
        }
        if generation.end.is_turned_away() {
            generation = probe.predict(generation.request).await?;
        }
        generation.served().map_err(|why| why.when(&format!("of {STREAMS} parallel streams")))?;
        generations.push(generation);
    }
    Ok(generations)
}

/// A piece of another stream's text.
#[derive(Debug, PartialEq, Eq)]
struct Leak {
    piece: String,
    /// The model cannot well have said it by itself.
    strong: bool,
}

/// Chunks that stand where another stream has them, token by token.
///
/// A divergence of the model's own goes on to the end in words of its own. A swap returns to the stream's own text, or
/// goes on in the very words of one other stream at the very same places.
fn swapped(generation: &Generation, alone: &[Generation], at: usize) -> Option<Leak> {
    const LONG: usize = 4;
    let chunks =
        |g: &Generation| -> Vec<String> { g.text_bearing().map(|r| r.message.chunk.clone()).collect() };
    let (seen, own) = (chunks(generation), chunks(&alone[at]));
    let places: Vec<usize> = (0..seen.len().max(own.len())).filter(|i| seen.get(*i) != own.get(*i)).collect();
    let (first, last) = (*places.first()?, *places.last()?);
    let others: Vec<_> = alone.iter().map(chunks).collect();
    let has = |other: &Vec<String>, place: &usize| {
        seen.get(*place).is_some() && other.get(*place) == seen.get(*place)
    };
    let one_other = others.iter().any(|other| places.iter().all(|place| has(other, place)));
    let any_other = places.iter().all(|place| others.iter().any(|other| has(other, place)));
    let piece = quote(seen.get(first).map_or("", String::as_str), 40);
    // Four times the same word is what weak models fall into by themselves.
    let varied = places.iter().map(|place| seen.get(*place)).collect::<BTreeSet<_>>().len() >= LONG;
    if one_other && varied {
        return Some(Leak { piece, strong: true });
    }
    let few = any_other && seen.len() == own.len() && places.len() <= own.len() / 4;
    let texts: Vec<String> = others.iter().map(|chunks| chunks.concat()).collect();
    let distinctive = || places.iter().any(|place| has_one_source(&seen[*place], &texts));
    few.then(|| Leak { piece, strong: last + 2 < own.len() && distinctive() })
}

/// A single text holds the piece, and it is long enough to say something. What several hold is a phrase.
fn has_one_source(piece: &str, texts: &[String]) -> bool {
    const LONG: usize = 4;
    let piece = piece.trim();
    let sources: BTreeSet<_> = texts.iter().filter(|text| text.contains(piece)).collect();
    piece.len() >= LONG && sources.len() == 1
}

/// The piece of `text` that is not the stream's own but stands in another stream's text, if there is one.
///
/// `text` and `own` share a beginning. What follows is foreign if it returns to the stream's own text after a piece of
/// another's, or if it goes on in another's words for long.
fn foreign(text: &str, own: &str, all: &[String]) -> Option<Leak> {
    const RESUMED: usize = 6;
    const LONG: usize = 24;
    let text: Vec<char> = text.chars().collect();
    let own: Vec<char> = own.chars().collect();
    let head = text.iter().zip(&own).take_while(|(a, b)| a == b).count();
    let (rest, own_rest) = (&text[head..], &own[head..]);
    if rest.is_empty() {
        return None;
    }
    let tail = rest.iter().rev().zip(own_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let piece: String = rest[..rest.len() - tail].iter().collect();
    let elsewhere = |piece: &str| {
        let own: String = own.iter().collect();
        piece.chars().count() > 1 && !own.contains(piece) && all.iter().any(|other| other.contains(piece))
    };
    let resumed = tail >= RESUMED && elsewhere(&piece);
    let long: String = rest.iter().take(LONG).collect();
    let went_on = rest.len() >= LONG && elsewhere(&long);
    let piece = if resumed { piece } else { long };
    (resumed || went_on).then(|| Leak { piece: quote(&piece, 40), strong: has_one_source(&piece, all) })
}

/// While other streams run, the fourth chunk of each comes from the stream before it.
#[derive(Default)]
struct LeaksChunks {
    parked: Arc<Mutex<Option<String>>>,
    running: Arc<()>,
}

impl Behaviour for LeaksChunks {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let parked = Arc::clone(&self.parked);
        let running = Arc::clone(&self.running); // one for the mutant itself, and one a stream
        rewrite(responses, move |mut message| {
            if message.index == 3 && Arc::strong_count(&running) > 2 {
                let own = std::mem::take(&mut message.chunk);
                let before = parked.lock().unwrap_or_else(PoisonError::into_inner).replace(own.clone());
                message.chunk = before.unwrap_or(own);
            }
            vec![message]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbours_words_are_foreign_and_a_divergence_is_not() {
        let alone = [
            "the river bends toward a quiet town".to_owned(),
            "bread is baked before the sun rises".to_owned(),
        ];
        let seen = |text: &str| foreign(text, &alone[0], &alone).map(|leak| (leak.piece, leak.strong));
        assert_eq!(seen(&alone[0]), None);
        assert_eq!(seen("the river bread is toward a quiet town"), Some(("\"read i\"".into(), true)));
        assert!(
            seen("the river bends toward a bread is baked before the sun").is_some(),
            "it goes on in other words"
        );
        assert_eq!(seen("the river bends slowly to the sea, as ever"), None, "another continuation");
        assert_eq!(seen("the river"), None, "cut short");
    }

    #[test]
    fn what_several_streams_say_is_a_phrase_and_no_proof() {
        let alone = [
            "the river bends toward a quiet town".to_owned(),
            "bread in a small village by the sea".to_owned(),
            "violins in a small village by the hill".to_owned(),
        ];
        let leak = foreign("the river bends in a small village by the", &alone[0], &alone).unwrap();
        assert!(!leak.strong, "{leak:?}");
    }
}
