//! Health, Control, errors, sampling and streams with several requests: faults of one case only, and servers that keep the rule in
//! another way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ai_inference_proto::{ControlMessage, GenerationRequest, GenerationResponse, HealthAnswer, Sampling};
use conformance::{
    events::Verdict::{Fail, Inconclusive, Pass},
    exemplar::{
        Behaviour, Conformant, HttpRequest, HttpResponse, Next, Responses, Script, State, Turn, rewrite,
    },
};
use futures_util::stream;
use http::HeaderMap;
use tonic::Status;

use super::{
    Sneaky,
    behaviours::{Admits, OneAStream, Random, Scripts},
};

pub(super) static ALL: &[Sneaky] = &[
    Sneaky {
        name: "HEALTH-009/a-counter-with-a-point",
        behaviour: || healths(|health| insert(health, "requests_success", |count| format!("{count}.0"))),
        verdict: Fail,
        reason: "in decimal digits",
        beside: &["HEALTH-001"],
    },
    Sneaky {
        name: "HEALTH-009/always-zero-in-flight",
        behaviour: || healths(|health| insert(health, "requests_inflight", |_| "0".to_owned())),
        verdict: Fail,
        reason: "does not count until its last message",
        beside: &["HEALTH-005"],
    },
    Sneaky {
        name: "HEALTH-009/no-counters",
        behaviour: || healths(|health| health.metrics.retain(|name, _| !name.starts_with("requests_"))),
        verdict: Inconclusive,
        reason: "shows none of",
        beside: &["HEALTH-001"],
    },
    Sneaky {
        name: "HEALTH-010/not-served",
        behaviour: || Arc::new(NoStandardHealth),
        verdict: Inconclusive,
        reason: "is not served",
        beside: &["HEALTH-001", "WIRE-006"],
    },
    Sneaky {
        name: "CONTROL-007/not-found-until-it-is-loaded",
        behaviour: || Arc::new(Unloads { on_demand: false, after: Duration::ZERO, ..Unloads::default() }),
        verdict: Pass,
        reason: "",
        beside: &["CONTROL-008", "CONTROL-009", "STREAM-016"],
    },
    Sneaky {
        name: "CONTROL-007/two-seconds-to-load",
        behaviour: || {
            Arc::new(Unloads { on_demand: true, after: Duration::from_secs(2), ..Unloads::default() })
        },
        verdict: Pass,
        reason: "",
        beside: &["CONTROL-009"],
    },
    Sneaky {
        name: "CONTROL-007/never-unloads",
        behaviour: || {
            controls(|state, message| match message.command.as_str() {
                "unload_model" => Ok(answer(state, &message, "error", "a model in use is not unloaded")),
                _ => Ok(state.control(&message)),
            })
        },
        verdict: Inconclusive,
        reason: "unload_model of",
        beside: &["CONTROL-011", "CONTROL-010"],
    },
    Sneaky {
        name: "CONTROL-009/knows-no-load-model",
        behaviour: || {
            controls(|state, mut message| {
                let command = message.command.clone();
                if command != "load_model" {
                    return Ok(state.control(&message));
                }
                message.command = "no_such_command".into();
                let mut answer = state.control(&message);
                answer.command = format!("{command}_response");
                answer.payload.insert("message".into(), format!("unknown command: {command}"));
                Ok(answer)
            })
        },
        verdict: Inconclusive,
        reason: "like a command that does not exist",
        beside: &["CONTROL-007"],
    },
    Sneaky {
        name: "CONTROL-010/names-of-a-hundred-and-no-longer",
        behaviour: || {
            controls(|state, message| match message.command.len() {
                0..=100 => Ok(state.control(&message)),
                _ => Err(Status::invalid_argument("the command is too long")),
            })
        },
        verdict: Pass,
        reason: "",
        beside: &["CONTROL-005"],
    },
    Sneaky {
        name: "CONTROL-010/a-nul-in-a-key",
        behaviour: || {
            controls(|state, message| {
                if message.payload.keys().any(|key| key.contains('\0')) {
                    return Err(Status::unknown("embedded null byte"));
                }
                Ok(state.control(&message))
            })
        },
        verdict: Fail,
        reason: "was answered UNKNOWN",
        beside: &["CONTROL-005"],
    },
    Sneaky {
        name: "CONTROL-011/paths-only",
        behaviour: || {
            controls(|state, message| match message.payload.get("model_id") {
                Some(id) if message.command == "unload_model" && id.contains("../") => {
                    Ok(answer(state, &message, "ok", ""))
                }
                _ => Ok(state.control(&message)),
            })
        },
        verdict: Fail,
        reason: "../no-such-model",
        beside: &[],
    },
    Sneaky {
        name: "ERROR-002/must-be-named",
        behaviour: || Arc::new(MustBeNamed),
        verdict: Pass,
        reason: "",
        beside: &["ERROR-005"],
    },
    Sneaky {
        name: "ERROR-003/chinese-only",
        behaviour: || Arc::new(CountsBytes),
        verdict: Fail,
        reason: "\"春天的河\"",
        beside: &["ERROR-005"],
    },
    Sneaky {
        name: "ERROR-004/one-token-too-many",
        behaviour: || Arc::new(OffByOne),
        verdict: Fail,
        reason: "was answered INTERNAL",
        beside: &["ERROR-005"],
    },
    Sneaky {
        name: "ERROR-004/the-end-is-cut-off",
        behaviour: || Arc::new(CutsTheEnd),
        verdict: Fail,
        reason: "truncated in silence",
        beside: &["SAMPLING-003"],
    },
    Sneaky {
        name: "ERROR-005/nothing-to-say",
        behaviour: || {
            speaks(|request, script| {
                if request.prompt.is_empty() {
                    script.tokens.clear();
                }
            })
        },
        verdict: Pass,
        reason: "",
        beside: &[],
    },
    Sneaky {
        name: "ERROR-005/ok-without-a-response",
        behaviour: || {
            Arc::new(Responds(|request, responses| match request.prompt.as_str() {
                "" => Box::pin(stream::empty()),
                _ => responses,
            }))
        },
        verdict: Fail,
        reason: "with 0 responses",
        beside: &[],
    },
    Sneaky {
        name: "ERROR-008/the-second-time-only",
        behaviour: || Arc::new(ForgetsRefusals::default()),
        verdict: Fail,
        reason: "which does not exist, was answered OK",
        beside: &[],
    },
    Sneaky {
        name: "ERROR-009/behind-a-plain-name-only",
        behaviour: || {
            admits(|request| match request.adapter.split_once("/..") {
                Some(("adapter", _)) => Err(Status::internal("cannot read the adapter")),
                _ => Ok(()),
            })
        },
        verdict: Fail,
        reason: "was answered INTERNAL",
        beside: &["ERROR-008"],
    },
    Sneaky {
        name: "ERROR-009/names-it-and-a-number",
        behaviour: || {
            let number = Arc::new(AtomicUsize::new(0));
            Arc::new(Numbered(number))
        },
        verdict: Pass,
        reason: "",
        beside: &["ERROR-008"],
    },
    Sneaky {
        name: "ERROR-010/the-token-in-a-message",
        behaviour: || Arc::new(RepeatsTheToken),
        verdict: Fail,
        reason: "a secret that the client sent",
        beside: &["AUTH-003"],
    },
    Sneaky {
        name: "ERROR-010/a-path-in-trailers",
        behaviour: || {
            admits(|request| {
                let mut status = Status::not_found(format!("model not found: {}", request.model_id));
                status
                    .metadata_mut()
                    .insert("x-debug", "/opt/server/models/registry.py".parse().expect("a value"));
                if request.model_id.starts_with("no-such") { Err(status) } else { Ok(()) }
            })
        },
        verdict: Fail,
        reason: "\"x-debug\" of a call of",
        beside: &["ERROR-001"],
    },
    Sneaky {
        name: "STREAM-013/one-request-a-stream",
        behaviour: || Arc::new(OneAStream),
        verdict: Pass,
        reason: "",
        beside: &["STREAM-001", "STREAM-008"],
    },
    Sneaky {
        name: "STREAM-013/an-index-for-the-stream",
        behaviour: || Arc::new(OneIndex::default()),
        verdict: Fail,
        reason: "got the index",
        beside: &[],
    },
    Sneaky {
        name: "STREAM-014/in-turn",
        behaviour: || Arc::new(InTurn),
        verdict: Inconclusive,
        reason: "in turn",
        beside: &["STREAM-013"],
    },
    Sneaky {
        name: "STREAM-015/seconds-for-milliseconds",
        behaviour: || {
            Arc::new(Responds(|_, responses| {
                rewrite(responses, |mut message| {
                    message.timings.ttft_ms *= 1000.0;
                    vec![message]
                })
            }))
        },
        verdict: Fail,
        reason: "ttft_ms was",
        beside: &[],
    },
    Sneaky {
        name: "STREAM-016/wavers",
        behaviour: || Arc::new(Random),
        verdict: Inconclusive,
        reason: "SAMPLING-003",
        beside: &["CONTROL-007"],
    },
    Sneaky {
        name: "SAMPLING-005/an-infinite-penalty-only",
        behaviour: || {
            Arc::new(Lenient(|mut sampling| {
                if sampling.repetition_penalty.is_infinite() {
                    sampling.repetition_penalty = 1.0;
                }
                sampling
            }))
        },
        verdict: Fail,
        reason: "repetition_penalty inf",
        beside: &["SAMPLING-006"],
    },
    Sneaky {
        name: "SAMPLING-007/a-model-that-is-sure",
        behaviour: || Arc::new(Sure),
        verdict: Inconclusive,
        reason: "",
        beside: &["SAMPLING-003"],
    },
    Sneaky {
        name: "SAMPLING-009/two-together",
        behaviour: || {
            admits(|request| {
                let s = request.sampling.unwrap_or_default();
                if s.temperature > 2.5 && s.repetition_penalty > 1.0 {
                    return Err(Status::internal("overflow"));
                }
                Ok(())
            })
        },
        verdict: Fail,
        reason: "was answered INTERNAL \"overflow\"",
        beside: &["SAMPLING-002"],
    },
    Sneaky {
        name: "SAMPLING-011/ends-by-itself",
        behaviour: || speaks(|_, script| script.tokens.truncate(3)),
        verdict: Inconclusive,
        reason: "ends its texts within",
        beside: &["SAMPLING-003"],
    },
    Sneaky {
        name: "AUTH-002/in-any-letter-case",
        behaviour: || {
            Arc::new(Credentials(|state, value| {
                state.token().is_some_and(|token| value.eq_ignore_ascii_case(&format!("Bearer {token}")))
            }))
        },
        verdict: Fail,
        reason: "the token in upper case was answered OK",
        beside: &["AUTH-001", "AUTH-003"],
    },
    Sneaky {
        name: "AUTH-002/the-scheme-in-any-letter-case",
        behaviour: || {
            Arc::new(Credentials(|state, value| {
                let (scheme, given) = value.split_once(' ').unwrap_or_default();
                scheme.eq_ignore_ascii_case("bearer") && Some(given) == state.token()
            }))
        },
        verdict: Pass,
        reason: "",
        beside: &["AUTH-001", "AUTH-003", "AUTH-004"],
    },
    Sneaky {
        name: "AUTH-002/any-scheme",
        behaviour: || {
            Arc::new(Credentials(|state, value| {
                value.split_once(' ').map(|(_, given)| given) == state.token()
            }))
        },
        verdict: Fail,
        reason: "the scheme Basic was answered OK",
        beside: &["AUTH-001"],
    },
    Sneaky {
        name: "AUTH-004/waits-for-the-half-close",
        behaviour: || Arc::new(ReadsAllFirst),
        verdict: Fail,
        reason: "waits for the end of the stream",
        beside: &[],
    },
];

