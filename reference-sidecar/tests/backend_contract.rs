//! What every backend must do, seen through the engine: one suite, mounted once for each backend; and what the models
//! must say.

mod support;

use std::{io, path::Path, thread, time::Duration};

use fixtures::Transcripts;
use reference_sidecar::{
    backends::{Backend, Capacity, scripted::ScriptedBackend},
    config::cache_dir,
    engine::{EngineHandle, EngineOptions, EventReader, Finish, Job, SubmitError},
    text::Incremental,
};
use support::{greedy_parameters, onnx};

macro_rules! suite {
    ($name:ident, $backend:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn a_batch_says_what_each_says_alone() {
                super::a_batch_says_what_each_says_alone($backend);
            }

            #[test]
            fn a_prompt_in_pieces_reads_as_in_one() {
                super::a_prompt_in_pieces_reads_as_in_one($backend);
            }

            #[test]
            fn a_cancelled_sequence_leaves_no_trace() {
                super::a_cancelled_sequence_leaves_no_trace($backend);
            }

            #[test]
            fn a_full_context_ends_a_sequence_well() {
                super::a_full_context_ends_a_sequence_well($backend);
            }

            #[test]
            fn a_reader_that_stops_holds_only_itself_back() {
                super::a_reader_that_stops_holds_only_itself_back($backend);
            }
        }
    };
}

suite!(scripted, |slots| ScriptedBackend::new(Capacity { slots, context: 1024, vocabulary: 251 }));
suite!(onnx_tiny, |slots| onnx(&fixtures::tiny(), slots).2);

fn a_batch_says_what_each_says_alone<B: Backend + 'static>(backend: impl Fn(usize) -> B) {
    let prompts = prompts();
    let alone = start(backend(1), 512);
    let expected: Vec<_> = prompts.iter().map(|prompt| run(&alone, prompt, 40)).collect();
    // Fewer slots than sequences, and chunks shorter than prompts: slots are reused, some in mid-prompt when others
    // decode.
    let together = start(backend(5), 7);
    let readers: Vec<_> = prompts.iter().map(|prompt| submit(&together, prompt, 40)).collect();
    let said: Vec<_> = readers.into_iter().map(finish).collect();
    assert_eq!(said, expected);
}

fn a_prompt_in_pieces_reads_as_in_one<B: Backend + 'static>(backend: impl Fn(usize) -> B) {
    let prompt: Vec<i64> = (0..100).map(|i| i * 7 % 240).collect();
    let whole = run(&start(backend(2), 512), &prompt, 20);
    for chunk in [1, 3, 64, 99] {
        assert_eq!(run(&start(backend(2), chunk), &prompt, 20), whole, "in chunks of {chunk}");
    }
}

fn a_cancelled_sequence_leaves_no_trace<B: Backend + 'static>(backend: impl Fn(usize) -> B) {
    let prompts = prompts();
    let expected = run(&start(backend(1), 512), &prompts[0], 30);
    let engine = start(backend(2), 7);
    for prompt in &prompts {
        let mut reader = submit(&engine, prompt, 1000);
        reader.blocking_next();
        drop(reader);
        drop(submit(&engine, prompt, 1000));
    }
    assert_eq!(run(&engine, &prompts[0], 30), expected);
    assert_eq!(engine.gauges().waiting.load(std::sync::atomic::Ordering::Relaxed), 0);
    assert!(!engine.is_stopped());
}

fn a_full_context_ends_a_sequence_well<B: Backend + 'static>(backend: impl Fn(usize) -> B) {
    let engine = start(backend(2), 128);
    let context = engine.capacity().context;
    for (prompt, expected) in [(context - 3, 3), (context, 1)] {
        let prompt: Vec<i64> = (0..prompt as i64).map(|i| 1 + i % 90).collect();
        let (tokens, finish) = run(&engine, &prompt, 100);
        assert_eq!((tokens.len(), finish), (expected, Finish::ContextFull));
    }
    let long = job(&vec![1; context + 1], 1);
    assert!(matches!(engine.submit(long), Err(SubmitError::PromptTooLong { .. })));
    assert!(matches!(engine.submit(job(&[], 1)), Err(SubmitError::EmptyPrompt)));
}

fn a_reader_that_stops_holds_only_itself_back<B: Backend + 'static>(backend: impl Fn(usize) -> B) {
    let prompts = prompts();
    let alone = start(backend(1), 512);
    let expected = [run(&alone, &prompts[0], 300), run(&alone, &prompts[1], 300)];
    let engine = start(backend(2), 512);
    let stopped = submit(&engine, &prompts[0], 300);
    assert_eq!(run(&engine, &prompts[1], 300), expected[1]);
    assert_eq!(finish(stopped), expected[0], "and goes on where it was");
}

