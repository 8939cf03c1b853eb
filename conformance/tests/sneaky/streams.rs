//! Faults of a stream that show only beside others, with an odd request, or in one answer of several.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ai_inference_proto::{ControlMessage, GenerationRequest, Sampling};
use conformance::{
    events::Verdict::{Fail, Inconclusive},
    exemplar::{Behaviour, Conformant, Responses, Script, State, rewrite},
};
use futures_util::StreamExt as _;
use tonic::Status;

use super::{Sneaky, behaviours::EndsAfter};

pub(super) static ALL: &[Sneaky] = &[
    Sneaky {
        name: "STREAM-007/computed-before-the-first-chunk",
        behaviour: || Arc::new(ComputedFirst),
        verdict: Fail,
        reason: "held back until the answer is computed",
        beside: &["STREAM-001", "STREAM-005", "STREAM-006"],
    },
    Sneaky {
        name: "CONCURRENCY-001/two-chunks-swapped-in-a-crowd",
        behaviour: || Arc::new(Crowd { texts: true, ..Crowd::default() }),
        verdict: Fail,
        reason: "in each other's place beside others",
        beside: &["STREAM-005", "STREAM-006"],
    },
    Sneaky {
        name: "CONCURRENCY-001/indexes-mixed-in-a-crowd",
        behaviour: || Arc::new(Crowd::default()),
        verdict: Fail,
        reason: "has the indexes",
        beside: &["STREAM-005", "STREAM-006"],
    },
    Sneaky {
        name: "STREAM-003/lost-with-an-empty-prompt",
        behaviour: || Arc::new(LostWhenEmpty),
        verdict: Fail,
        reason: "to an empty prompt carries trace_id \"\"",
        beside: &["STREAM-001", "CONCURRENCY-001"],
    },
    Sneaky {
        name: "ERROR-011/the-second-after-a-refusal-fails",
        behaviour: || Arc::new(SecondFails::default()),
        verdict: Fail,
        reason: "in good request 2 of 3 in a row",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "SAMPLING-001/unset-is-greedy",
        behaviour: || Arc::new(UnsetIsGreedy),
        verdict: Fail,
        reason: "unset is read as greedy",
        beside: &["SAMPLING-002", "SAMPLING-003"],
    },
    Sneaky {
        name: "STREAM-011/halves-of-utf16",
        behaviour: || Arc::new(HalvesOfUtf16),
        verdict: Fail,
        reason: "halves of UTF-16",
        beside: &["STREAM-001", "STREAM-005"],
    },
    Sneaky {
        name: "STREAM-012/cut-clean-after-400-ms",
        behaviour: || Arc::new(CutAfter),
        verdict: Fail,
        reason: "went on where they stopped",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "STREAM-012/every-seventh-is-cut-clean",
        behaviour: || Arc::new(EverySeventh::default()),
        verdict: Fail,
        reason: "went on where they stopped",
        beside: &["STREAM-001"],
    },
    Sneaky {
        name: "CONTROL-001/mixed-up-in-a-crowd",
        behaviour: || Arc::new(MixedUp::default()),
        verdict: Fail,
        reason: "pings at once",
        beside: &["CONTROL-002", "CONTROL-003"],
    },
    Sneaky {
        name: "SAMPLING-002/ends-by-itself-after-one-token",
        behaviour: || Arc::new(EndsAfter(1)),
        verdict: Inconclusive,
        reason: "the model ends by itself",
        beside: &["STREAM-001", "STREAM-012"],
    },
    Sneaky {
        name: "SAMPLING-002/ends-by-itself-after-three-tokens",
        behaviour: || Arc::new(EndsAfter(3)),
        verdict: Inconclusive,
        reason: "the model ends by itself",
        beside: &["STREAM-001", "STREAM-012", "SAMPLING-001"],
    },
];

/// Computes the whole answer, and then sends it at leisure.
struct ComputedFirst;

impl Behaviour for ComputedFirst {
    fn speak(&self, request: &GenerationRequest) -> Script {
        Script { gap: Duration::from_millis(2), ..Conformant.speak(request) }
    }

    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let whole = futures_util::stream::once(responses.collect::<Vec<_>>());
        Box::pin(whole.flat_map(|responses| {
            // By the clock, not by sleeps that a busy runtime makes longer: sending takes half as long as computing did.
            let began = tokio::time::Instant::now();
            tokio_stream::iter(responses).enumerate().then(move |(at, response)| async move {
                tokio::time::sleep_until(began + Duration::from_millis(at as u64)).await;
                response
            })
        }))
    }
}

