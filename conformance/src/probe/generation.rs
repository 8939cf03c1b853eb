//! StreamPredict: one generation from its request to its end, and a stream held open by hand.

use std::time::Duration;

use ai_inference_proto::{Dialect, GenerationRequest, GenerationResponse};
use http::{HeaderName, HeaderValue};
use tonic::Code;
use wire::{Call, CallOptions, Connection, End, Item, code_name, quote};

use super::{Probe, Record, is_refused};
use crate::verdict::{Judgement, NotPassed};

/// A target that streams for ever is cut off here; no legal bound in this suite allows so many messages.
const MAX_RESPONSES: usize = 50_000;
/// Responses beyond a request's bound: a token may be cut into several characters, and empty chunks may come between.
const RESPONSES_A_TOKEN: usize = 4;
/// Responses that any request may have, however small its bound is.
const SPARE_RESPONSES: usize = 2_048;
/// Bytes: a text equal to a prompt of this length is an echo, not a coincidence.
const ECHO: usize = 16;
/// Bytes that a kept response takes beside its text.
const HELD_BESIDE: usize = 128;
/// Between two attempts at a server that says it is full.
pub(super) const BACK_OFF: Duration = Duration::from_millis(100);

/// One response, as it came.
#[derive(Clone, Debug)]
pub struct Response {
    /// Since the call was opened.
    pub at: Duration,
    /// The decoded message.
    pub message: GenerationResponse,
}

/// One generation: the request and everything that answered it.
#[derive(Clone, Debug)]
pub struct Generation {
    /// What was asked.
    pub request: GenerationRequest,
    /// What came, in the order in which it came.
    pub responses: Vec<Response>,
    /// How the call ended.
    pub end: End,
}

impl Generation {
    /// The whole text.
    pub fn text(&self) -> String {
        self.responses.iter().map(|r| r.message.chunk.as_str()).collect()
    }

    /// The responses that carry text.
    pub fn text_bearing(&self) -> impl Iterator<Item = &Response> + Clone {
        self.responses.iter().filter(|r| !r.message.chunk.is_empty())
    }

    /// It ended OK, with its last message.
    pub fn reached_its_end(&self) -> bool {
        self.end.is_ok() && self.responses.iter().any(|r| r.message.end_of_stream)
    }

    /// From the call to its last response.
    pub fn took(&self) -> Duration {
        self.responses.last().map_or(Duration::ZERO, |r| r.at)
    }

    /// A legal request was served: status OK, and text came that is not the prompt itself. The minimum that every
    /// check of behaviour builds on; the shape of the stream is each check's own matter.
    pub fn served(&self) -> Result<&Self, NotPassed> {
        let asked = || {
            let model = match self.request.model_id.as_str() {
                "" => "no model".to_owned(),
                id => format!("model {}", quote(id, 60)),
            };
            format!(
                "a legal request ({model}, prompt {}, {})",
                quote(&self.request.prompt, 60),
                sampling(&self.request)
            )
        };
        // A status other than OK after a complete generation is STREAM-001's matter.
        let complete = self.end.code().is_some() && self.responses.iter().any(|r| r.message.end_of_stream);
        if !self.end.is_ok() && !complete {
            return Err(NotPassed::Fail(format!(
                "{} {} after {} responses",
                asked(),
                self.end.told(),
                self.responses.len()
            )));
        }
        if self.text_bearing().next().is_none() {
            return Err(NotPassed::Fail(format!(
                "{} was answered OK without any text ({} responses)",
                asked(),
                self.responses.len()
            )));
        }
        if self.request.prompt.len() >= ECHO && self.text() == self.request.prompt {
            return Err(NotPassed::Fail(format!("{} was answered with the prompt itself", asked())));
        }
        Ok(self)
    }

    /// The request was refused with one of `accepted`, and nothing was generated for it.
    pub fn refused(&self, accepted: &[Code], because: &str) -> Result<(), NotPassed> {
        let wanted = accepted.iter().map(|c| code_name(*c)).collect::<Vec<_>>().join(" or ");
        match self.end.code() {
            Some(code) if accepted.contains(&code) && self.responses.is_empty() => Ok(()),
            Some(code) if accepted.contains(&code) => Err(NotPassed::Fail(format!(
                "{because} was refused with {} only after {} responses had been sent",
                self.end,
                self.responses.len()
            ))),
            _ => Err(NotPassed::Fail(format!("{because} {}, not {wanted}", self.told()))),
        }
    }

    /// What became of the call, with the text that came.
    fn told(&self) -> String {
        match self.text() {
            text if text.is_empty() => self.end.told(),
            text => format!("{} with the text {}", self.end.told(), quote(&text, 60)),
        }
    }
}

/// A StreamPredict call held open by hand. Dropping it cancels it.
#[derive(Debug)]
pub struct Stream {
    call: Call,
    path: String,
    record: Record,
    dialect: Dialect,
    patience: Duration,
}

/// What a stream yields next.
#[derive(Clone, Debug)]
pub enum StreamItem {
    /// A response that could be decoded.
    Response(Box<Response>),
    /// A message that is no StreamPredictResponse, and why.
    Undecodable(String),
    /// The end of the stream.
    End(End),
}

