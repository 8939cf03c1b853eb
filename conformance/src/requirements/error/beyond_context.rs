//! ERROR-004.

use std::time::{Duration, Instant};

use ai_inference_proto::GenerationRequest;
use tonic::{Code, Status};

use crate::{
    exemplar::{Behaviour, State},
    probe::{
        Generation, Probe,
        wire::{End, time},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// A prompt longer than the model's context is INVALID_ARGUMENT, never INTERNAL and never silently truncated into an OK.
    ///
    /// # Why it matters
    /// A model reads so many tokens and no more. What is cut off in silence may be the question itself, and the answer looks
    /// like any other; INTERNAL is retried, in vain.
    ///
    /// # How it is checked
    /// The context's length is not known, so prompts of 1,000 to 50,000 characters are sent, of English words and then of
    /// rare Chinese characters, which are many tokens each, until one is INVALID_ARGUMENT. Between the longest prompt that
    /// is served and the shortest that is refused, the border is looked for by halves: each prompt on the way must be served
    /// or INVALID_ARGUMENT. Where growing prompts take too long, the longest one is sent at once: a server need not read it to
    /// refuse it. Then the longest served prompt is sent with three different ends and three different beginnings,
    /// on a server whose answers to short prompts follow both: an answer that follows the beginning and not the end is one
    /// to a truncated prompt. A lost beginning cannot be told from one that does not matter to the model. Where each prompt
    /// is served, the context is longer than can be asked; then, and where prompts take too long, the check is inconclusive.
    ///
    /// # What a violation looks like
    /// INTERNAL at 4,000 characters, or just at the border; or text that answers the first half of the prompt.
    ///
    /// # References
    /// Contract, ERROR-004, ERROR-003 and WIRE-013.
    id: "ERROR-004",
    level: Must,
    dialects: [Contract, CyLlm],
    isolation: Exclusive,
    since: "0.1.0",
    title: "a prompt longer than the context is INVALID_ARGUMENT",
    check: check,
    mutant: Breaks, fault: "a prompt longer than the context is INTERNAL", seen_as: "was answered INTERNAL",
}

/// Characters, up to the longest legal prompt.
const SIZES: [usize; 4] = [1_000, 4_000, 16_000, 50_000];
/// A sample shows whether the model can read a script at all.
const SAMPLE: usize = 20;
/// A prompt that will take longer than this is not sent.
const MOST: Duration = Duration::from_secs(6);
/// Nothing new is begun after so long: a check has 25 s.
const BUDGET: Duration = Duration::from_secs(12);
/// A prompt that is refused without being read is refused by then.
const UNREAD: Duration = Duration::from_secs(2);
/// Tokens of a text that shows what the model has read.
const TEXT: i64 = 16;
/// Characters of a short prompt with the same beginnings and ends.
const SHORT: usize = 120;

const WORDS: &str = "river bends past the quiet town where people build small boats and carry salt to the hills every \
                     morning before rain comes over old stones, ";
const BEGINNINGS: [&str; 3] =
    ["The history of ships. ", "1 2 3 4 5 6 7 8 9 10 11 12 13 ", "春天的河水慢慢流过小镇。"];
const ENDS: [&str; 3] =
    [" User: Count to ten.\nAssistant: one, two,", "用户：你好！\n助手：", "\nQ: What is a boat?\nA:"];

/// What prompts are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Words,
    RareCharacters,
}

impl Script {
    fn text(self, count: usize) -> String {
        match self {
            Self::Words => WORDS.chars().cycle().take(count).collect(),
            Self::RareCharacters => ('\u{3400}'..='\u{4db5}').cycle().take(count).collect(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Words => "English words",
            Self::RareCharacters => "rare Chinese characters",
        }
    }
}

/// A prompt's length.
#[derive(Clone, Copy, Debug)]
struct Length {
    script: Script,
    count: usize,
}

impl Length {
    fn request(self, probe: &Probe) -> GenerationRequest {
        GenerationRequest { prompt: self.script.text(self.count), ..probe.request(1) }
    }
}

/// How a prompt was answered, other than wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Served(Duration),
    Refused,
}

