//! Health, Control and any other call with one message each way.

use std::{collections::BTreeMap, time::Duration};

use ai_inference_proto::{ControlMessage, HealthAnswer, contract};
use prost::Message as _;
use wire::{Call, CallOptions, Connection, End, Item, quote};

use super::Probe;
use crate::verdict::NotPassed;

/// A connection that takes a second call takes it at once.
const SECOND_CALL: Duration = Duration::from_millis(500);

/// The outcome of a unary call.
#[derive(Clone, Debug)]
pub struct Unary<T> {
    /// The answer, if exactly one message came and could be read.
    pub answer: Option<T>,
    /// How the call ended.
    pub end: End,
    /// From opening the call to its end.
    pub took: Duration,
    /// What was asked, for reasons.
    pub asked: String,
}

impl<T> Unary<T> {
    /// The answer of a call that ended OK; anything else is a failure.
    pub fn ok(&self) -> Result<&T, NotPassed> {
        match (&self.answer, &self.end) {
            (Some(answer), End::Status(status)) if status.code == tonic::Code::Ok => Ok(answer),
            (None, End::Status(status)) if status.code == tonic::Code::Ok => {
                Err(NotPassed::Fail(format!("{} ended OK without an answer", self.asked)))
            }
            _ => Err(NotPassed::Fail(format!("{} {}", self.asked, self.end.told()))),
        }
    }
}

impl Unary<HealthAnswer> {
    /// The answer of a Health that ended OK and says anything at all. An empty message is what any server can send.
    pub fn informative(&self) -> Result<&HealthAnswer, NotPassed> {
        let answer = self.ok()?;
        if answer.healthy || !answer.metrics.is_empty() {
            return Ok(answer);
        }
        Err(NotPassed::Fail("Health was answered with an empty message: not healthy, no metrics".to_owned()))
    }
}

impl Probe {
    /// Health, with the endpoint's credentials: that it needs none is HEALTH-006's matter alone.
    pub async fn health(&self, trace_id: &str) -> Result<Unary<HealthAnswer>, NotPassed> {
        let connection = self.connection().await?;
        Ok(self.health_on(&connection, trace_id, &self.options()).await)
    }

    /// Health on a given connection.
    pub async fn health_on(
        &self,
        connection: &Connection,
        trace_id: &str,
        options: &CallOptions,
    ) -> Unary<HealthAnswer> {
        let request = contract::WorkerHealthRequest { trace_id: trace_id.to_owned() }.encode_to_vec();
        let what = format!("WorkerHealthRequest: trace_id {}", quote(trace_id, 80));
        let raw = self.unary_on(connection, "Health", &request, &what, options).await;
        let health = decode(raw, "Health", |bytes| {
            // The message is the same in both dialects (contract, section 0).
            contract::WorkerHealthResponse::decode(bytes).map(HealthAnswer::from)
        });
        for (name, value) in health.answer.iter().flat_map(|answer| &answer.metrics) {
            self.record.answered(&self.path("Health"), name, value, false);
        }
        health
    }

    /// Control: one command with its payload.
    pub async fn control(
        &self,
        trace_id: &str,
        command: &str,
        payload: &[(&str, &str)],
    ) -> Result<Unary<ControlMessage>, NotPassed> {
        let connection = self.connection().await?;
        Ok(self.control_on(&connection, trace_id, command, payload).await)
    }

    /// Control on a given connection.
    pub async fn control_on(
        &self,
        connection: &Connection,
        trace_id: &str,
        command: &str,
        payload: &[(&str, &str)],
    ) -> Unary<ControlMessage> {
        self.control_with(connection, &self.options(), trace_id, command, payload).await
    }