fn insert(health: &mut HealthAnswer, name: &str, change: impl FnOnce(&str) -> String) {
    let before = health.metrics.get(name).cloned().unwrap_or_default();
    health.metrics.insert(name.to_owned(), change(&before));
}

/// Shows another Health.
struct Healths(fn(&mut HealthAnswer));

fn healths(change: fn(&mut HealthAnswer)) -> Arc<dyn Behaviour> {
    Arc::new(Healths(change))
}

#[tonic::async_trait]
impl Behaviour for Healths {
    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        let mut health = state.health();
        (self.0)(&mut health);
        Ok(health)
    }
}

struct NoStandardHealth;

#[tonic::async_trait]
impl Behaviour for NoStandardHealth {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        if request.uri().path().starts_with("/grpc.health.v1.") {
            return Status::unimplemented("").into_http();
        }
        next.run(request).await
    }
}

/// Answers Control in another way.
struct Controls(fn(&State, ControlMessage) -> Result<ControlMessage, Status>);

fn controls(with: fn(&State, ControlMessage) -> Result<ControlMessage, Status>) -> Arc<dyn Behaviour> {
    Arc::new(Controls(with))
}

#[tonic::async_trait]
impl Behaviour for Controls {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        (self.0)(state, message)
    }
}

/// The right answer with another status and message.
fn answer(state: &State, message: &ControlMessage, status: &str, text: &str) -> ControlMessage {
    let mut answer = state.control(message);
    answer.payload =
        [("status", status), ("message", text)].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    answer
}

