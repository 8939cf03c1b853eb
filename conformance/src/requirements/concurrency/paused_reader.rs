//! CONCURRENCY-014.

use std::time::Duration;

use ai_inference_proto::GenerationRequest;
use futures_util::{future::join_all, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::{
    exemplar::{Behaviour, Responses},
    probe::{Generation, Pace, Probe, Response, StreamItem, is_refused, quote},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A reader that pauses (flow-control window full for seconds) loses nothing: every chunk arrives, in order, once.
    ///
    /// # Why it matters
    /// A phone in a tunnel pauses and reads on. A server that replaces what waits for it, or that has a queue of fixed length
    /// and drops what does not fit, gives it a text with holes that nothing reports.
    ///
    /// # How it is checked
    /// A greedy request is run at full speed. Then it is run on two connections whose flow-control window is 512
    /// bytes: one client reads nothing for a second or longer, the other does so after the eighth response; a third client
    /// reads at full speed meanwhile. Both must come to the last message with OK. Where indexes grow by one at full speed,
    /// they must do so here, from the same start. The text must be the one that came at full speed: one with pieces left
    /// out, with pieces twice, or with the same characters in another order, twice, is a failure. Chunks may be cut
    /// elsewhere. A text that differs in another way, a request whose text differs from one time to the next, and a text that
    /// fits into the window make the check inconclusive.
    ///
    /// # What a violation looks like
    /// The index goes from 20 to 75; or the indexes are dense and a part of the text is missing.
    ///
    /// # References
    /// Contract, CONCURRENCY-014, STREAM-005; RFC 9113, section 5.2 (flow control).
    id: "CONCURRENCY-014",
    level: Must,
    dialects: [Contract, CyLlm],
    begins: First,
    since: "0.1.0",
    title: "a reader that pauses loses nothing",
    check: check,
    mutant: NewestReplaces, fault: "the newest chunk replaces those that wait", seen_as: "lost responses",
}

/// How long a reader pauses, at least: longer than a send that gives up after a second.
const PAUSE: Duration = Duration::from_millis(1100);
/// A slower server gets as long as it needs for so many tokens, so that the window is full for most of the pause.
const PAUSE_TOKENS: u32 = 24;
/// The generation, by the server's pace and in tokens: more than usual queues hold.
const LASTING: Duration = Duration::from_millis(600);
const BOUNDS: (i64, i64) = (96, 512);
/// A model's context may be smaller; shorter generations fill no window.
const LEAST_BOUND: i64 = 32;
/// Responses that are read before the pause: by none, and by a reader that pauses in the middle.
const BEFORE_PAUSE: [usize; 2] = [0, 8];
/// Bytes that the target may send before they are read (the narrow connection's window).
const WINDOW: usize = 512;
/// Texts with something lost. One may be a model's that wavers.
const LOSSES: usize = 2;
/// Rounds, the second where the first shows a single loss.
const ROUNDS: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    let pace = probe.pace().await?;
    let (whole, request) = at_full_speed(probe, pace).await?;
    let text = whole.text();
    let pause = PAUSE.max(pace.first + pace.token * PAUSE_TOKENS);
    let mut losses = Vec::new();
    for _ in 0..ROUNDS {
        let (mut paused, read_on) = round(probe, &request, pause, whole.took()).await?;
        if paused.iter().all(is_refused) {
            // It has room for one at a time, and that was the one that did not pause.
            let patience = probe.patience() + pause + whole.took();
            let one = reads_with_a_pause(probe, &request, BEFORE_PAUSE[0], pause, patience);
            paused = vec![one.await?];
        }
        let mut seen = false;
        for generation in paused.iter().filter(|generation| !is_refused(generation)) {
            seen = true;
            arrived(probe, generation, &whole, pause)?;
            losses.extend(difference(&generation.text(), &text, pause)?);
        }
        if !seen {
            return Err(NotPassed::Inconclusive(
                "a full server refused the readers that were to pause".into(),
            ));
        }
        if read_on.as_ref().is_some_and(|other| *other != text) {
            return Err(NotPassed::Inconclusive(
                "a greedy request gave another text the second time, so that a loss would not be seen in the text of a reader that \
                 paused; no index was missing"
                    .into(),
            ));
        }
        probe.assert(losses.len() < LOSSES, || losses[0].clone())?;
        if losses.is_empty() {
            break;
        }
    }
    if let [loss] = losses.as_slice() {
        return Err(NotPassed::Inconclusive(format!("once in {} times {loss}", ROUNDS * BEFORE_PAUSE.len())));
    }
    if whole.responses.iter().map(size).sum::<usize>() < WINDOW * 2 {
        return Err(NotPassed::Inconclusive(format!(
            "the longest answer was {} bytes long: too short to fill a reader's window of {WINDOW} bytes",
            text.len()
        )));
    }
    Ok(())
}

/// The generation as it comes at full speed, and the request for it.
async fn at_full_speed(probe: &Probe, pace: Pace) -> Result<(Generation, GenerationRequest), NotPassed> {
    let mut bound = pace.bound(LASTING).clamp(BOUNDS.0, BOUNDS.1);
    loop {
        let generation = probe.predict(probe.request(bound)).await?;
        if generation.end.code() == Some(Code::InvalidArgument) && bound > LEAST_BOUND {
            bound /= 2; // beyond the server's context
            continue;
        }
        generation.served()?;
        return Ok((generation, probe.request(bound)));
    }
}