    /// Control on a given connection and with these options.
    pub async fn control_with(
        &self,
        connection: &Connection,
        options: &CallOptions,
        trace_id: &str,
        command: &str,
        payload: &[(&str, &str)],
    ) -> Unary<ControlMessage> {
        let payload: BTreeMap<_, _> =
            payload.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let what = format!(
            "ControlMessage: trace_id {}, command {}, payload {}",
            quote(trace_id, 80),
            quote(command, 80),
            entries(&payload)
        );
        let request =
            contract::ControlMessage { trace_id: trace_id.to_owned(), command: command.to_owned(), payload };
        let raw = self.unary_on(connection, "Control", &request.encode_to_vec(), &what, options).await;
        let name = format!("Control({})", quote(command, 40));
        let control =
            decode(raw, &name, |bytes| contract::ControlMessage::decode(bytes).map(ControlMessage::from));
        if let Some(answer) = &control.answer {
            self.hear_answer(answer);
        }
        control
    }

    /// Looks through an answer of Control, and learns the models' names from it.
    fn hear_answer(&self, answer: &ControlMessage) {
        let error = answer.payload.get("status").is_some_and(|status| status == "error");
        for (name, value) in &answer.payload {
            self.record.answered(&self.path("Control"), name, value, error);
        }
        for model in answer.payload.get("models").iter().flat_map(|models| models.split(',')) {
            self.record.publish(model.trim());
        }
    }

    /// Any method of the service, with the request's bytes as given; an answer is waited for as long as the options say, and
    /// never shorter than the patience.
    pub async fn unary_on(
        &self,
        connection: &Connection,
        method: &str,
        request: &[u8],
        what: &str,
        options: &CallOptions,
    ) -> Unary<Vec<u8>> {
        let mut call = connection.call(&self.path(method), options, &self.record).await;
        self.record.request(&self.path(method), request);
        call.send(request, what);
        call.half_close();
        finish(call, method, options.patience.max(self.patience())).await
    }

    /// Whether a connection takes a second call while one is open (MAX_CONCURRENT_STREAMS may be 1).
    pub async fn takes_two_calls(&self) -> Result<bool, NotPassed> {
        let connection = self.connection().await?;
        let _first = self.stream_on(&connection).await;
        let options = CallOptions { patience: SECOND_CALL, ..self.options() };
        let second = self.health_on(&connection, &self.trace_id(), &options).await;
        Ok(second.end != End::TimedOut(SECOND_CALL))
    }

    /// Any path, with the request's bytes as given, read to the end.
    pub async fn raw(&self, path: &str, request: &[u8], what: &str) -> Result<Unary<Vec<u8>>, NotPassed> {
        let connection = self.connection().await?;
        let mut call = connection.call(path, &self.options(), &self.record).await;
        self.record.request(path, request);
        call.send(request, what);
        call.half_close();
        Ok(finish(call, path, self.patience()).await)
    }
}

/// Reads a unary call to its end: one message, then the status.
async fn finish(mut call: Call, asked: &str, patience: Duration) -> Unary<Vec<u8>> {
    let began = std::time::Instant::now();
    let mut answer = None;
    let end = loop {
        match call.next(patience).await {
            Item::Message(_) if answer.is_some() => {
                break End::Malformed("a second message in the answer of a unary call".to_owned());
            }
            Item::Message(message) => {
                call.note(format!("a message of {} bytes", message.bytes.len()));
                answer = Some(message.bytes.to_vec());
            }
            Item::End(end) => break end,
        }
    };
    Unary { answer, end, took: began.elapsed(), asked: asked.to_owned() }
}

/// A map in words: `"a" = "1", "b" = "2"`.
fn entries(map: &BTreeMap<String, String>) -> String {
    if map.is_empty() {
        return "empty".to_owned();
    }
    let each: Vec<_> = map.iter().map(|(k, v)| format!("{} = {}", quote(k, 40), quote(v, 80))).collect();
    each.join(", ")
}

fn decode<T>(
    raw: Unary<Vec<u8>>,
    asked: &str,
    decode: impl FnOnce(&[u8]) -> Result<T, prost::DecodeError>,
) -> Unary<T> {
    let (answer, end) = match raw.answer.as_deref().map(decode) {
        Some(Err(error)) => {
            (None, End::Malformed(format!("the answer is not the declared message: {error}")))
        }
        Some(Ok(answer)) => (Some(answer), raw.end),
        None => (None, raw.end),
    };
    Unary { answer, end, took: raw.took, asked: asked.to_owned() }
}