/// Unloads its model, and loads it again on demand or when it is told to, which takes a while.
#[derive(Default)]
struct Unloads {
    on_demand: bool,
    after: Duration,
    unloaded: AtomicBool,
}

#[tonic::async_trait]
impl Behaviour for Unloads {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let answer = state.control(&message);
        let done = answer.payload.get("status").is_some_and(|status| status == "ok");
        match message.command.as_str() {
            "unload_model" if done => self.unloaded.store(true, Ordering::Relaxed),
            "load_model" if done => {
                tokio::time::sleep(self.after).await;
                self.unloaded.store(false, Ordering::Relaxed);
            }
            _ => {}
        }
        Ok(answer)
    }

    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        if self.unloaded.load(Ordering::Relaxed) && !self.on_demand {
            return Err(Status::not_found("the model is not loaded"));
        }
        state.admit(request)
    }

    async fn turn(&self, state: &State, request: &GenerationRequest) -> Result<Turn, Status> {
        if self.unloaded.load(Ordering::Relaxed) {
            tokio::time::sleep(self.after).await;
            self.unloaded.store(false, Ordering::Relaxed);
        }
        Conformant.turn(state, request).await
    }
}

fn admits(with: fn(&GenerationRequest) -> Result<(), Status>) -> Arc<dyn Behaviour> {
    Arc::new(Admits(with))
}

