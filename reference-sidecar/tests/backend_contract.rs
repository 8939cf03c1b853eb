//! What every backend must do, seen through the engine: one suite, mounted once for each backend; and what the models
//! must say.

mod support;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Sender},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use fixtures::Transcripts;
use reference_sidecar::{
    backends::{Backend, BackendError, Capacity, Interrupter, Row, scripted::ScriptedBackend},
    engine::{EngineError, EngineHandle, EngineOptions, EventReader, Finish, Job, SubmitError},
    package::Adapter,
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

            #[test]
            fn a_preempted_sequence_says_what_it_says_alone() {
                super::a_preempted_sequence_says_what_it_says_alone($backend);
            }

            #[test]
            fn readers_that_read_nothing_take_no_slot_from_others() {
                super::readers_that_read_nothing_take_no_slot_from_others($backend);
            }

            #[test]
            fn a_conversations_prompts_are_not_read_again() {
                super::a_conversations_prompts_are_not_read_again($backend);
            }

            #[test]
            fn a_running_sequence_lends_its_head() {
                super::a_running_sequence_lends_its_head($backend);
            }

            #[test]
            fn what_is_kept_survives_the_steps_of_others() {
                super::what_is_kept_survives_the_steps_of_others($backend);
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
    assert_eq!(engine.gauges().waiting.load(Ordering::Relaxed), 0);
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
    for foreign in [-1, engine.capacity().vocabulary as i64] {
        assert!(matches!(engine.submit(job(&[1, foreign], 1)), Err(SubmitError::UnknownToken { .. })));
    }
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

fn readers_that_read_nothing_take_no_slot_from_others<B: Backend + 'static>(backend: impl Fn(usize) -> B) {
    let prompts = prompts();
    let alone = start(backend(1), 512);
    let engine = start(backend(2), 512);
    let stopped: Vec<_> = prompts[..4].iter().map(|prompt| submit(&engine, prompt, 300)).collect();
    // More of them than slots: each has its turn, and then waits without a slot for its reader.
    assert_eq!(run(&engine, &prompts[4], 100), run(&alone, &prompts[4], 100));
    assert!(gauge(&engine.gauges().parked) >= 3, "{}", gauge(&engine.gauges().parked));
    assert_eq!(engine.gauges().waiting.load(Ordering::Relaxed), 0, "they take no place in the queue");
    for (reader, prompt) in stopped.into_iter().zip(&prompts) {
        assert_eq!(finish(reader), run(&alone, prompt, 300), "and goes on where it was");
    }
    // One that leaves while it has no slot is forgotten.
    let stopped: Vec<_> = prompts[..3].iter().map(|prompt| submit(&engine, prompt, 300)).collect();
    run(&engine, &prompts[4], 100);
    drop(stopped);
    assert_eq!(run(&engine, &prompts[0], 30), run(&alone, &prompts[0], 30));
}

fn a_preempted_sequence_says_what_it_says_alone<B: Backend + 'static>(backend: impl Fn(usize) -> B) {
    let prompts = prompts();
    let alone = start(backend(1), 512);
    let sampled = |prompt: &[i64]| {
        let mut job = job(prompt, 200);
        (job.priority, job.sampling.temperature, job.sampling.top_p) = (5, 1.5, 1.0);
        job
    };
    let expected = finish(alone.submit(sampled(&prompts[0])).unwrap());
    // Steps are made one by one, so the patient one runs whenever an urgent one comes.
    let (go, turns) = mpsc::sync_channel(0);
    let engine = start(Stepwise { inner: backend(1), turns }, 7);
    let mut patient = engine.submit(sampled(&prompts[0])).unwrap();
    let mut said = Vec::new();
    for prompt in &prompts[1..4] {
        said.extend(ready(&mut patient));
        step_until(&go, || {
            let new = ready(&mut patient);
            said.extend(&new);
            !new.is_empty()
        });
        let mut urgent = submit(&engine, prompt, 10);
        let mut answer = Vec::new();
        step_until(&go, || {
            answer.extend(ready(&mut urgent));
            urgent.outcome() != Err(EngineError::Stopped)
        });
        answer.extend(ready(&mut urgent));
        assert_eq!((answer, urgent.outcome().unwrap()), run(&alone, prompt, 10));
    }
    drop(go);
    let (rest, end) = finish(patient);
    said.extend(rest);
    assert_eq!((said, end), expected);
    assert_eq!(gauge(&engine.gauges().preempted), 3);
}