/// A request that must be served ended without text.
pub(super) fn no_text(end: &End) -> NotPassed {
    NotPassed::Fail(format!("a legal request got no text: the call {}", end.told()))
}

impl Stream {
    /// Sends a request.
    pub fn send(&mut self, request: &GenerationRequest) {
        self.send_bytes(&self.dialect.encode_request(request.clone()), &shown(request));
    }

    /// Sends any bytes as one gRPC message.
    pub fn send_bytes(&mut self, bytes: &[u8], what: &str) {
        self.record.request(&self.path, bytes);
        self.call.send(bytes, what);
    }

    /// Ends the client's half.
    pub fn half_close(&mut self) {
        self.call.half_close();
    }

    /// Cancels the call.
    pub fn cancel(self) {
        self.call.cancel();
    }

    /// Whether the connection had room for it, and no end was seen yet.
    pub fn is_open(&self) -> bool {
        self.call.is_open()
    }

    /// The next response or the end.
    pub async fn next(&mut self) -> StreamItem {
        self.next_within(self.patience).await
    }

    /// The next response or the end, waiting at most so long.
    pub async fn next_within(&mut self, patience: Duration) -> StreamItem {
        match self.call.next(patience).await {
            Item::End(end) => StreamItem::End(end),
            Item::Message(raw) => match self.dialect.decode_response(&raw.bytes) {
                Ok(message) => {
                    self.call.note(format!(
                        "StreamPredictResponse: trace_id {}, index {}, chunk {}, end_of_stream {}",
                        quote(&message.trace_id, 60),
                        message.index,
                        quote(&message.chunk, 60),
                        message.end_of_stream
                    ));
                    StreamItem::Response(Box::new(Response { at: raw.at, message }))
                }
                Err(error) => {
                    let why =
                        format!("message {} is no StreamPredictResponse: {error}", wire::hex(&raw.bytes));
                    self.call.note(why.clone());
                    StreamItem::Undecodable(why)
                }
            },
        }
    }

    /// Counts a response that the check keeps; one too many is a failure.
    pub fn keep(&self, response: &Response) -> Judgement {
        self.record.hold(HELD_BESIDE + response.message.chunk.len()).map_err(NotPassed::Fail)
    }

    /// Waits for the first response that carries text.
    pub async fn first_text(&mut self) -> Result<Response, NotPassed> {
        self.first_text_or_end().await?.map_err(|end| no_text(&end))
    }

    /// The same, or how the call ended without any.
    pub(super) async fn first_text_or_end(&mut self) -> Result<Result<Response, End>, NotPassed> {
        loop {
            match self.next().await {
                StreamItem::Response(response) if !response.message.chunk.is_empty() => {
                    return Ok(Ok(*response));
                }
                StreamItem::Response(_) => {}
                StreamItem::Undecodable(why) => return Err(NotPassed::Fail(why)),
                StreamItem::End(end) => return Ok(Err(end)),
            }
        }
    }

    /// Reads to the end.
    pub async fn finish(self, request: GenerationRequest) -> Generation {
        self.read(request, false, None).await
    }

    /// Reads to the end, for so long at most; a generation that has no end by then ends with [`End::TimedOut`].
    pub async fn finish_within(self, request: GenerationRequest, most: Duration) -> Generation {
        self.read(request, false, Some(most)).await
    }

    /// Reads to the end, and half-closes when the last message of the first generation has come.
    ///
    /// A stream on which no last message comes is half-closed when patience ends, and read on: what is missing is
    /// then the check's to say.
    pub async fn half_close_after_last(self, request: GenerationRequest) -> Generation {
        self.read(request, true, None).await
    }

    async fn read(
        mut self,
        request: GenerationRequest,
        mut close: bool,
        most: Option<Duration>,
    ) -> Generation {
        let began = std::time::Instant::now();
        let mut generation = Generation { request, responses: Vec::new(), end: End::Closed(String::new()) };
        generation.end = loop {
            let patience = match most.map(|most| most.saturating_sub(began.elapsed())) {
                Some(Duration::ZERO) => break End::TimedOut(began.elapsed()),
                Some(left) => self.patience.min(left),
                None => self.patience,
            };
            match self.next_within(patience).await {
                StreamItem::Response(response) => {
                    if close && response.message.end_of_stream {
                        close = false;
                        self.half_close();
                    }
                    let held = self.record.hold(HELD_BESIDE + response.message.chunk.len());
                    generation.responses.push(*response);
                    if let Err(why) = held {
                        break End::Malformed(why);
                    }
                }
                StreamItem::End(End::TimedOut(_)) if close => {
                    close = false;
                    self.half_close();
                }
                StreamItem::Undecodable(why) => break End::Malformed(why),
                StreamItem::End(end) => break end,
            }
            let most = most_responses(&generation.request);
            if generation.responses.len() >= most {
                let asked = sampling(&generation.request);
                break End::Malformed(format!(
                    "more than {most} responses to one request, which had {asked}"
                ));
            }
        };
        generation
    }
}

