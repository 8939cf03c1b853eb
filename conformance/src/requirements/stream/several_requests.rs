//! STREAM-013.

use std::future;

use ai_inference_proto::GenerationResponse;
use futures_util::StreamExt as _;
use tonic::Code;

use crate::{
    exemplar::{Behaviour, Requests},
    probe::{Probe, Stream, StreamItem, quote, wire::End},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Several requests on one stream are each answered in full, every response under its own trace_id with its own index
    /// from 0. A server that takes one request per stream ends the stream after the first generation; one that silently
    /// swallows later requests while keeping the stream open is reported.
    ///
    /// # Why it matters
    /// The method is bidirectional, so a client may keep a stream and ask again on it. A request that is swallowed leaves
    /// that client waiting for ever, and nothing tells it why.
    ///
    /// # How it is checked
    /// On one stream two greedy requests are sent together, and a third one after both are answered; only then is the stream
    /// half-closed. Each must be answered up to its last message, under its own trace_id, with the indexes 0, 1, 2 and so on;
    /// the answers may come in turn or mixed. The three requests differ in their trace_id alone: one text that is only the
    /// beginning of another, twice in a row, was cut. A server may also end the stream, with OK or with a refusal, after a
    /// whole answer. One that has no room for two requests at once is asked again, each time after the last message of the
    /// answer before.
    ///
    /// # What a violation looks like
    /// The second request is never answered, and the stream stays open.
    ///
    /// # References
    /// Contract, STREAM-013; the interface contract, `StreamPredict`.
    id: "STREAM-013",
    level: May,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "several requests on one stream are each answered",
    check: check,
    mutant: SwallowsLater, fault: "later requests of a stream are swallowed", seen_as: "while the stream stayed open",
}

/// Requests of one stream, and how many of them are sent together.
const REQUESTS: usize = 3;
const TOGETHER: usize = 2;
const TOKENS: i64 = 8;
/// A text that is cut once may be a tie that the model breaks now so and now so.
const TRIES: usize = 2;
/// How a server may end a stream after it has answered a request of it.
const ENDS: [Code; 4] = [Code::Ok, Code::InvalidArgument, Code::FailedPrecondition, Code::Unimplemented];

async fn check(probe: &Probe) -> Judgement {
    let mut cuts = Vec::new();
    for _ in 0..TRIES {
        let mut seen = converse(probe, TOGETHER).await?;
        if matches!(seen, Seen::Full(_)) {
            seen = converse(probe, 1).await?;
        }
        let texts = match seen {
            Seen::Answered(texts) => texts,
            Seen::Ended => return probe.assert(true, String::new),
            Seen::Full(end) => {
                let told = end.told();
                return Err(NotPassed::Inconclusive(format!("a stream with {REQUESTS} requests {told}")));
            }
        };
        match cut_short(&texts) {
            None => return probe.assert(true, String::new),
            Some(cut) => cuts.push(cut),
        }
    }
    probe.assert(cuts.len() < TRIES, || {
        format!(
            "{REQUESTS} equal greedy requests on one stream were not all answered in full: {}",
            cuts.join("; ")
        )
    })
}

/// What came of one stream.
enum Seen {
    /// Every request was answered; the texts, in the order of the requests.
    Answered(Vec<String>),
    /// The server ended the stream after a whole answer.
    Ended,
    /// It has no room.
    Full(End),
}

/// Asks all requests on one stream, the first few of them together.
async fn converse(probe: &Probe, together: usize) -> Result<Seen, NotPassed> {
    let mut talk = Talk { stream: probe.stream().await?, answers: Vec::new() };
    for number in 1..=REQUESTS {
        talk.ask(probe);
        if number < together {
            continue;
        }
        if let Some(end) = talk.listen(probe).await? {
            return talk.ended_early(probe, end);
        }
    }
    talk.stream.half_close();
    let after = match talk.stream.next().await {
        StreamItem::End(end) if end.is_ok() => {
            return Ok(Seen::Answered(talk.answers.into_iter().map(|answer| answer.text).collect()));
        }
        StreamItem::End(end) => end.told(),
        StreamItem::Undecodable(why) => why,
        StreamItem::Response(_) => "got one more response".to_owned(),
    };
    Err(NotPassed::Fail(format!(
        "a stream with {REQUESTS} requests, half-closed when all were answered, {after}, not OK"
    )))
}