fn a_conversations_prompts_are_not_read_again<B: Backend + 'static>(backend: impl Fn(usize) -> B) {
    let engine = start(backend(2), 64);
    let mut text: Vec<i64> = (0..50).map(|i| i * 7 % 240).collect();
    let mut kept = 0;
    for turn in 0..4 {
        let (reused, prefilled) = (gauge(&engine.gauges().reused), gauge(&engine.gauges().prefilled));
        let said = run(&engine, &text, 30);
        assert_eq!(said, run(&start(backend(1), 512), &text, 30), "in turn {turn}");
        assert_eq!(gauge(&engine.gauges().reused) - reused, kept);
        assert_eq!(gauge(&engine.gauges().prefilled) - prefilled, text.len() as u64 - kept);
        // What was read in this turn is kept, and what was said is not: it was computed token by token.
        kept = text.len() as u64;
        text.extend(said.0.into_iter().map(i64::from));
        text.extend([1, 2, 3]);
    }
}

/// How much is reused depends on whether the backend copies; that the text is the same does not.
fn a_running_sequence_lends_its_head<B: Backend + 'static>(backend: impl Fn(usize) -> B) {
    let copies = backend(2).copy_prefix(0, 1, 0);
    let head: Vec<i64> = (0..60).map(|i| i * 7 % 240).collect();
    let engine = start(backend(2), 16);
    let mut lender = submit(&engine, &head, 300);
    let first = lender.blocking_next();
    let longer: Vec<i64> = head.iter().copied().chain([5, 6, 7]).collect();
    let alone = start(backend(1), 512);
    assert_eq!(run(&engine, &longer, 30), run(&alone, &longer, 30));
    assert_eq!(gauge(&engine.gauges().reused), if copies { 60 } else { 0 });
    let (rest, _) = finish(lender);
    assert_eq!(first.into_iter().chain(rest).collect::<Vec<_>>(), run(&alone, &head, 300).0);
}

fn what_is_kept_survives_the_steps_of_others<B: Backend + 'static>(backend: impl Fn(usize) -> B) {
    let [low, middle, high] = [5, 7, 11].map(|step| (0..60).map(|i| i * step % 240).collect::<Vec<i64>>());
    let alone = start(backend(1), 512);
    let engine = start(backend(3), 16);
    let below = submit(&engine, &low, 300);
    let between = submit(&engine, &middle, 40);
    let above = submit(&engine, &high, 300);
    assert_eq!(finish(between), run(&alone, &middle, 40));
    // The slot in the middle is free, and some two hundred steps for the one above compute it and write to it.
    assert_eq!(finish(above), run(&alone, &high, 300));
    let reused = gauge(&engine.gauges().reused);
    assert_eq!(run(&engine, &middle, 300), run(&alone, &middle, 300));
    assert_eq!(gauge(&engine.gauges().reused) - reused, 58);
    assert_eq!(finish(below), run(&alone, &low, 300));
}

#[test]
fn a_cancelled_prompt_ends_in_the_middle_of_a_step() {
    let scripted = || ScriptedBackend::new(Capacity { slots: 1, context: 1024, vocabulary: 16 });
    let expected = run(&start(scripted(), 512), &[1, 2, 3, 4], 1);
    let pace = Duration::from_secs(3);
    let (announce, begun) = mpsc::channel();
    let engine = start(Announcing { backend: scripted().with_pace(pace), announce }, 512);
    let cancelled = submit(&engine, &[1, 2, 3], 100);
    begun.recv().unwrap();
    let dropped = Instant::now();
    drop(cancelled);
    while engine.gauges().busy.load(Ordering::Relaxed) > 0 {
        thread::yield_now();
    }
    assert!(dropped.elapsed() < pace / 2, "the slot was free after {:?}", dropped.elapsed());
    assert_eq!(gauge(&engine.gauges().interrupted), 1);
    assert_eq!(run(&engine, &[1, 2, 3, 4], 1), expected, "the next step is not interrupted");
}

