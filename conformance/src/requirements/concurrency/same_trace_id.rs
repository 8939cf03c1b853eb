//! CONCURRENCY-015.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ai_inference_proto::{GenerationRequest, GenerationResponse};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::Status;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::{Generation, Probe, StreamItem, is_refused, quote, wire::Connection},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Two calls at once that carry the same trace_id are each answered in full, each with its own text and index.
    ///
    /// # Why it matters
    /// A trace_id is the client's, and clients repeat it: a retry after a lost connection, a request that a gateway sends to two
    /// models, a constant in a script. A server that finds its streams by trace_id gives one user the other's text.
    ///
    /// # How it is checked
    /// Two requests with different prompts are run one after the other, and then at once under two trace_ids: that shows their
    /// texts, and how long they take. Then they run at once under one trace_id: on one connection, on two connections with
    /// the second begun when the first has text, and with the same prompt for both. Each call must end OK with its last
    /// message, with the indexes and the text that it had under a trace_id of its own. What is late or refused under one
    /// trace_id, twice, and served under two, is a failure. Where the texts differ from time to time, or are the same
    /// for both prompts, the check says that it cannot tell whose text came.
    ///
    /// # What a violation looks like
    /// One call gets the responses of both, and the other gets none and hangs; or the second is refused.
    ///
    /// # References
    /// Contract, CONCURRENCY-015, STREAM-014.
    id: "CONCURRENCY-015",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "two calls with one trace_id are each answered in full",
    check: check,
    mutant: StreamsByTraceId, fault: "one hangs, the other gets both texts", seen_as: "got the responses of both",
}

/// Tokens: enough for the two to overlap.
const TOKENS: i64 = 24;
/// Two of them that have different texts are asked.
const PROMPTS: [&str; 5] = [
    "Here is a short story about rivers",
    "Write a few lines about old clocks",
    "春天的河水流过小镇。",
    "1, 2, 3, 4, 5,",
    "🚀✨ emoji: 😀",
];
/// Both are served in so many times what they need under two trace_ids, and this long.
const SLOWER: u32 = 4;
const SLACK: Duration = Duration::from_secs(1);
/// One late answer is the machine's, and one refusal other clients'.
const TRIES: usize = 2;
/// Before another try: the slots of the one before are free by then.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How two calls come together.
#[derive(Clone, Copy, Debug)]
enum Way {
    OneConnection,
    /// The second begins when the first has text.
    Behind,
    SamePrompt,
}

impl Way {
    const ALL: [Self; 3] = [Self::OneConnection, Self::Behind, Self::SamePrompt];

    const fn told(self) -> &'static str {
        match self {
            Self::OneConnection => "two calls at once on one connection, under one trace_id",
            Self::Behind => "two calls at once on two connections, under one trace_id",
            Self::SamePrompt => "two calls at once with the same prompt, under one trace_id",
        }
    }
}

