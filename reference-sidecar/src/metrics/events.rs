//! What is counted once for each generation, when it ends, and for each call that is refused as a whole.

use std::time::Duration;

use ai_inference_proto::Dialect;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The generation ended with its last message.
    Ok,
    /// Its caller left, or its deadline or the server's grace time was over.
    Cancelled,
    /// It was not begun, for a reason that the request or the load gave.
    Refused,
    /// Through no fault of the request.
    Failed,
}

impl Outcome {
    /// The name in labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// A generation that has ended.
#[derive(Clone, Debug)]
pub struct Ended<'a> {
    /// Its model's name; empty where it ended before one was found.
    pub model: &'a str,
    /// The dialect of its request.
    pub dialect: Dialect,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens of its prompt, where they were counted.
    pub prompt_tokens: u64,
    /// Tokens that it had.
    pub tokens: u32,
    /// From its arrival to its first token, where it had one.
    pub first: Option<Duration>,
    /// From its first token to its last.
    pub rest: Option<Duration>,
    /// Time from its arrival to its end.
    pub total: Duration,
}

/// The metrics of generations.
#[derive(Debug)]
pub struct Events {
    requests: Family<RequestLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    prompt_tokens: Family<ModelLabels, Counter>,
    first_token: Family<ModelLabels, Histogram, fn() -> Histogram>,
    output_token: Family<ModelLabels, Histogram, fn() -> Histogram>,
    duration: Family<ModelLabels, Histogram, fn() -> Histogram>,
}

impl Events {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let events = Self {
            requests: Family::default(),
            refusals: Family::default(),
            prompt_tokens: Family::default(),
            first_token: Family::new_with_constructor(|| Histogram::new(FIRST_TOKEN)),
            output_token: Family::new_with_constructor(|| Histogram::new(OUTPUT_TOKEN)),
            duration: Family::new_with_constructor(|| Histogram::new(DURATION)),
        };
        registry.register(
            "requests",
            "Generations that ended; without a model where they ended before one was found",
            events.requests.clone(),
        );
        registry.register(
            "refusals",
            "Generations and calls that ended with another status than OK, by reason",
            events.refusals.clone(),
        );
        registry.register(
            "prompt_tokens",
            "Tokens of the prompts of generations that ended",
            events.prompt_tokens.clone(),
        );
        registry.register_with_unit(
            "time_to_first_token",
            "From a request's arrival to its first token",
            Unit::Seconds,
            events.first_token.clone(),
        );
        registry.register_with_unit(
            "time_per_output_token",
            "Mean time between the tokens of a generation after the first",
            Unit::Seconds,
            events.output_token.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "From a request's arrival to its last message, of generations with the outcome ok",
            Unit::Seconds,
            events.duration.clone(),
        );
        events
    }

    /// Counts a generation.
    pub fn ended(&self, ended: &Ended<'_>) {
        let (dialect, outcome) = (ended.dialect.name(), ended.outcome.name());
        let labels = RequestLabels { model: ended.model.to_owned(), dialect, outcome };
        self.requests.get_or_create(&labels).inc();
        if ended.model.is_empty() {
            return;
        }
        let model = ModelLabels { model: labels.model };
        self.prompt_tokens.get_or_create(&model).inc_by(ended.prompt_tokens);
        if let Some(first) = ended.first {
            self.first_token.get_or_create(&model).observe(first.as_secs_f64());
        }
        if let Some(rest) = ended.rest
            && ended.tokens > 1
        {
            let mean = rest.as_secs_f64() / f64::from(ended.tokens - 1);
            self.output_token.get_or_create(&model).observe(mean);
        }
        if ended.outcome == Outcome::Ok {
            self.duration.get_or_create(&model).observe(ended.total.as_secs_f64());
        }
    }

    /// Counts a generation or a call that ended with an error.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&RefusalLabels { reason }).inc();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    model: String,
    dialect: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

/// Seconds. A short prompt on a fast machine takes milliseconds, the longest prompt behind a full queue minutes.
const FIRST_TOKEN: [f64; 16] =
    [0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

/// Seconds: from hundreds of tokens a second to one that a reader waits for.
const OUTPUT_TOKEN: [f64; 14] =
    [0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0];

/// Seconds: from a word to a long story.
const DURATION: [f64; 14] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];