#[test]
fn a_cancellation_leaves_the_prompt_of_another_alone() {
    let scripted = || ScriptedBackend::new(Capacity { slots: 2, context: 1024, vocabulary: 16 });
    let expected = run(&start(scripted(), 512), &[1, 2, 3], 1);
    let (announce, begun) = mpsc::channel();
    let pace = Duration::from_millis(300);
    let engine = start(Announcing { backend: scripted().with_pace(pace), announce }, 512);
    let first = submit(&engine, &[1, 2, 3], 1);
    let second = submit(&engine, &[4, 5, 6], 1);
    begun.recv().unwrap();
    drop(second);
    assert_eq!(finish(first), expected);
    assert_eq!(gauge(&engine.gauges().interrupted), 0);
}

#[test]
fn a_preempted_sequence_is_never_refused() {
    let backend = ScriptedBackend::new(Capacity { slots: 1, context: 1024, vocabulary: 16 });
    // Room for all tokens: none gives its slot up because it is not read.
    let options = EngineOptions { ahead: 1024, ..options(64, 2, &[]) };
    let engine = EngineHandle::start("test", backend.with_pace(Duration::from_millis(5)), options).unwrap();
    let mut running = submit(&engine, &[1], 100);
    running.blocking_next();
    let waiting = submit(&engine, &[2], 100);
    let mut urgent = engine.submit(Job { priority: -1, ..job(&[3], 100) }).unwrap();
    urgent.blocking_next();
    assert_eq!(engine.gauges().waiting.load(Ordering::Relaxed), 2, "the preempted one is counted");
    assert!(matches!(engine.submit(job(&[4], 2)), Err(SubmitError::QueueFull { waiting: 2 })));
    let lengths = [urgent, running, waiting].map(|reader| finish(reader).0.len());
    assert_eq!(lengths, [99, 99, 100]);
    assert_eq!(engine.gauges().waiting.load(Ordering::Relaxed), 0);
}

#[test]
fn adapters_change_the_text_of_their_own_sequences_only() {
    let scripted = |slots| ScriptedBackend::new(Capacity { slots, context: 1024, vocabulary: 251 });
    let adapter = |name: &str| Arc::new(Adapter { name: name.to_owned(), ..Adapter::default() });
    let adapters = [None, Some(adapter("one")), Some(adapter("two"))];
    // The same prompt every time: what another adapter computed must not be reused.
    let prompt: Vec<i64> = (0..60).collect();
    let with = |adapter: &Option<Arc<Adapter>>| Job { adapter: adapter.clone(), ..job(&prompt, 30) };
    let expected =
        adapters.each_ref().map(|adapter| finish(start(scripted(1), 512).submit(with(adapter)).unwrap()));
    assert!(expected[0] != expected[1] && expected[1] != expected[2] && expected[0] != expected[2]);
    let engine = start(scripted(2), 16);
    for _ in 0..3 {
        let readers = adapters.each_ref().map(|adapter| engine.submit(with(adapter)).unwrap());
        assert_eq!(readers.map(finish), expected);
    }
    assert!(gauge(&engine.gauges().reused) > 0, "what the same adapter computed is");
}

#[test]
fn a_refused_adapter_ends_its_own_sequence_only() {
    let backend = ScriptedBackend::new(Capacity { slots: 1, context: 1024, vocabulary: 16 });
    let expected = run(&start(backend, 512), &[1, 2], 20);
    let backend = ScriptedBackend::new(Capacity { slots: 1, context: 1024, vocabulary: 16 });
    let (announce, _begun) = mpsc::channel();
    let engine = start(Announcing { backend, announce }, 512);
    for _ in 0..2 {
        let adapter = Some(Arc::new(Adapter::default()));
        let mut refused = engine.submit(Job { adapter, ..job(&[1, 2], 20) }).unwrap();
        assert_eq!(refused.blocking_next(), None);
        assert_eq!(refused.outcome(), Err(EngineError::Backend));
        assert_eq!(run(&engine, &[1, 2], 20), expected);
    }
}

/// Says when it begins to read a prompt, and takes no adapters.
struct Announcing {
    backend: ScriptedBackend,
    announce: Sender<()>,
}

impl Backend for Announcing {
    fn capacity(&self) -> Capacity {
        self.backend.capacity()
    }