impl Probe {
    /// Runs one generation to its end: send, half-close, read. A server that says it is full is asked again.
    pub async fn predict(&self, request: GenerationRequest) -> Result<Generation, NotPassed> {
        self.generate(request, None).await
    }

    /// The same, read for so long at most.
    pub async fn predict_within(
        &self,
        request: GenerationRequest,
        most: Duration,
    ) -> Result<Generation, NotPassed> {
        self.generate(request, Some(most)).await
    }

    /// Runs one generation whose first response may take longer than the patience, for so long at most; asked again while
    /// the server says that it is full.
    pub async fn predict_waiting(
        &self,
        request: GenerationRequest,
        most: Duration,
    ) -> Result<Generation, NotPassed> {
        let began = std::time::Instant::now();
        let streamer = self.streamer().with_patience(most);
        loop {
            let mut stream = streamer.open(&self.connection().await?).await;
            stream.send(&request);
            stream.half_close();
            let left = most.saturating_sub(began.elapsed());
            let generation = stream.finish_within(request.clone(), left).await;
            let again = is_refused(&generation);
            if !again || began.elapsed() + BACK_OFF >= most {
                return Ok(generation);
            }
            tokio::time::sleep(BACK_OFF).await;
        }
    }

    async fn generate(
        &self,
        request: GenerationRequest,
        most: Option<Duration>,
    ) -> Result<Generation, NotPassed> {
        let began = std::time::Instant::now();
        let patience = most.unwrap_or_else(|| self.patience());
        loop {
            let mut stream = self.stream().await?;
            stream.send(&request);
            stream.half_close();
            let generation = stream.read(request.clone(), false, most).await;
            let again = generation.end.is_full() && began.elapsed() < patience;
            if !(again && generation.responses.is_empty()) {
                return Ok(generation);
            }
            tokio::time::sleep(BACK_OFF).await;
        }
    }

    /// Opens a StreamPredict call on the check's own connection.
    pub async fn stream(&self) -> Result<Stream, NotPassed> {
        let connection = self.connection().await?;
        Ok(self.stream_on(&connection).await)
    }

    /// Opens a StreamPredict call on a given connection.
    pub async fn stream_on(&self, connection: &Connection) -> Stream {
        self.streamer().open(connection).await
    }

    /// What opens streams, to be moved into a task.
    pub fn streamer(&self) -> Streamer {
        Streamer {
            path: self.path("StreamPredict"),
            options: self.options(),
            record: self.record.clone(),
            dialect: self.dialect(),
            patience: self.patience(),
        }
    }
}

/// Opens StreamPredict calls on behalf of a probe, from any task.
#[derive(Clone, Debug)]
pub struct Streamer {
    path: String,
    options: CallOptions,
    record: Record,
    dialect: Dialect,
    patience: Duration,
}

impl Streamer {
    /// Waits longer for a place on the connection and for each item, e.g. where many streams queue for few slots.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, options: CallOptions { patience, ..self.options }, ..self }
    }

    /// Gives each call a deadline, as gRPC clients do.
    #[must_use]
    pub fn with_deadline(mut self, after: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(after) {
            self.options.metadata.push((HeaderName::from_static("grpc-timeout"), value));
        }
        self
    }

    /// Opens a call.
    pub async fn open(&self, connection: &Connection) -> Stream {
        let call = connection.call(&self.path, &self.options, &self.record).await;
        let (path, record) = (self.path.clone(), self.record.clone());
        Stream { call, path, record, dialect: self.dialect, patience: self.patience }
    }
}

/// How many responses a request can have before the target is taken to ignore its bound.
fn most_responses(request: &GenerationRequest) -> usize {
    let bound = request.sampling.map_or(0, |sampling| sampling.max_new_tokens);
    match usize::try_from(bound) {
        Ok(bound @ 1..) => (bound.saturating_mul(RESPONSES_A_TOKEN) + SPARE_RESPONSES).min(MAX_RESPONSES),
        _ => MAX_RESPONSES,
    }
}

/// The sampling parameters in words; zero is unset (contract, section 5) and is left out.
fn sampling(request: &GenerationRequest) -> String {
    let Some(sampling) = request.sampling else { return "no sampling parameters".to_owned() };
    let mut words = Vec::new();
    let mut add = |name: &str, value: String| words.push(format!("{name} {value}"));
    if sampling.max_new_tokens != 0 {
        add("max_new_tokens", sampling.max_new_tokens.to_string());
    }
    for (name, value) in [
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("repetition_penalty", sampling.repetition_penalty),
    ] {
        if value != 0.0 {
            add(name, value.to_string());
        }
    }
    if words.is_empty() { "all sampling parameters unset".to_owned() } else { words.join(", ") }
}

fn shown(request: &GenerationRequest) -> String {
    format!(
        "StreamPredictRequest: model_id {}, prompt {}, {}, trace_id {}",
        quote(&request.model_id, 60),
        quote(&request.prompt, 80),
        sampling(request),
        quote(request.trace_id(), 60)
    )
}