/// Two neighbours in the wrong order while more than eight streams run: the texts, or the responses.
#[derive(Default)]
struct Crowd {
    running: Arc<()>,
    texts: bool,
}

impl Behaviour for Crowd {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let (running, texts) = (Arc::clone(&self.running), self.texts);
        let mut held = None;
        rewrite(responses, move |mut message| {
            if message.index == 3 && !message.end_of_stream && Arc::strong_count(&running) > 9 {
                held = Some(message);
                return vec![];
            }
            let Some(mut before) = held.take() else { return vec![message] };
            if texts {
                std::mem::swap(&mut before.chunk, &mut message.chunk);
                return vec![before, message];
            }
            vec![message, before]
        })
    }
}

struct LostWhenEmpty;

impl Behaviour for LostWhenEmpty {
    fn respond(&self, request: &GenerationRequest, responses: Responses) -> Responses {
        let empty = request.prompt.is_empty();
        rewrite(responses, move |mut message| {
            if empty {
                message.trace_id.clear();
            }
            vec![message]
        })
    }
}

#[derive(Default)]
struct SecondFails {
    since_refusal: AtomicUsize,
}

impl Behaviour for SecondFails {
    fn admit(&self, state: &State, request: &GenerationRequest) -> Result<(), Status> {
        state.admit(request).inspect_err(|_| self.since_refusal.store(2, Ordering::Relaxed))?;
        let left = self.since_refusal.load(Ordering::Relaxed);
        self.since_refusal.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 1 { Err(Status::internal("the model is in a bad state")) } else { Ok(()) }
    }
}

struct UnsetIsGreedy;

impl Behaviour for UnsetIsGreedy {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let sampling = request.sampling.unwrap_or_default();
        let top_p = if sampling.temperature == 0.0 { 0.001 } else { sampling.top_p };
        let sampling = Some(Sampling { top_p, ..sampling });
        Conformant.speak(&GenerationRequest { sampling, ..request.clone() })
    }
}

/// Cuts in the middle of a surrogate pair, as a server that counts in UTF-16 does.
struct HalvesOfUtf16;

impl Behaviour for HalvesOfUtf16 {
    fn speak(&self, request: &GenerationRequest) -> Script {
        let mut script = Conformant.speak(request);
        script.tokens = script
            .tokens
            .into_iter()
            .flat_map(|token| {
                let units: Vec<u16> = token.encode_utf16().collect();
                let cut =
                    units.iter().position(|unit| (0xD800..0xDC00).contains(unit)).map_or(0, |at| at + 1);
                let half = |units: &[u16]| -> String {
                    char::decode_utf16(units.iter().copied()).map(|c| c.unwrap_or('?')).collect()
                };
                [half(&units[..cut]), half(&units[cut..])]
            })
            .filter(|half| !half.is_empty())
            .collect();
        script
    }
}

/// Ends cleanly as soon as `over` says so.
fn cut(responses: Responses, mut over: impl FnMut(i64) -> bool + Send + 'static) -> Responses {
    Box::pin(responses.scan(false, move |done, response| {
        let last = std::mem::replace(done, response.as_ref().is_ok_and(|message| over(message.index)));
        let response = response.map(|mut message| {
            if *done {
                message.end_of_stream = true;
                message.chunk.clear();
            }
            message
        });
        std::future::ready((!last).then_some(response))
    }))
}

struct CutAfter;

impl Behaviour for CutAfter {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let began = Instant::now();
        cut(responses, move |_| began.elapsed() > Duration::from_millis(400))
    }
}

#[derive(Default)]
struct EverySeventh {
    number: AtomicUsize,
}

impl Behaviour for EverySeventh {
    fn respond(&self, _request: &GenerationRequest, responses: Responses) -> Responses {
        let seventh = self.number.fetch_add(1, Ordering::Relaxed) % 7 == 6;
        cut(responses, move |index| seventh && index == 10)
    }
}

/// While more than four commands run, each answer has the trace_id of the one before.
#[derive(Default)]
struct MixedUp {
    running: AtomicUsize,
    parked: Mutex<Option<String>>,
}

#[tonic::async_trait]
impl Behaviour for MixedUp {
    async fn control(&self, state: &State, message: ControlMessage) -> Result<ControlMessage, Status> {
        let others = self.running.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.running.fetch_sub(1, Ordering::Relaxed);
        let mut answer = state.control(&message);
        if others > 4 {
            let own = answer.trace_id.clone();
            let before = self.parked.lock().unwrap_or_else(PoisonError::into_inner).replace(own.clone());
            answer.trace_id = before.unwrap_or(own);
        }
        Ok(answer)
    }
}