#[test]
fn a_full_queue_refuses_and_recovers() {
    let backend = ScriptedBackend::new(Capacity { slots: 1, context: 1024, vocabulary: 16 });
    let engine =
        EngineHandle::start("test", backend.with_pace(Duration::from_millis(1)), options(512, 2, &[]));
    let engine = engine.unwrap();
    let running = submit(&engine, &[1], 1000);
    while engine.gauges().busy.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        thread::yield_now();
    }
    let waiting = [submit(&engine, &[2], 2), submit(&engine, &[3], 2)];
    assert!(matches!(engine.submit(job(&[4], 2)), Err(SubmitError::QueueFull { waiting: 2 })));
    drop(running);
    for reader in waiting {
        assert_eq!(finish(reader).0.len(), 2);
    }
    assert_eq!(run(&engine, &[4], 2).0.len(), 2);
}

#[test]
fn tiny_says_what_its_transcripts_say() {
    says_what_its_transcripts_say(Transcripts::tiny(), &fixtures::tiny(), 16);
}

#[test]
fn smollm2_says_what_its_transcripts_say() {
    let package = cache_dir().unwrap_or_default().join("models/smollm2-fp32");
    if !package.is_dir() && std::env::var_os("REQUIRE_SMOLLM2").is_none() {
        eprintln!("SKIPPED: no smollm2-fp32 in the cache; `ci/models smollm2 --variant fp32` makes it");
        return;
    }
    says_what_its_transcripts_say(Transcripts::smollm2_fp32(), &package, 5);
}

fn says_what_its_transcripts_say(golden: io::Result<Transcripts>, package: &Path, slots: usize) {
    let golden = golden.expect("the fixture is there");
    let model = golden.model.as_str();
    assert!(package.is_dir(), "no model package: run `ci/models smollm2 --variant fp32`");
    let (package, tokenizer, backend) = onnx(package, slots);
    let engine = EngineHandle::start(model, backend, options(16, 64, package.end_of_text())).unwrap();
    let readers: Vec<_> = golden
        .transcripts
        .iter()
        .map(|expected| {
            assert_eq!(tokenizer.encode(&expected.prompt).unwrap(), expected.prompt_ids);
            submit(&engine, &expected.prompt_ids, golden.max_new_tokens)
        })
        .collect();
    for (reader, expected) in readers.into_iter().zip(&golden.transcripts) {
        let (tokens, finish) = finish(reader);
        assert_eq!(tokens, expected.ids, "after {:?}", expected.prompt);
        assert_eq!(finish == Finish::EndOfText, expected.finish == "eos");
        let mut text = Incremental::new(tokenizer.clone());
        let mut chunks: Vec<_> = tokens.into_iter().map(|token| text.push(token)).collect();
        chunks.push(text.finish());
        assert_eq!(chunks.concat(), expected.text, "after {:?}", expected.prompt);
    }
}

fn options(prefill_chunk: usize, queue: usize, end_of_text: &[u32]) -> EngineOptions {
    EngineOptions { queue, prefill_chunk, ahead: 64, end_of_text: end_of_text.to_vec() }
}

fn start(backend: impl Backend + 'static, prefill_chunk: usize) -> EngineHandle {
    EngineHandle::start("test", backend, options(prefill_chunk, 64, &[])).unwrap()
}

fn job(prompt: &[i64], max_new_tokens: usize) -> Job {
    let sampling = greedy_parameters(max_new_tokens as i64);
    Job { prompt: prompt.to_vec(), priority: 0, sampling, seed: 1, adapter: None }
}

fn submit(engine: &EngineHandle, prompt: &[i64], max_new_tokens: usize) -> EventReader {
    engine.submit(job(prompt, max_new_tokens)).unwrap()
}

fn finish(mut reader: EventReader) -> (Vec<u32>, Finish) {
    let tokens = std::iter::from_fn(|| reader.blocking_next()).collect();
    (tokens, reader.outcome().unwrap())
}

fn run(engine: &EngineHandle, prompt: &[i64], max_new_tokens: usize) -> (Vec<u32>, Finish) {
    finish(submit(engine, prompt, max_new_tokens))
}

/// Of many lengths and beginnings.
fn prompts() -> Vec<Vec<i64>> {
    (1..24).map(|i| (0..=i * 5 % 31).map(|j| (i * 37 + j * 11) % 240).collect()).collect()
}