fn speaks(change: fn(&GenerationRequest, &mut Script)) -> Arc<dyn Behaviour> {
    Arc::new(Scripts(change))
}

struct Responds(fn(&GenerationRequest, Responses) -> Responses);

impl Behaviour for Responds {
    fn respond(&self, request: &GenerationRequest, responses: Responses) -> Responses {
        (self.0)(request, responses)
    }
}

/// Serves an empty model_id only with metadata that has a trace_id of the survey's; else it asks for a name.
struct MustBeNamed;

impl Behaviour for MustBeNamed {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        let bound = request.sampling.map_or(0, |s| s.max_new_tokens);
        if request.model_id.is_empty() && (bound == 4 && request.metadata.is_none()) {
            return Err(Status::not_found("name a model"));
        }
        state.admit(request)
    }
}

/// Takes a text of many bytes a character for a short one.
struct CountsBytes;

impl Behaviour for CountsBytes {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        let short = request.prompt.starts_with('春');
        let prompt = request.prompt.chars().take(if short { 1000 } else { usize::MAX }).collect();
        state.admit(&GenerationRequest { prompt, ..request.clone() })
    }
}

/// The exemplar's context, in characters of a prompt.
const CONTEXT: usize = 39_998;

/// Breaks at the first prompt that is too long, and refuses longer ones.
struct OffByOne;

impl Behaviour for OffByOne {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        if (CONTEXT + 1..=CONTEXT + 2).contains(&request.prompt.chars().count()) {
            return Err(Status::internal("index out of bounds"));
        }
        state.admit(request)
    }
}

