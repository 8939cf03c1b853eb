//! Target `requests`: a message's bytes, through our own code and through the service.
//!
//! The first byte of an input chooses dialect and method; the rest is the message.

use std::{sync::Arc, time::Duration};

use ai_inference_proto::{
    Contract, ControlMessage, CyLlm, Dialect, GenerationRequest, Metadata, Sampling, WireDialect, contract,
    cy_llm,
};
use prost::Message as _;
use rand::{RngExt as _, rngs::StdRng};
use reference_sidecar::{
    engine::SamplingParameters,
    text::{Decode as _, Incremental},
};
use testkit::Client;
use tonic::{Code, Status};

use crate::{
    bytes::{self, pick},
    campaign::Target,
    sidecar::Sidecar,
};

/// The fuzz target that sends gRPC requests.
#[derive(Clone)]
pub struct Requests {
    sidecar: Arc<Sidecar>,
    client: Client,
}

impl Requests {
    /// Against this sidecar, over one connection.
    pub async fn new(sidecar: Arc<Sidecar>) -> anyhow::Result<Self> {
        let client = sidecar.client().await?;
        Ok(Self { sidecar, client })
    }

    async fn call(
        &self,
        path: &'static str,
        message: &[u8],
        deadline: Option<Duration>,
    ) -> Result<Vec<Vec<u8>>, Status> {
        let message = tokio_stream::once(message.to_owned());
        let mut messages = self.client.bytes(path, message, deadline).await?;
        let mut responses = Vec::new();
        while let Some(message) = messages.message().await? {
            responses.push(message);
        }
        Ok(responses)
    }

    /// Our own steps, without a service around them. Returns what they say of the bytes.
    fn alone(&self, kind: Kind, message: &[u8]) -> Result<Verdict, String> {
        match (kind.method, kind.dialect) {
            (Method::StreamPredict, dialect) => {
                let Ok(request) = dialect.decode_request(message) else { return Ok(Verdict::Broken) };
                again(dialect, &request)?;
                self.validate(&request)
            }
            (Method::Control, Dialect::Contract) => {
                Ok(Verdict::of(contract::ControlMessage::decode(message).is_ok()))
            }
            (Method::Control, Dialect::CyLlm) => {
                Ok(Verdict::of(cy_llm::ControlMessage::decode(message).is_ok()))
            }
            (Method::Health, Dialect::Contract) => {
                Ok(Verdict::of(contract::WorkerHealthRequest::decode(message).is_ok()))
            }
            (Method::Health, Dialect::CyLlm) => {
                Ok(Verdict::of(cy_llm::WorkerHealthRequest::decode(message).is_ok()))
            }
        }
    }

    fn validate(&self, request: &GenerationRequest) -> Result<Verdict, String> {
        let tokenizer = &self.sidecar.tokenizer;
        let tokens = tokenizer.encode(&request.prompt).map_err(|error| error.to_string())?;
        // Any tokens may follow each other out of a model: also those of a prompt's bytes.
        let ids: Vec<u32> =
            request.prompt.bytes().map(u32::from).chain(tokens.iter().map(|id| *id as u32)).collect();
        let mut text = Incremental::new(tokenizer.clone());
        let mut joined: String = ids.iter().map(|id| text.push(*id)).collect();
        joined += &text.finish();
        if joined.contains(char::REPLACEMENT_CHARACTER)
            && !tokenizer.decode(&ids).contains(char::REPLACEMENT_CHARACTER)
        {
            return Err("STREAM-011: a character was split".to_owned());
        }
        let Ok(resolved) = SamplingParameters::resolve(request.sampling) else { return Ok(Verdict::Refused) };
        let sane = |value: f32| value.is_finite() && value > 0.0;
        let (real, top_p) = ([resolved.temperature, resolved.repetition_penalty], resolved.top_p);
        if resolved.max_new_tokens == 0 || !real.into_iter().all(sane) || !sane(top_p) || top_p > 1.0 {
            return Err(format!("{resolved:?} was accepted"));
        }
        Ok(Verdict::Good)
    }
}

impl Target for Requests {
    const NAME: &'static str = "requests";

    fn generate(&self, rng: &mut StdRng) -> Vec<u8> {
        let selector = rng.random_range(0..6);
        let kind = Kind::of(selector);
        let message = match kind.method {
            Method::StreamPredict => kind.dialect.encode_request(generation(rng)),
            Method::Control => contract::ControlMessage::from(command(rng)).encode_to_vec(),
            Method::Health => contract::WorkerHealthRequest { trace_id: text(rng) }.encode_to_vec(),
        };
        [vec![selector], message].concat()
    }

    fn mutate(&self, rng: &mut StdRng, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut input = input.to_owned();
        bytes::mutate(rng, &mut input, other.get(1..).unwrap_or_default());
        input
    }

    async fn execute(&self, input: Vec<u8>) -> Result<String, String> {
        let Some((selector, message)) = input.split_first() else { return Ok("empty".to_owned()) };
        let kind = Kind::of(*selector);
        let verdict = self.alone(kind, message)?;
        // A legal request may ask for more text than an input is worth; every other answer comes by itself.
        let deadline = (verdict == Verdict::Good).then_some(DEADLINE);
        let (code, responses, words) = match self.call(kind.path(), message, deadline).await {
            Ok(responses) => (Code::Ok, responses.len(), String::new()),
            Err(status) if tells_too_much(status.message()) => return Err(format!("ERROR-010: {status:?}")),
            Err(status) => {
                // What was asked for stands in quotes, and is no behaviour.
                let words = status.message().split('"').next().unwrap_or_default();
                let words: Vec<_> = words.split(' ').take(4).collect();
                (status.code(), 0, words.join(" "))
            }
        };
        let legal = match (verdict, code) {
            (Verdict::Broken, code) => matches!(code, Code::Internal | Code::InvalidArgument),
            (Verdict::Refused, code) => {
                matches!(code, Code::InvalidArgument | Code::NotFound | Code::ResourceExhausted)
            }
            (Verdict::Good, Code::Ok) => responses > 0,
            (Verdict::Good, code) => matches!(
                code,
                Code::InvalidArgument
                    | Code::NotFound
                    | Code::ResourceExhausted
                    | Code::DeadlineExceeded
                    | Code::Cancelled
            ),
        };
        if !legal {
            return Err(format!(
                "{} was answered with {code:?} and {responses} responses, and the bytes are {verdict:?}",
                kind.path()
            ));
        }
        let many = responses.next_power_of_two();
        Ok(format!("{} {verdict:?} {code:?} {many} {words}", kind.path()))
    }