/// All readers at once: those that pause, and the text of one that does not.
async fn round(
    probe: &Probe,
    request: &GenerationRequest,
    pause: Duration,
    whole: Duration,
) -> Result<(Vec<Generation>, Option<String>), NotPassed> {
    // They may wait for one slot, one after the other.
    let patience = probe.patience() + (pause + whole) * (BEFORE_PAUSE.len() as u32 + 1);
    let pausing =
        join_all(BEFORE_PAUSE.map(|before| reads_with_a_pause(probe, request, before, pause, patience)));
    let (paused, read_on) = tokio::join!(pausing, probe.predict(fresh(probe, request)));
    let read_on = read_on?;
    let read_on = read_on.reached_its_end().then(|| read_on.text());
    Ok((paused.into_iter().collect::<Result<_, _>>()?, read_on))
}

async fn reads_with_a_pause(
    probe: &Probe,
    request: &GenerationRequest,
    before: usize,
    pause: Duration,
    patience: Duration,
) -> Result<Generation, NotPassed> {
    let connection = probe.connect_narrow().await?;
    let request = fresh(probe, request);
    let mut stream = probe.streamer().with_patience(patience).open(&connection).await;
    stream.send(&request);
    stream.half_close();
    let mut first = Vec::new();
    while first.len() < before {
        match stream.next().await {
            StreamItem::Response(response) => first.push(*response),
            StreamItem::Undecodable(why) => return Err(NotPassed::Fail(why)),
            StreamItem::End(_) => break, // and once more below
        }
    }
    tokio::time::sleep(pause).await;
    let mut generation = stream.finish(request).await;
    generation.responses.splice(0..0, first);
    Ok(generation)
}

/// The same request under a trace_id of its own.
fn fresh(probe: &Probe, request: &GenerationRequest) -> GenerationRequest {
    GenerationRequest { metadata: probe.request(1).metadata, ..request.clone() }
}

/// The whole stream came, to its last message, and no index is missing or comes twice.
fn arrived(probe: &Probe, generation: &Generation, whole: &Generation, pause: Duration) -> Judgement {
    let reader = after(pause);
    let count = generation.responses.len();
    probe.assert(generation.end.is_ok(), || {
        format!("{reader} was cut off: its call {} after {count} responses", generation.end.told())
    })?;
    probe.assert(generation.reached_its_end() || !whole.reached_its_end(), || {
        format!("{reader} lost the last message: its call ended OK after {count} responses without it")
    })?;
    let indexes = |g: &Generation| g.responses.iter().map(|r| r.message.index).collect::<Vec<_>>();
    let (seen, read_at_once) = (indexes(generation), indexes(whole));
    if gap(&read_at_once).is_some() {
        return Ok(()); // STREAM-005's matter
    }
    probe.assert(seen.first() == read_at_once.first(), || {
        let index = |all: &[i64]| all.first().map_or("none".to_owned(), i64::to_string);
        format!(
            "{reader} lost the beginning: its first index is {}, not {}",
            index(&seen),
            index(&read_at_once)
        )
    })?;
    let gap = gap(&seen);
    probe.assert(gap.is_none(), || {
        let (before, next) = gap.unwrap_or_default();
        let what = if next > before { "lost responses" } else { "got responses twice or out of order" };
        format!("{reader} {what}: after index {before} came index {next}")
    })
}

/// The first two neighbours that do not follow each other.
fn gap(indexes: &[i64]) -> Option<(i64, i64)> {
    indexes.windows(2).find(|pair| pair[1] != pair[0] + 1).map(|pair| (pair[0], pair[1]))
}

/// In words, whether something was lost of the text. Another text altogether shows nothing.
fn difference(text: &str, whole: &str, pause: Duration) -> Result<Option<String>, NotPassed> {
    if text == whole {
        return Ok(None);
    }
    let same = whole.chars().zip(text.chars()).take_while(|(a, b)| a == b).count();
    let from = |text: &str| quote(&text.chars().skip(same.saturating_sub(8)).collect::<String>(), 40);
    let what = if holds(whole, text) {
        "lost a piece of the text"
    } else if holds(text, whole) {
        "got a piece of the text twice"
    } else if sorted(text) == sorted(whole) {
        "got pieces of the text out of order"
    } else {
        return Err(NotPassed::Inconclusive(format!(
            "a reader that paused got another text, {} in the place of {}, which is no piece of what came at full speed: \
             whether something was lost cannot be seen (CONCURRENCY-002)",
            from(text),
            from(whole)
        )));
    };
    Ok(Some(format!(
        "{} {what}, though its indexes are dense: {} in the place of {}",
        after(pause),
        from(text),
        from(whole)
    )))
}

/// Whether the shorter text is the longer one with pieces left out.
fn holds(longer: &str, shorter: &str) -> bool {
    let mut rest = longer.chars();
    shorter.chars().all(|wanted| rest.any(|letter| letter == wanted))
}

fn sorted(text: &str) -> Vec<char> {
    let mut letters: Vec<char> = text.chars().collect();
    letters.sort_unstable();
    letters
}

fn after(pause: Duration) -> String {
    format!("a reader that paused for {:.1} s", pause.as_secs_f64())
}

fn size(response: &Response) -> usize {
    response.message.chunk.len() + response.message.trace_id.len()
}

/// A queue of sixteen responses, in which the newest takes the place of the oldest that still waits.
#[derive(Default)]
struct NewestReplaces;

impl Behaviour for NewestReplaces {
    fn respond(&self, _request: &GenerationRequest, mut responses: Responses) -> Responses {
        let (sender, receiver) = broadcast::channel(16);
        tokio::spawn(async move {
            while let Some(response) = responses.next().await {
                if sender.send(response).is_err() {
                    return; // the client has gone
                }
            }
        });
        Box::pin(stream::unfold(receiver, |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(response) => return Some((response, receiver)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        }))
    }
}