/// Reads four thousand characters of a prompt, and no more.
struct CutsTheEnd;

impl Behaviour for CutsTheEnd {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let prompt = request.prompt.chars().take(4000).collect();
        Conformant.speak(&GenerationRequest { prompt, ..request.clone() })
    }
}

/// An adapter that was refused once counts as loaded.
#[derive(Default)]
struct ForgetsRefusals {
    refused: std::sync::Mutex<Vec<String>>,
}

impl Behaviour for ForgetsRefusals {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        let mut refused = self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if request.adapter.is_empty() || refused.contains(&request.adapter) {
            return state.admit(&GenerationRequest { adapter: String::new(), ..request.clone() });
        }
        refused.push(request.adapter.clone());
        state.admit(request)
    }
}

/// Names the adapter and counts its refusals.
struct Numbered(Arc<AtomicUsize>);

impl Behaviour for Numbered {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        if request.adapter.is_empty() {
            return state.admit(request);
        }
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Err(Status::not_found(format!("refusal {number}: there is no adapter {:?}", request.adapter)))
    }
}

/// Says the token back to whoever asks for an unknown model.
struct RepeatsTheToken;

impl Behaviour for RepeatsTheToken {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        state.admit(request).map_err(|status| match state.token() {
            Some(token) => {
                Status::new(status.code(), format!("{} (authorization: {token})", status.message()))
            }
            None => status,
        })
    }
}

/// Counts the responses of all that it has ever answered under ids that begin alike.
#[derive(Default)]
struct OneIndex {
    streams: AtomicUsize,
}

impl Behaviour for OneIndex {
    fn respond(&self, request: &GenerationRequest, responses: Responses) -> Responses {
        let bound = request.sampling.map_or(0, |s| s.max_new_tokens);
        let later = bound == 8 && !self.streams.fetch_add(1, Ordering::Relaxed).is_multiple_of(3);
        rewrite(responses, move |message| {
            let index = message.index + i64::from(later) * 9;
            vec![GenerationResponse { index, ..message }]
        })
    }
}

/// Answers the requests of a stream one after the other.
struct InTurn;

impl Behaviour for InTurn {
    fn at_once(&self) -> usize {
        1
    }
}

/// Looks at parameters after they were mended.
struct Lenient(fn(Sampling) -> Sampling);

impl Behaviour for Lenient {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        let sampling = request.sampling.map(self.0);
        state.admit(&GenerationRequest { sampling, ..request.clone() })
    }
}

/// Says one text at any temperature below ten, and takes none above.
struct Sure;

impl Behaviour for Sure {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        if request.sampling.unwrap_or_default().temperature > 10.0 {
            return Err(Status::invalid_argument("temperature is 10 at most"));
        }
        state.admit(request)
    }

    fn speak(&self, request: &GenerationRequest) -> Script {
        let sampling = request.sampling.map(|s| Sampling { temperature: 0.01, top_p: 0.001, ..s });
        Conformant.speak(&GenerationRequest { sampling, ..request.clone() })
    }
}

/// Decides by the one value of `authorization`.
struct Credentials(fn(&State, &str) -> bool);

impl Behaviour for Credentials {
    fn authorize(&self, state: &State, method: &str, headers: &HeaderMap) -> Result<(), Status> {
        let value = headers.get("authorization").and_then(|value| value.to_str().ok());
        if method == "Health" || value.is_some_and(|value| (self.0)(state, value)) {
            return Ok(());
        }
        Err(Status::unauthenticated("a bearer token is needed"))
    }
}

/// Reads a stream to its end before it looks at the token.
struct ReadsAllFirst;

#[tonic::async_trait]
impl Behaviour for ReadsAllFirst {
    async fn http(&self, request: HttpRequest, next: Next<'_>) -> HttpResponse {
        let stranger = next.state().authorize(request.headers()).is_err();
        if stranger && request.uri().path().ends_with("/StreamPredict") {
            conformance::exemplar::read_whole(request.into_body()).await;
            return Status::unauthenticated("a bearer token is needed").into_http();
        }
        next.run(request).await
    }
}