    fn prefill(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<&mut [f32], BackendError> {
        let _ = self.announce.send(());
        self.backend.prefill(slot, past, tokens)
    }

    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError> {
        self.backend.decode(rows)
    }

    fn interrupter(&self) -> Option<Interrupter> {
        self.backend.interrupter()
    }
}

#[test]
fn a_full_queue_refuses_and_recovers() {
    let backend = ScriptedBackend::new(Capacity { slots: 1, context: 1024, vocabulary: 16 });
    let engine =
        EngineHandle::start("test", backend.with_pace(Duration::from_millis(1)), options(512, 2, &[]));
    let engine = engine.unwrap();
    let running = submit(&engine, &[1], 1000);
    until_busy(&engine);
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
    let Some(package) = support::cached("smollm2-fp32", "ci/models smollm2 --variant fp32") else { return };
    says_what_its_transcripts_say(Transcripts::smollm2_fp32(), &package, 5);
}

/// A package as onnxruntime-genai's model builder writes it, and what onnxruntime-genai says on those very files.
#[test]
fn a_builders_package_says_what_onnxruntime_genai_says() {
    let made_by = "ci/models smollm2 --variant fp32 --flavour genai";
    let Some(package) = support::cached("smollm2-fp32-genai", made_by) else { return };
    says_what_its_transcripts_say(Transcripts::smollm2_fp32_genai(), &package, 5);
}

fn says_what_its_transcripts_say(golden: io::Result<Transcripts>, package: &Path, slots: usize) {
    let golden = golden.expect("the fixture is there");
    let model = golden.model.as_str();
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

/// A model that gives logits that are no numbers for every text that begins with [`BROKEN`].
struct SometimesBroken {
    inner: ScriptedBackend,
    broken: Vec<bool>,
}

const BROKEN: i64 = 250;

impl Backend for SometimesBroken {
    fn capacity(&self) -> Capacity {
        self.inner.capacity()
    }

    fn prefill(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<&mut [f32], BackendError> {
        if past == 0 {
            self.broken[slot] = tokens[0] == BROKEN;
        }
        self.inner.prefill(slot, past, tokens)
    }

    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError> {
        let vocabulary = self.inner.capacity().vocabulary;
        let logits = self.inner.decode(rows)?;
        for (row, broken) in logits.chunks_exact_mut(vocabulary).zip(&self.broken) {
            row[3] = if *broken { f32::NAN } else { row[3] };
        }
        Ok(logits)
    }

    fn adapt(&mut self, slot: usize, adapter: Option<&Arc<Adapter>>) -> Result<(), BackendError> {
        self.inner.adapt(slot, adapter)
    }

    fn copy_prefix(&mut self, from: usize, to: usize, tokens: usize) -> bool {
        self.inner.copy_prefix(from, to, tokens)
    }
}

#[test]
fn logits_that_are_no_numbers_end_their_own_sequence() {
    let capacity = Capacity { slots: 3, context: 1024, vocabulary: 251 };
    let backend = || SometimesBroken { inner: ScriptedBackend::new(capacity), broken: vec![false; 3] };
    let prompts = prompts();
    let expected = run(&start(backend(), 64), &prompts[0], 200);
    let engine = start(backend(), 64);
    let neighbour = submit(&engine, &prompts[0], 200);
    for _ in 0..3 {
        let mut broken = submit(&engine, &[BROKEN, 1, 2], 20);
        while broken.blocking_next().is_some() {}
        assert_eq!(broken.outcome(), Err(EngineError::Backend));
    }
    assert_eq!(finish(neighbour), expected);
    assert_eq!(run(&engine, &prompts[0], 200), expected, "and its slot is as good as new");
}

/// A backend that makes a step when it is told to, and freely once nobody is there to tell.
struct Stepwise<B> {
    inner: B,
    turns: mpsc::Receiver<()>,
}

impl<B: Backend> Backend for Stepwise<B> {
    fn capacity(&self) -> Capacity {
        self.inner.capacity()
    }

    fn prefill(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<&mut [f32], BackendError> {
        let _ = self.turns.recv();
        self.inner.prefill(slot, past, tokens)
    }

    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError> {
        let _ = self.turns.recv();
        self.inner.decode(rows)
    }
}

/// Tells a [`Stepwise`] to make one step after another.
fn step_until(go: &mpsc::SyncSender<()>, mut done: impl FnMut() -> bool) {
    while !done() {
        let _ = go.try_send(());
        thread::yield_now();
    }
}

/// A model that cannot compute what lies behind [`Self::FAULTY`] in a slot whose text begins with [`BROKEN`].
struct FaultyRow {
    inner: ScriptedBackend,
    broken: Vec<bool>,
}

impl FaultyRow {
    const FAULTY: usize = 10;

    fn refuse(&self, mut slots: impl Iterator<Item = (usize, usize)>) -> Result<(), BackendError> {
        if slots.any(|(slot, past)| self.broken[slot] && past >= Self::FAULTY) {
            return Err(BackendError::Failed("a table ends".to_owned()));
        }
        Ok(())
    }
}

impl Backend for FaultyRow {
    fn capacity(&self) -> Capacity {
        self.inner.capacity()
    }

    fn prefill(&mut self, slot: usize, past: usize, tokens: &[i64]) -> Result<&mut [f32], BackendError> {
        if past == 0 {
            self.broken[slot] = tokens[0] == BROKEN;
        }
        self.refuse(std::iter::once((slot, past)))?;
        self.inner.prefill(slot, past, tokens)
    }

    fn decode(&mut self, rows: &[Row]) -> Result<&mut [f32], BackendError> {
        self.refuse(rows.iter().map(|row| row.past).enumerate())?;
        self.inner.decode(rows)
    }
}

#[test]
fn a_rows_fault_ends_its_own_sequence() {
    let capacity = Capacity { slots: 3, context: 1024, vocabulary: 251 };
    let backend = || FaultyRow { inner: ScriptedBackend::new(capacity), broken: vec![false; 3] };
    let prompts = prompts();
    let expected = run(&start(backend(), 64), &prompts[0], 200);
    let engine = start(backend(), 64);
    let neighbour = submit(&engine, &prompts[0], 200);
    for _ in 0..3 {
        let mut faulty = submit(&engine, &[BROKEN, 1, 2], 20);
        let said = std::iter::from_fn(|| faulty.blocking_next()).count();
        assert_eq!((said, faulty.outcome()), (FaultyRow::FAULTY - 2, Err(EngineError::Backend)));
    }
    assert_eq!(finish(neighbour), expected);
}

fn options(prefill_chunk: usize, queue: usize, end_of_text: &[u32]) -> EngineOptions {
    EngineOptions { queue, prefill_chunk, ahead: 64, end_of_text: end_of_text.to_vec() }
}

fn start(backend: impl Backend + 'static, prefill_chunk: usize) -> EngineHandle {
    EngineHandle::start("test", backend, options(prefill_chunk, 64, &[])).unwrap()
}

fn job(prompt: &[i64], max_new_tokens: usize) -> Job {
    let sampling = greedy_parameters(max_new_tokens);
    Job { prompt: prompt.to_vec(), priority: 0, sampling, seed: 1, adapter: None }
}

fn submit(engine: &EngineHandle, prompt: &[i64], max_new_tokens: usize) -> EventReader {
    engine.submit(job(prompt, max_new_tokens)).unwrap()
}

fn finish(mut reader: EventReader) -> (Vec<u32>, Finish) {
    let tokens = std::iter::from_fn(|| reader.blocking_next()).collect();
    (tokens, reader.outcome().unwrap())
}

/// The tokens that are there already.
fn ready(reader: &mut EventReader) -> Vec<u32> {
    let mut context = Context::from_waker(Waker::noop());
    std::iter::from_fn(|| match reader.poll_next(&mut context) {
        Poll::Ready(token) => token,
        Poll::Pending => None,
    })
    .collect()
}

fn run(engine: &EngineHandle, prompt: &[i64], max_new_tokens: usize) -> (Vec<u32>, Finish) {
    finish(submit(engine, prompt, max_new_tokens))
}

fn until_busy(engine: &EngineHandle) {
    while engine.gauges().busy.load(Ordering::Relaxed) == 0 {
        thread::yield_now();
    }
}

fn gauge(gauge: &AtomicU64) -> u64 {
    gauge.load(Ordering::Relaxed)
}

/// Prompts of many lengths and beginnings.
fn prompts() -> Vec<Vec<i64>> {
    (1..24).map(|i| (0..=i * 5 % 31).map(|j| (i * 37 + j * 11) % 240).collect()).collect()
}
