//! What a token costs besides the model: sampling, detokenising, encoding, deciding what to do next.

use std::hint::black_box;

use ai_inference_proto::{Dialect, GenerationResponse, Sampling};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use fixtures::Transcripts;
use reference_sidecar::{
    engine::{Sampler, SamplingParameters},
    scheduler::{Limits, Plan, Scheduler, SequenceId, SlotState},
    text::{Incremental, Tokenizer},
};

/// The vocabulary of SmolLM2.
const VOCABULARY: usize = 49_152;

fn sampler(criterion: &mut Criterion) {
    let logits: Vec<f32> = (0..VOCABULARY).map(|i| ((i * 7919) % 10_007) as f32 / 1000.0).collect();
    for (name, temperature, top_p) in [("greedy", 0.01, 0.001), ("top_p 0.9", 0.7, 0.9)] {
        let asked = Sampling { max_new_tokens: 1, temperature, top_p, repetition_penalty: 1.0 };
        let parameters = SamplingParameters::resolve(Some(asked)).expect("legal parameters");
        let mut sampler = Sampler::new(parameters, 1, &[1, 2, 3]);
        criterion.bench_function(&format!("sampler/{name}"), |bencher| {
            let fresh = || logits.clone();
            bencher.iter_batched_ref(
                fresh,
                |logits| sampler.sample(black_box(logits)),
                BatchSize::LargeInput,
            );
        });
    }
}

fn detokeniser(criterion: &mut Criterion) {
    let tokenizer = Tokenizer::open(&fixtures::tiny().join("tokenizer.json")).expect("the fixture is there");
    let ids = Transcripts::tiny().expect("the fixture is there").transcripts.swap_remove(0).ids;
    criterion.bench_function("detokeniser/48 tokens", |bencher| {
        bencher.iter(|| {
            let mut text = Incremental::new(tokenizer.clone());
            for id in &ids {
                black_box(text.push(*id));
            }
            text.finish()
        });
    });
}

fn codec(criterion: &mut Criterion) {
    let response = GenerationResponse {
        trace_id: "5c0f0d9e-8f0a-4a55-9a4d-2f3f4c3c7a10".to_owned(),
        chunk: " river".to_owned(),
        index: 17,
        ..GenerationResponse::default()
    };
    for dialect in Dialect::ALL {
        criterion.bench_function(&format!("codec/{dialect} response"), |bencher| {
            bencher.iter(|| dialect.encode_response(black_box(response.clone())));
        });
    }
}

/// One sequence ends, the next of a thousand takes its slot, its prompt is read, and all decode: two steps.
fn scheduler(criterion: &mut Criterion) {
    for slots in [16, 256] {
        let mut scheduler = Scheduler::new(Limits { slots, prefill_budget: PROMPT });
        let mut arrived = 0;
        let mut arrive = |scheduler: &mut Scheduler| {
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
        criterion.bench_function(&format!("scheduler step/{slots} slots, {WAITING} waiting"), |bencher| {
            bencher.iter(|| {
                let ending = scheduler.slots()[ends].id().expect("every slot is busy");
                ends = (ends + 1) % slots;
                scheduler.leave(ending);
                arrive(&mut scheduler);
                seat_next(&mut scheduler);
                [step(&mut scheduler), step(&mut scheduler)]
            });
        });
        assert_eq!(scheduler.waiting(), WAITING, "the load stayed what its name says");
        assert!(scheduler.slots().iter().all(|slot| slot.decodes()), "every prompt was read");
    }
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

/// Streams that wait behind the running ones.
const WAITING: usize = 1000;
/// Tokens of a prompt: one chunk.
const PROMPT: usize = 64;

criterion_group!(benches, sampler, detokeniser, codec, scheduler);
criterion_main!(benches);