async fn check(probe: &Probe) -> Judgement {
    let alone = two_alone(probe).await?;
    let asked = [&alone[0].request.prompt, &alone[1].request.prompt];
    let connections = probe.connections(2).await?;
    let (own, usual) = under_two(probe, asked, &connections).await?;
    for way in Way::ALL {
        let mut wrong = Vec::new();
        while wrong.len() < TRIES {
            match together(probe, asked, &connections, way, usual * SLOWER + SLACK).await? {
                Pair::Served(pair) => {
                    for (at, generation) in pair.iter().enumerate() {
                        let expected = if matches!(way, Way::SamePrompt) { 0 } else { at };
                        judge(probe, way, generation, &alone[expected], &own[expected], &alone)?;
                    }
                    break;
                }
                Pair::Not(why) => {
                    wrong.push(why);
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
        if wrong.len() == TRIES {
            under_two(probe, asked, &connections).await?;
        }
        probe.assert(wrong.len() < TRIES, || {
            format!(
                "of {} {}, and in a second try {}; under two trace_ids both are served",
                way.told(),
                wrong[0],
                wrong[1]
            )
        })?;
    }
    told_apart(&alone, &own)
}

/// Two requests alone, on prompts that have different texts where there are any.
async fn two_alone(probe: &Probe) -> Result<[Generation; 2], NotPassed> {
    let first = probe.predict(ask(probe, PROMPTS[0])).await?;
    let text = first.served()?.text();
    let mut second = None;
    for prompt in &PROMPTS[1..] {
        let generation = probe.predict(ask(probe, prompt)).await?;
        let other = generation.served()?.text() != text;
        second = Some(generation);
        if other {
            break;
        }
    }
    let second = second.ok_or_else(|| NotPassed::Harness("there is no second prompt".to_owned()))?;
    Ok([first, second])
}

/// Whether a wrong text would have been seen.
fn told_apart(alone: &[Generation], own: &[Generation]) -> Judgement {
    let cause = if alone[0].text() == alone[1].text() {
        "the server gives the same text to two prompts"
    } else if alone.iter().zip(own).any(|(alone, own)| alone.text() != own.text()) {
        "a greedy request gives another text the second time"
    } else {
        return Ok(());
    };
    Err(NotPassed::Inconclusive(format!(
        "{cause}: both calls under one trace_id were answered to their ends, but whose text they got cannot be seen"
    )))
}

/// Both at once under a trace_id each, and how long that takes.
async fn under_two(
    probe: &Probe,
    asked: [&String; 2],
    connections: &[Connection],
) -> Result<(Vec<Generation>, Duration), NotPassed> {
    let mut end = None;
    for _ in 0..TRIES {
        let began = Instant::now();
        let requests = asked.map(|prompt| ask(probe, prompt)).to_vec();
        let generations = probe.at_once(&connections[..1], requests, probe.patience()).await?;
        let Some(refused) = generations.iter().find(|generation| is_refused(generation)) else {
            for generation in &generations {
                generation.served().map_err(|why| why.when("of two calls at once under two trace_ids"))?;
            }
            return Ok((generations, began.elapsed()));
        };
        end = Some(refused.end.clone());
        tokio::time::sleep(BACK_OFF).await;
    }
    Err(NotPassed::Inconclusive(format!(
        "the server takes no two calls at once, under whatever trace_ids: one of them {}",
        end.map(|end| end.told()).unwrap_or_default()
    )))
}

/// What came of two calls under one trace_id.
enum Pair {
    Served(Vec<Generation>),
    /// One of them was refused or is late, in words.
    Not(String),
}

async fn together(
    probe: &Probe,
    asked: [&String; 2],
    connections: &[Connection],
    way: Way,
    limit: Duration,
) -> Result<Pair, NotPassed> {
    let first = ask(probe, asked[0]);
    let second = match way {
        Way::SamePrompt => first.clone(),
        _ => GenerationRequest { metadata: first.metadata.clone(), ..ask(probe, asked[1]) },
    };
    let elsewhere = if matches!(way, Way::Behind) { connections.last() } else { connections.first() };
    let mut streams = Vec::new();
    let mut before = Vec::new();
    for (request, connection) in [(&first, connections.first()), (&second, elsewhere)] {
        let Some(connection) = connection else { continue };
        let mut stream = probe.streamer().with_patience(limit * 2).open(connection).await;
        stream.send(request);
        stream.half_close();
        if matches!(way, Way::Behind)
            && before.is_empty()
            && let Ok(StreamItem::Response(response)) = timeout(limit, stream.next()).await
        {
            before.push(*response);
        }
        streams.push(stream);
    }
    let reading = streams
        .into_iter()
        .zip([first, second])
        .map(|(stream, request)| async move { timeout(limit, stream.finish(request)).await.ok() });
    let read = futures_util::future::join_all(reading).await;
    let late = read.iter().filter(|generation| generation.is_none()).count();
    let mut pair: Vec<Generation> = read.into_iter().flatten().collect();
    if late == 0
        && let Some(first) = pair.first_mut()
    {
        first.responses.splice(0..0, before);
    }
    if let Some(refused) =
        pair.iter().find(|generation| generation.responses.is_empty() && !generation.end.is_ok())
    {
        return Ok(Pair::Not(format!("one {}", refused.end.told())));
    }
    // What the other one got says more than that one is late.
    let twice = pair.iter().find(|g| g.responses.iter().filter(|r| r.message.end_of_stream).count() > 1);
    Ok(match (late, twice) {
        (0, _) => Pair::Served(pair),
        (_, Some(_)) => Pair::Not("one got the responses of both and the other had no end".to_owned()),
        (late, None) => Pair::Not(format!(
            "{} had no end within {:.1} s",
            if late == 1 { "one" } else { "both" },
            limit.as_secs_f64()
        )),
    })
}

/// One of the two: in full, with its own indexes and its own text.
fn judge(
    probe: &Probe,
    way: Way,
    generation: &Generation,
    alone: &Generation,
    own: &Generation,
    all: &[Generation],
) -> Judgement {
    let circumstance = format!("of {}", way.told());
    generation.served().map_err(|why| why.when(&circumstance))?;
    probe.assert(generation.reached_its_end() || !alone.reached_its_end(), || {
        format!("{circumstance}, one {} without a last message", generation.end.told())
    })?;
    let indexes = |g: &Generation| g.responses.iter().map(|r| r.message.index).collect::<Vec<_>>();
    let dense = |indexes: &[i64]| indexes.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let (seen, before) = (indexes(generation), indexes(alone));
    if dense(&before) {
        probe.assert(dense(&seen) && seen.first() == before.first(), || {
            format!("{circumstance}, one had the indexes {}", around_the_gap(&seen))
        })?;
    }
    let text = generation.text();
    if text == alone.text() {
        return Ok(());
    }
    let other = all.iter().map(Generation::text).any(|other| other == text && other != alone.text());
    probe.assert(!other, || format!("{circumstance}, one got the other's text, {}", quote(&text, 60)))?;
    // Beside another call the text was the same as alone: then it is no matter of batches.
    probe.assert(own.text() != alone.text(), || {
        let (text, usual) = (quote(&text, 60), quote(&alone.text(), 60));
        format!("{circumstance}, one got the text {text}; under a trace_id of its own it gets {usual}")
    })
}

/// The indexes around the first that does not follow the one before it.
fn around_the_gap(indexes: &[i64]) -> String {
    let at = indexes.windows(2).position(|pair| pair[1] != pair[0] + 1).unwrap_or_default();
    let few: Vec<_> = indexes.iter().skip(at.saturating_sub(1)).take(5).map(i64::to_string).collect();
    few.join(", ")
}

fn ask(probe: &Probe, prompt: &str) -> GenerationRequest {
    GenerationRequest { prompt: prompt.to_owned(), ..probe.request(TOKENS) }
}

type Item = Result<GenerationResponse, Status>;

/// Finds the stream of a response by its trace_id: the first of two calls gets the responses of both.
#[derive(Default)]
struct StreamsByTraceId {
    streams: Arc<Mutex<HashMap<String, mpsc::Sender<Item>>>>,
}

impl Behaviour for StreamsByTraceId {
    fn respond(&self, request: &GenerationRequest, mut responses: Responses) -> Responses {
        let (sender, receiver) = mpsc::channel(8);
        let (streams, trace_id) = (Arc::clone(&self.streams), request.trace_id().to_owned());
        let mut known = streams.lock().unwrap_or_else(PoisonError::into_inner);
        let first = known.get(&trace_id).filter(|first| !first.is_closed() && !trace_id.is_empty());
        let (to, is_first) = (first.unwrap_or(&sender).clone(), first.is_none());
        if is_first {
            known.insert(trace_id.clone(), sender);
        }
        drop(known);
        tokio::spawn(async move {
            while let Some(response) = responses.next().await {
                if to.send(response).await.is_err() {
                    break;
                }
            }
            if is_first {
                streams.lock().unwrap_or_else(PoisonError::into_inner).remove(&trace_id);
            }
        });
        if is_first { Box::pin(ReceiverStream::new(receiver)) } else { Box::pin(tokio_stream::pending()) }
    }
}
