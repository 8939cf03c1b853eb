//! AUTH-004.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, header::AUTHORIZATION};
use http_body::Frame;
use http_body_util::{BodyStream, StreamBody};
use tonic::body::Body;

use super::refusals::{bearer, is_unauthenticated};
use crate::{
    exemplar::{Behaviour, HttpRequest, HttpResponse, Next},
    probe::{
        Probe, StreamItem,
        wire::{End, framed},
    },
    requirement::{Judgement, NotPassed},
};

crate::requirement! {
    /// # Requirement
    /// The refusal comes before any model work and without reading the whole stream.
    ///
    /// # Why it matters
    /// Work for strangers is what a token is there to prevent. A server that reads their streams to the end, or begins to
    /// generate before it looks at the token, can be kept busy by anyone.
    ///
    /// # How it is checked
    /// StreamPredict is called with a wrong token and left open: first with no message at all, and where that brings no answer
    /// within a second, with one legal message. The call must end as UNAUTHENTICATED, before any message and while the
    /// client's half of the stream is still open. Then such calls with a message are timed, and Control calls with the same
    /// token beside them: where a first text takes a twentieth of a second or longer on this server, the refusal of a
    /// StreamPredict must not take most of that time longer than the refusal of a Control, in two tries.
    ///
    /// # What a violation looks like
    /// The first text, and then UNAUTHENTICATED; or no answer before the half-close.
    ///
    /// # References
    /// Contract, AUTH-004.
    id: "AUTH-004",
    level: Must,
    dialects: [Contract, CyLlm],
    needs: [Token],
    isolation: Quiet,
    since: "0.1.0",
    title: "a refusal comes before any work",
    check: check,
    mutant: AfterTheFirstToken, fault: "the refusal comes after the first token", seen_as: "after 1 message",
}

/// A call without a message may be refused when its message comes.
const HEADERS_ALONE: Duration = Duration::from_secs(1);
/// A wait for a first text that is shorter is not told from the time on the way.
const LEAST_WORK: Duration = Duration::from_millis(50);
/// Of the time to a first text, in percent: a refusal that takes so much longer did the work.
const MOST_OF_IT: u32 = 70;
const SAMPLES: usize = 3;
const TRIES: usize = 2;
const WRONG: [&str; 1] = ["Bearer wrong"];

async fn check(probe: &Probe) -> Judgement {
    let stranger = probe.with_authorization(&WRONG)?;
    stays_out(probe, &stranger).await?;
    let first = probe.pace().await?.first;
    if first >= LEAST_WORK {
        takes_no_work(probe, &stranger, first).await?;
    }
    probe.still_serves("calls with a wrong token").await
}

/// Refused while the stream is open, before any message.
async fn stays_out(probe: &Probe, stranger: &Probe) -> Judgement {
    let mut stream = stranger.stream().await?;
    let mut item = stream.next_within(HEADERS_ALONE).await;
    if matches!(item, StreamItem::End(End::TimedOut(_))) {
        stream.send(&stranger.request(4));
        item = stream.next().await;
    }
    let mut messages = 0;
    let end = loop {
        match item {
            StreamItem::End(end) => break end,
            StreamItem::Response(_) | StreamItem::Undecodable(_) => messages += 1,
        }
        item = stream.next().await;
    };
    probe.assert(messages == 0, || {
        let plural = if messages == 1 { "message" } else { "messages" };
        format!("a StreamPredict with a wrong token {} only after {messages} {plural}", end.told())
    })?;
    probe.assert(is_unauthenticated(&end), || {
        let open = match end {
            End::TimedOut(_) => ": the server waits for the end of the stream before it looks at the token",
            _ => ", not UNAUTHENTICATED",
        };
        format!("a StreamPredict with a wrong token, not half-closed, {}{open}", end.told())
    })
}

/// The refusal of a StreamPredict takes no longer than that of a Control, up to a part of the time to a first text.
async fn takes_no_work(probe: &Probe, stranger: &Probe, first: Duration) -> Judgement {
    let allowed = first * MOST_OF_IT / 100;
    for attempt in 1..=TRIES {
        let (control, predict) =
            (quickest(stranger, "Control").await?, quickest(stranger, "StreamPredict").await?);
        let in_time = predict < control + allowed;
        probe.assert(in_time || attempt < TRIES, || {
            format!(
                "a StreamPredict with a wrong token is refused after {} ms, a Control after {} ms, and a first text takes {} ms: \
                 the server does the work before it looks at the token",
                predict.as_millis(),
                control.as_millis(),
                first.as_millis()
            )
        })?;
        if in_time {
            break;
        }
    }
    Ok(())
}

/// The quickest of some refusals.
async fn quickest(stranger: &Probe, method: &str) -> Result<Duration, NotPassed> {
    let mut quickest = Duration::MAX;
    for _ in 0..SAMPLES {
        let message = framed(&stranger.legal(method, &stranger.trace_id()));
        let began = Instant::now();
        stranger.ask_once(method, &message, "a wrong token", &stranger.options()).await?;
        quickest = quickest.min(began.elapsed());
    }
    Ok(quickest)
}

/// Looks at the token of a StreamPredict when the first response is there.
#[derive(Default)]
struct AfterTheFirstToken;

#[tonic::async_trait]
impl Behaviour for AfterTheFirstToken {
    async fn http(&self, mut request: HttpRequest, next: Next<'_>) -> HttpResponse {
        let refused = next.state().authorize(request.headers()).err();
        let right = next.state().token().and_then(|token| HeaderValue::from_str(&bearer(token)).ok());
        let (Some(refusal), Some(right), true) =
            (refused, right, request.uri().path().ends_with("/StreamPredict"))
        else {
            return next.run(request).await;
        };
        request.headers_mut().insert(AUTHORIZATION, right);
        let refusal = refusal.into_http::<()>().headers().clone();
        next.run(request).await.map(|body| {
            let first = BodyStream::new(body).take(1);
            Body::new(StreamBody::new(first.chain(stream::iter([Ok(Frame::trailers(refusal))]))))
        })
    }
}