/// What growing prompts have shown.
struct Grown {
    /// The longest that was served.
    served: Length,
    /// The shortest of the same script that was refused.
    refused: Option<Length>,
    /// Why no longer one was tried, if that was the reason.
    stopped: Option<String>,
}

async fn check(probe: &Probe) -> Judgement {
    let began = Instant::now();
    probe.predict(probe.request(1)).await?.served()?;
    let mut grown = grow(probe, Script::Words, began).await?;
    if grown.refused.is_none() && grown.stopped.is_none() && reads(probe, Script::RareCharacters).await? {
        grown = grow(probe, Script::RareCharacters, began).await?;
    }
    if grown.stopped.is_some() {
        grown.refused = refused_unread(probe).await?;
    } else if let Some(refused) = grown.refused {
        grown.served = border(probe, grown.served, refused, began).await?;
    }
    reads_the_end(probe, grown.served, began).await?;
    if grown.refused.is_none() {
        let Length { script, count } = grown.served;
        return Err(NotPassed::Inconclusive(grown.stopped.unwrap_or_else(|| {
            format!(
                "a prompt of {count} characters ({}) was served: the context is longer than can be asked, or the \
                 beginning of longer prompts is lost in silence",
                script.name()
            )
        })));
    }
    probe.still_serves("prompts longer than the context").await
}

/// Whether the model takes a few characters of a script.
async fn reads(probe: &Probe, script: Script) -> Result<bool, NotPassed> {
    let answer = ask(probe, Length { script, count: SAMPLE }, probe.patience()).await?;
    Ok(answer != Answer::Refused)
}

async fn grow(probe: &Probe, script: Script, began: Instant) -> Result<Grown, NotPassed> {
    let mut served = Length { script, count: 0 };
    let mut before = (1.0, Duration::ZERO);
    for count in SIZES {
        let longer = count as f64 / before.0;
        let expected = before.1.mul_f64(longer * 2.0);
        if expected > MOST || began.elapsed() + expected > BUDGET {
            let stopped = format!(
                "a prompt of {} characters took {}, and a longer one would take too long: the context's end was not reached",
                before.0,
                time(before.1)
            );
            return Ok(Grown { served, refused: None, stopped: Some(stopped) });
        }
        let length = Length { script, count };
        // Attention may take the square of the length.
        let wait = (probe.patience() + before.1.mul_f64(longer * longer)).min(BUDGET);
        match ask(probe, length, wait).await? {
            Answer::Served(took) => (served, before) = (length, (count as f64, took)),
            Answer::Refused => return Ok(Grown { served, refused: Some(length), stopped: None }),
        }
    }
    Ok(Grown { served, refused: None, stopped: None })
}

/// Halves the way between a served and a refused prompt, down to one character; the longest that was served.
async fn border(
    probe: &Probe,
    mut served: Length,
    mut refused: Length,
    began: Instant,
) -> Result<Length, NotPassed> {
    while refused.count - served.count > 1 && began.elapsed() < BUDGET / 2 {
        let middle = Length { count: served.count.midpoint(refused.count), ..served };
        match ask(probe, middle, probe.patience().max(MOST)).await? {
            Answer::Served(_) => served = middle,
            Answer::Refused => refused = middle,
        }
    }
    Ok(served)
}

/// The longest legal prompt, if it is refused before it is read.
async fn refused_unread(probe: &Probe) -> Result<Option<Length>, NotPassed> {
    let longest = Length { script: Script::RareCharacters, count: SIZES[SIZES.len() - 1] };
    let pace = probe.pace().await?;
    let generation = probe.predict_within(longest.request(probe), UNREAD).await?;
    if matches!(generation.end, End::TimedOut(_)) {
        probe.settled(pace, BUDGET).await?; // it may read on to its end
        return Ok(None);
    }
    Ok((judge(probe, longest, &generation)? == Answer::Refused).then_some(longest))
}