    async fn check(&self) -> Result<(), String> {
        self.sidecar.check().await
    }
}

/// What our own code says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The bytes are not a message.
    Broken,
    /// A message with parameters that are not legal.
    Refused,
    /// To be served, or refused for what it asks.
    Good,
}

impl Verdict {
    const fn of(decodes: bool) -> Self {
        if decodes { Self::Good } else { Self::Broken }
    }
}

#[derive(Clone, Copy, Debug)]
enum Method {
    StreamPredict,
    Control,
    Health,
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    dialect: Dialect,
    method: Method,
}

impl Kind {
    const fn of(selector: u8) -> Self {
        let dialect = if selector.is_multiple_of(2) { Dialect::Contract } else { Dialect::CyLlm };
        let method = match selector / 2 % 3 {
            0 => Method::StreamPredict,
            1 => Method::Control,
            _ => Method::Health,
        };
        Self { dialect, method }
    }

    const fn path(self) -> &'static str {
        match (self.dialect, self.method) {
            (Dialect::Contract, Method::StreamPredict) => "/AiInference/StreamPredict",
            (Dialect::Contract, Method::Control) => "/AiInference/Control",
            (Dialect::Contract, Method::Health) => "/AiInference/Health",
            (Dialect::CyLlm, Method::StreamPredict) => "/cy.llm.AiInference/StreamPredict",
            (Dialect::CyLlm, Method::Control) => "/cy.llm.AiInference/Control",
            (Dialect::CyLlm, Method::Health) => "/cy.llm.AiInference/Health",
        }
    }
}

/// What a dialect can say, it says the same again.
fn again(dialect: Dialect, request: &GenerationRequest) -> Result<(), String> {
    fn bytes<W: WireDialect>(request: GenerationRequest) -> Vec<u8> {
        W::Request::from(request).encode_to_vec()
    }
    let write = |request| match dialect {
        Dialect::Contract => bytes::<Contract>(request),
        Dialect::CyLlm => bytes::<CyLlm>(request),
    };
    let once = write(request.clone());
    let read =
        dialect.decode_request(&once).map_err(|error| format!("our own bytes are no message: {error}"))?;
    // As bytes, because NaN is not equal to itself.
    if write(read) == once { Ok(()) } else { Err("a request changes when it is written and read".to_owned()) }
}

/// Whether the message tells more than ERROR-010 allows.
fn tells_too_much(message: &str) -> bool {
    let root = env!("CARGO_MANIFEST_DIR").trim_end_matches("reference-sidecar/fuzz");
    message.contains(root) || message.contains("panicked") || message.len() > 2000
}

fn generation(rng: &mut StdRng) -> GenerationRequest {
    let real = |rng: &mut StdRng| *pick(rng, &REALS);
    let sampling = Sampling {
        max_new_tokens: *pick(rng, &[0, 1, 2, 7, 40, -1, i64::from(i32::MIN), i64::from(u32::MAX)]),
        temperature: real(rng),
        top_p: real(rng),
        repetition_penalty: real(rng),
    };
    let metadata = Metadata { trace_id: text(rng), tenant: text(rng), ..Metadata::default() };
    GenerationRequest {
        model_id: (*pick(rng, &["", "", "", "tiny", "../tiny", "nobody"])).to_owned(),
        prompt: text(rng),
        adapter: (*pick(rng, &["", "", "", "../../etc/passwd", "a"])).to_owned(),
        priority: *pick(rng, &[0, 1, -1, i32::MIN, i32::MAX]),
        sampling: rng.random_bool(0.9).then_some(sampling),
        metadata: rng.random_bool(0.9).then_some(metadata),
        ..GenerationRequest::default()
    }
}

fn command(rng: &mut StdRng) -> ControlMessage {
    let command =
        (*pick(rng, &["ping", "list_models", "load_model", "unload_model", "", "dance"])).to_owned();
    let key = (*pick(rng, &["model_id", "status", ""])).to_owned();
    let value = (*pick(rng, &["tiny", "nobody", "../tiny", ""])).to_owned();
    ControlMessage { trace_id: text(rng), command, payload: [(key, value)].into() }
}

fn text(rng: &mut StdRng) -> String {
    (0..rng.random_range(0..6)).map(|_| *pick(rng, &TEXTS)).collect()
}

const REALS: [f64; 11] = [0.0, -0.0, 0.01, 0.7, 1.0, 1.5, 1e-320, 1e300, -1.0, f64::NAN, f64::INFINITY];
const TEXTS: [&str; 12] = [
    "Hello",
    " ",
    "\0",
    "河",
    "👩‍👩‍👧",
    "e\u{301}",
    "\u{202e}",
    "<|im_end|>",
    "</s>",
    "\u{fffd}",
    "\n",
    "zzzzzzzzzzzzzzzz",
];
/// A bound on text, not on the server.
const DEADLINE: Duration = Duration::from_millis(500);