/// One stream, and what came on it so far.
struct Talk {
    stream: Stream,
    answers: Vec<Answer>,
}

/// What came under one trace_id.
struct Answer {
    trace_id: String,
    responses: i64,
    text: String,
    complete: bool,
}

impl Talk {
    fn ask(&mut self, probe: &Probe) {
        let request = probe.request(TOKENS);
        let trace_id = request.trace_id().to_owned();
        self.stream.send(&request);
        self.answers.push(Answer { trace_id, responses: 0, text: String::new(), complete: false });
    }

    /// Reads until every request so far is answered, or to the end of the stream.
    async fn listen(&mut self, probe: &Probe) -> Result<Option<End>, NotPassed> {
        while self.answers.iter().any(|answer| !answer.complete) {
            match self.stream.next().await {
                StreamItem::Response(response) => {
                    self.stream.keep(&response)?;
                    self.take(probe, &response.message)?;
                }
                StreamItem::Undecodable(why) => return Err(NotPassed::Fail(why)),
                StreamItem::End(end) => return Ok(Some(end)),
            }
        }
        Ok(None)
    }

    fn take(&mut self, probe: &Probe, message: &GenerationResponse) -> Judgement {
        let known = self.answers.iter().position(|answer| answer.trace_id == message.trace_id);
        let trace_id = quote(&message.trace_id, 60);
        let Some(at) = known else {
            return probe.assert(false, || {
                format!("on a stream with several requests a response carries trace_id {trace_id}, which none of them has")
            });
        };
        let answer = &mut self.answers[at];
        probe.assert(!answer.complete, || {
            format!(
                "request {} of a stream, {trace_id}, got one more response after its last message",
                at + 1
            )
        })?;
        let (index, expected) = (message.index, answer.responses);
        probe.assert(index == expected, || {
            format!("request {} of a stream got the index {index} where {expected} comes next", at + 1)
        })?;
        answer.responses += 1;
        answer.text.push_str(&message.chunk);
        answer.complete = message.end_of_stream;
        Ok(())
    }

    /// What an end before the half-close means.
    fn ended_early(self, probe: &Probe, end: End) -> Result<Seen, NotPassed> {
        let complete = self.answers.iter().filter(|answer| answer.complete).count();
        let begun = self.answers.iter().position(|answer| !answer.complete && answer.responses > 0);
        // The one status of a call is for all that is unanswered on it.
        let unanswered = self.answers.len() - complete;
        if end.is_full() && (begun.is_none() || unanswered > 1) {
            return Ok(Seen::Full(end));
        }
        let (sent, told) = (self.answers.len(), end.told());
        probe.assert(complete > 0, || {
            format!("a stream with {sent} requests that was not half-closed {told} before any of them was answered in full")
        })?;
        probe.assert(!matches!(end, End::TimedOut(_)), || {
            format!("{sent} requests were sent on one stream and {complete} answered; the next {told}, while the stream stayed open")
        })?;
        let begun = begun.map_or(0, |at| at + 1);
        probe.assert(begun == 0, || {
            format!("in the middle of the answer to request {begun} a stream {told}")
        })?;
        probe.assert(end.code().is_some_and(|code| ENDS.contains(&code)), || {
            format!(
                "after {complete} of {sent} requests were answered, their stream {told}, not OK or a refusal"
            )
        })?;
        Ok(Seen::Ended)
    }
}

/// A text that is only the beginning of another one, in words.
fn cut_short(texts: &[String]) -> Option<String> {
    let longest = texts.iter().max_by_key(|text| text.len())?;
    let at =
        texts.iter().position(|text| text.len() < longest.len() && longest.starts_with(text.as_str()))?;
    let (number, short) = (at + 1, quote(&texts[at], 40));
    Some(format!(
        "the text of request {number} is {short}, and another one's goes on, {}",
        quote(longest, 60)
    ))
}

/// Reads the first request and ignores the others, until the client half-closes.
#[derive(Default)]
struct SwallowsLater;

#[tonic::async_trait]
impl Behaviour for SwallowsLater {
    async fn requests(&self, requests: Requests) -> Requests {
        let mut count = 0;
        Box::pin(requests.filter(move |request| {
            count += usize::from(request.is_ok());
            future::ready(count <= 1 || request.is_err())
        }))
    }
}