async fn ask(probe: &Probe, length: Length, wait: Duration) -> Result<Answer, NotPassed> {
    judge(probe, length, &probe.predict_waiting(length.request(probe), wait).await?)
}

fn judge(probe: &Probe, length: Length, generation: &Generation) -> Result<Answer, NotPassed> {
    let Length { script, count } = length;
    let what = || format!("a prompt of {count} characters ({})", script.name());
    let silent = generation.responses.is_empty();
    if generation.end.is_full() && silent {
        return Err(NotPassed::Inconclusive(format!(
            "{} {}: whether it is longer than the context is not seen",
            what(),
            generation.end.told()
        )));
    }
    if generation.end.code() == Some(Code::InvalidArgument) && silent {
        probe.assert(true, String::new)?;
        return Ok(Answer::Refused);
    }
    let served = generation.end.is_ok() && !silent;
    probe.assert(served, || {
        format!("{} {}, not OK with a response, or INVALID_ARGUMENT", what(), generation.end.told())
    })?;
    Ok(Answer::Served(generation.took()))
}

/// An answer that follows the beginning of a long prompt must follow its end too, where short prompts show that the model
/// heeds both.
async fn reads_the_end(probe: &Probe, longest: Length, began: Instant) -> Judgement {
    if longest.count <= SHORT || began.elapsed() > BUDGET / 2 {
        return Ok(());
    }
    let short = Length { count: SHORT, ..longest };
    for length in [short, longest] {
        let beginnings = texts(probe, length, BEGINNINGS.map(|beginning| (beginning, ENDS[0]))).await?;
        let ends = texts(probe, length, ENDS.map(|end| (BEGINNINGS[0], end))).await?;
        let (Some(beginnings), Some(ends)) = (beginnings, ends) else { return Ok(()) };
        if length.count == SHORT {
            if !(all_differ(&beginnings) && all_differ(&ends)) {
                return Ok(()); // the model does not heed both
            }
            continue;
        }
        let same = ends.iter().all(|text| *text == ends[0]);
        probe.assert(!(same && all_differ(&beginnings)), || {
            format!(
                "prompts of {} characters with three different ends had the same answer, and with three different \
                 beginnings three different ones: the end was truncated in silence",
                length.count
            )
        })?;
    }
    Ok(())
}

/// The texts that answer prompts of one length with these beginnings and ends; `None` if one of them is not served.
async fn texts(
    probe: &Probe,
    length: Length,
    framed: [(&str, &str); 3],
) -> Result<Option<Vec<String>>, NotPassed> {
    let mut texts = Vec::new();
    for (beginning, end) in framed {
        let frame = beginning.chars().count() + end.chars().count();
        let middle = length.script.text(length.count.saturating_sub(frame));
        let prompt = format!("{beginning}{middle}{end}");
        let request = GenerationRequest { prompt, ..probe.request(TEXT) };
        let generation = probe.predict_waiting(request, probe.patience().max(MOST)).await?;
        // More tokens than the same number of characters had before, perhaps, or no room for so long a text.
        if generation.end.code() == Some(Code::InvalidArgument) || matches!(generation.end, End::TimedOut(_))
        {
            return Ok(None);
        }
        texts.push(generation.served()?.text());
    }
    Ok(Some(texts))
}

fn all_differ(texts: &[String]) -> bool {
    texts.iter().enumerate().all(|(at, text)| !texts[..at].contains(text))
}

#[derive(Default)]
struct Breaks;

impl Behaviour for Breaks {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        state.admit(request).map_err(|status| {
            if status.message().contains("context") {
                return Status::internal("index out of bounds");
            }
            status
        })
    }
}
