//! STREAM-014.

use std::time::Duration;

use tonic::{Code, Status};

use crate::{
    exemplar::Behaviour,
    probe::{Probe, Response, StreamItem, quote, wire::End},
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// Two unfinished generations of one stream with the same trace_id: the second is INVALID_ARGUMENT.
    ///
    /// # Why it matters
    /// The trace_id is all that tells the answers of one stream apart. Under one trace_id two texts become one, and no
    /// client can take them apart again.
    ///
    /// # How it is checked
    /// On one stream a generation is started, and at its first text a second request is sent. First with a trace_id of its
    /// own: if the server does not answer both at the same time, this requirement cannot be seen, and the check says so. Then
    /// with the trace_id of the first: the call must end with INVALID_ARGUMENT, and the server must still serve.
    ///
    /// # What a violation looks like
    /// The chunks of two texts come mixed under one trace_id.
    ///
    /// # References
    /// Contract, STREAM-014.
    id: "STREAM-014",
    level: May,
    dialects: [Contract, CyLlm],
    begins: First,
    since: "0.1.0",
    title: "a trace_id in use on the stream is INVALID_ARGUMENT",
    check: check,
    mutant: Interleaves, fault: "two generations run under one trace_id", seen_as: "come mixed",
}

/// The first generation lasts so long: the second request comes before its end.
const LASTING: Duration = Duration::from_millis(300);
/// The bound of the second; chunks that its text can have, where a token is cut into characters.
const SECOND: i64 = 1;
const SECOND_CHUNKS: usize = 8;
const TRIES: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    let (_, bound) = probe.lasting(probe.pace().await?, LASTING).await?;
    if let Some(hidden) = hidden(&pair(probe, bound, [probe.trace_id(), probe.trace_id()]).await?) {
        return Err(NotPassed::Inconclusive(hidden));
    }
    for _ in 0..TRIES {
        let trace_id = probe.trace_id();
        let pair = pair(probe, bound, [trace_id.clone(), trace_id.clone()]).await?;
        let first_complete = pair.responses.iter().any(|r| r.message.end_of_stream);
        if pair.end.is_full() || first_complete && pair.is_in_turn() && pair.answered() != 1 {
            continue; // no room, or the first was complete when the second came
        }
        probe.assert(!first_complete || pair.is_in_turn(), || {
            format!(
                "two generations ran at the same time under the trace_id {} on one stream, and their chunks come mixed; the \
                 second request is INVALID_ARGUMENT",
                quote(&trace_id, 60)
            )
        })?;
        probe.assert(pair.end.code() == Some(Code::InvalidArgument), || {
            let told = match &pair.end {
                end if end.is_ok() => "was never answered".to_owned(),
                end => end.told(),
            };
            format!("a second request with the trace_id of an unfinished generation of its stream {told}, not INVALID_ARGUMENT")
        })?;
        return probe.still_serves("a request whose trace_id was in use").await;
    }
    Err(NotPassed::Inconclusive(
        "the first generation was complete before the second request with its trace_id was looked at"
            .to_owned(),
    ))
}

/// Two requests of one stream, the second sent at the first text of the first.
struct Pair {
    ids: [String; 2],
    responses: Vec<Response>,
    end: End,
}

async fn pair(probe: &Probe, bound: i64, ids: [String; 2]) -> Result<Pair, NotPassed> {
    let ask = |bound: i64, trace_id: &String| {
        let mut request = probe.request(bound);
        request.metadata.get_or_insert_default().trace_id.clone_from(trace_id);
        request
    };
    let (first, second) = (ask(bound, &ids[0]), ask(SECOND, &ids[1]));
    let mut stream = probe.stream().await?;
    stream.send(&first);
    let mut responses = Vec::new();
    loop {
        match stream.next().await {
            StreamItem::Response(response) => {
                let text = !response.message.chunk.is_empty();
                responses.push(*response);
                if text {
                    break;
                }
            }
            StreamItem::Undecodable(why) => return Err(NotPassed::Fail(why)),
            StreamItem::End(end) => return Ok(Pair { ids, responses, end }),
        }
    }
    stream.send(&second);
    stream.half_close();
    let rest = stream.finish(first).await;
    responses.extend(rest.responses);
    Ok(Pair { ids, responses, end: rest.end })
}

impl Pair {
    /// How many last messages came.
    fn answered(&self) -> usize {
        self.responses.iter().filter(|r| r.message.end_of_stream).count()
    }

    /// One generation up to its last message, and then at most a short one: what one stream shows that is answered in turn.
    fn is_in_turn(&self) -> bool {
        let last = self.responses.iter().position(|r| r.message.end_of_stream);
        let whole = last.map_or(self.responses.len(), |at| at + 1);
        let (first, rest) = self.responses.split_at(whole);
        let dense = first.iter().zip(0..).all(|(response, index)| response.message.index == index);
        dense && rest.iter().filter(|r| !r.message.chunk.is_empty()).count() <= SECOND_CHUNKS
    }
}

/// Why a stream with two trace_ids shows that two with one trace_id would tell nothing, if it does.
fn hidden(pair: &Pair) -> Option<String> {
    let [of_first, of_second] = [0, 1].map(|at| {
        let own = pair.responses.iter().enumerate().filter(move |(_, r)| r.message.trace_id == pair.ids[at]);
        own.map(|(place, r)| (place, r.message.clone())).collect::<Vec<_>>()
    });
    let complete = [&of_first, &of_second].map(|own| own.iter().any(|(_, message)| message.end_of_stream));
    if complete != [true, true] || !pair.end.is_ok() {
        return Some(format!(
            "a stream with two requests {} and did not answer both: the server takes one request a stream, or has no room",
            pair.end.told()
        ));
    }
    let dense = |own: &[(usize, _)]| {
        own.iter().zip(0..).all(
            |((_, message), index): (&(usize, ai_inference_proto::GenerationResponse), i64)| {
                message.index == index
            },
        )
    };
    if !dense(&of_first) || !dense(&of_second) {
        return Some(
            "the indexes of one generation are not 0, 1, 2 and so on (STREAM-005): they tell no two apart"
                .to_owned(),
        );
    }
    let last = of_first.iter().find(|(_, message)| message.end_of_stream);
    let began = of_second.first();
    let at_once = last.zip(began).is_some_and(|((last, _), (began, _))| began < last);
    (!at_once).then(|| {
        "the second request of a stream was answered after the first, in turn or for want of a free slot: nothing shows what \
         a trace_id in use does"
            .to_owned()
    })
}

#[derive(Default)]
struct Interleaves;

impl Behaviour for Interleaves {
    fn trace_in_use(&self, _trace_id: &str) -> Result<(), Status> {
        Ok(())
    }
}
