//! What a token costs in the sidecar: sampling, detokenising, encoding, deciding what to do next.

use std::hint::black_box;

use ai_inference_proto::{Dialect, GenerationResponse, Sampling};
use fixtures::Transcripts;
use reference_sidecar::{
    engine::{Sampler, SamplingParameters},
    scheduler::{Limits, Plan, Scheduler, SequenceId, SlotState},
    text::{Incremental, Tokenizer},
};

use super::{Case, Work};

pub(super) const GREEDY: Case = Case { name: "sampler/greedy", prepare: || sampler(0.01, 0.001) };
pub(super) const TOP_P: Case = Case { name: "sampler/top_p 0.9", prepare: || sampler(0.7, 0.9) };
pub(super) const DETOKENISER: Case = Case { name: "detokeniser/48 tokens", prepare: detokeniser };
pub(super) const CONTRACT_CODEC: Case =
    Case { name: "codec/contract response", prepare: || codec(Dialect::Contract) };
pub(super) const CY_LLM_CODEC: Case =
    Case { name: "codec/cy.llm response", prepare: || codec(Dialect::CyLlm) };
pub(super) const SCHEDULER_16: Case =
    Case { name: "scheduler step/16 slots, 1000 waiting", prepare: || scheduler(16) };
pub(super) const SCHEDULER_256: Case =
    Case { name: "scheduler step/256 slots, 1000 waiting", prepare: || scheduler(256) };

/// Of as many logits as SmolLM2 has; copying them anew each time is a part of the work, as an engine's answer is.
fn sampler(temperature: f64, top_p: f64) -> Work {
    let fresh: Vec<f32> = (0..VOCABULARY).map(|i| ((i * 7919) % 10_007) as f32 / 1000.0).collect();
    let asked = Sampling { max_new_tokens: 1, temperature, top_p, repetition_penalty: 1.0 };
    let parameters = SamplingParameters::resolve(Some(asked)).expect("legal parameters");
    let mut sampler = Sampler::new(parameters, 1, &[1, 2, 3]);
    let mut logits = fresh.clone();
    Box::new(move || {
        logits.copy_from_slice(&fresh);
        black_box(sampler.sample(black_box(&mut logits)));
    })
}

fn detokeniser() -> Work {
    let tokenizer = Tokenizer::open(&fixtures::tiny().join("tokenizer.json")).expect("the fixture is there");
    let ids = Transcripts::tiny().expect("the fixture is there").transcripts.swap_remove(0).ids;
    Box::new(move || {
        let mut text = Incremental::new(tokenizer.clone());
        for id in &ids {
            black_box(text.push(*id));
        }
        black_box(text.finish());
    })
}

fn codec(dialect: Dialect) -> Work {
    let response = GenerationResponse {
        trace_id: "5c0f0d9e-8f0a-4a55-9a4d-2f3f4c3c7a10".to_owned(),
        chunk: " river".to_owned(),
        index: 17,
        ..GenerationResponse::default()
    };
    Box::new(move || drop(black_box(dialect.encode_response(black_box(response.clone())))))
}

/// One sequence ends, the next of a thousand takes its slot, its prompt is read, and all decode: two steps.
fn scheduler(slots: usize) -> Work {
    let mut scheduler = Scheduler::new(Limits { slots, prefill_budget: PROMPT });
    let mut arrived = 0;
    let mut arrive = move |scheduler: &mut Scheduler| {
        scheduler.arrive(SequenceId(arrived), (arrived % 7) as i32);
        arrived += 1;
    };
    for _ in 0..slots + WAITING {
        arrive(&mut scheduler);
    }
    for _ in 0..slots {
        seat_next(&mut scheduler);
    }
    // Prompts and decoding take turns.
    for _ in 0..2 * slots {
        step(&mut scheduler);
    }
    let mut ends = 0;
    Box::new(move || {
        let ending = scheduler.slots()[ends].id().expect("every slot is busy");
        ends = (ends + 1) % slots;
        scheduler.leave(ending);
        arrive(&mut scheduler);
        seat_next(&mut scheduler);
        black_box([step(&mut scheduler), step(&mut scheduler)]);
        debug_assert_eq!(scheduler.waiting(), WAITING, "the load stays what its name says");
        debug_assert!(scheduler.slots().iter().all(|slot| slot.decodes()), "every prompt was read");
    })
}

fn seat_next(scheduler: &mut Scheduler) {
    let admission = scheduler.admit().expect("many wait");
    let free = scheduler.slots().iter().position(|slot| *slot == SlotState::Free).expect("a slot is free");
    scheduler.seat(&admission, free, PROMPT);
}

fn step(scheduler: &mut Scheduler) -> Plan {
    let plan = scheduler.plan();
    if let Plan::Prefill { slot, end, .. } = plan {
        scheduler.prefilled(slot, end);
    }
    plan
}

/// The vocabulary of SmolLM2.
const VOCABULARY: usize = 49_152;
/// Streams that wait behind the running ones.
const WAITING: usize = 1000;
/// Tokens of a prompt: one chunk.
const PROMPT: usize = 64;
