//! Whatever else runs, comes, goes and pushes in: a sequence says token for token what it says alone.
//!
//! Random mixes of prompts, arrivals, priorities, cancellations, samplings and adapters go through engines of several
//! widths. What each sequence must say comes from no engine, but from a plain loop over a backend of one slot. Engines
//! live as long as the test, so that what earlier mixes left in their slots is reused, or must not be.
//!
//! `PROPTEST_CASES=10000 cargo test -p reference-sidecar --test batched_equals_solo` runs more mixes than the default.

mod support;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    env, iter,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use fixtures::Shift;
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use reference_sidecar::{
    adapters::{AdaptedModel, Adapters},
    backends::{Backend, Capacity, Row, scripted::ScriptedBackend},
    engine::{EngineHandle, EngineOptions, EventReader, Job, Sampler, SamplingParameters},
    package::Adapter,
};
use support::{greedy_parameters, onnx};

#[test]
fn scripted_sequences_say_in_any_company_what_they_say_alone() {
    let adapter = |name: &str| Some(Arc::new(Adapter { name: name.to_owned(), ..Adapter::default() }));
    let backend = |slots| ScriptedBackend::new(Capacity { slots, context: 192, vocabulary: 251 });
    batched_equals_solo(backend, &[None, adapter("one"), adapter("two")]);
}

#[test]
fn tiny_sequences_say_in_any_company_what_they_say_alone() {
    batched_equals_solo(|slots| onnx(&fixtures::tiny(), slots).2, &[None]);
}

#[test]
fn adapted_sequences_say_in_any_company_what_they_say_alone() {
    let (package, _, backend) = onnx(&fixtures::tiny_lora(), 1);
    let known = Adapters::open(Some(&fixtures::adapters())).unwrap();
    let model = AdaptedModel {
        id: "tiny-lora".to_owned(),
        layers: backend.adapted_layers().into(),
        head_size: package.cache().head_size,
    };
    // For the loading only: inside a runtime, a reader that is polled without end would be told to wait for others.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let load = |shift: Shift| runtime.block_on(known.get(shift.name(), &model)).unwrap();
    let adapters: Vec<_> = iter::once(None).chain(Shift::ALL.map(|shift| Some(load(shift)))).collect();
    batched_equals_solo(|slots| onnx(&fixtures::tiny_lora(), slots).2, &adapters);
}

/// Requests that meet in one engine.
#[derive(Clone, Debug)]
struct Mix {
    slots: usize,
    budget: usize,
    visitors: Vec<Visitor>,
}

#[derive(Clone, Copy, Debug)]
struct Visitor {
    /// All that it says is a function of these.
    identity: Identity,
    priority: i32,
    output: usize,
    /// Comes when so many tokens of the mix were seen.
    after: usize,
    /// Leaves when so many tokens of its own were seen.
    leaves_at: Option<usize>,
}

/// Which prompt, sampling and adapter of the world's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    prompt: usize,
    sampling: usize,
    adapter: usize,
}

fn mix(prompts: usize, adapters: usize) -> impl Strategy<Value = Mix> {
    let identity = (0..prompts, 0..SAMPLINGS, 0..adapters).prop_map(|(prompt, sampling, adapter)| Identity {
        prompt,
        sampling,
        adapter,
    });
    let leaves = prop_oneof![3 => Just(None), 1 => (0..LONGEST).prop_map(Some)];
    let visitor = (identity, -2..3_i32, 1..=LONGEST, 0..60_usize, leaves).prop_map(
        |(identity, priority, output, after, leaves_at)| Visitor {
            identity,
            priority,
            output,
            after,
            leaves_at,
        },
    );
    (1..=6_usize, select(&[3, 16, 64][..]), prop::collection::vec(visitor, 1..10))
        .prop_map(|(slots, budget, visitors)| Mix { slots, budget, visitors })
}

fn batched_equals_solo<B: Backend + 'static>(
    backend: impl Fn(usize) -> B,
    adapters: &[Option<Arc<Adapter>>],
) {
    let world = World::new(backend, adapters);
    let config = Config { failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let asked = env::var_os("PROPTEST_CASES").is_some();
    let cases = if asked { config.cases } else { CASES };
    let mut runner = TestRunner::new(Config { cases, ..config });
    let outcome = runner.run(&mix(world.prompts.len(), adapters.len()), |mix| {
        world.run(&mix);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let engines = world.engines.borrow();
    let sum = |gauge: fn(&EngineHandle) -> u64| engines.values().map(gauge).sum::<u64>();
    let preempted = sum(|engine| engine.gauges().preempted.load(Ordering::Relaxed));
    let reused = sum(|engine| engine.gauges().reused.load(Ordering::Relaxed));
    println!("{cases} mixes: {preempted} preemptions, {reused} tokens reused");
    assert!(cases < CASES || (preempted > 0 && reused > 0), "the mixes are too tame to show anything");
}

/// What all mixes share.
struct World<'a, F, B> {
    backend: F,
    adapters: &'a [Option<Arc<Adapter>>],
    prompts: Vec<Vec<i64>>,
    solo: RefCell<Solo<B>>,
    /// The engines, by slots and budget.
    engines: RefCell<BTreeMap<(usize, usize), EngineHandle>>,
}

impl<'a, B: Backend + 'static, F: Fn(usize) -> B> World<'a, F, B> {
    fn new(backend: F, adapters: &'a [Option<Arc<Adapter>>]) -> Self {
        let mut solo = Solo { backend: backend(1), said: HashMap::new() };
        let mut prompts = prompts();
        // Conversations that go on, behind everything or a part of what was said.
        for prompt in 0..prompts.len() {
            let identity = Identity { prompt, sampling: 0, adapter: 0 };
            let said = solo.says(identity, &prompts, adapters).iter().take(7 * prompt % LONGEST);
            let said: Vec<_> = said.map(|token| i64::from(*token)).collect();
            let more = prompts[prompt].iter().copied().chain(said).chain([1, 2]);
            prompts.push(more.take(solo.backend.capacity().context).collect());
        }
        Self { backend, adapters, prompts, solo: RefCell::new(solo), engines: RefCell::default() }
    }

    fn run(&self, mix: &Mix) {
        let mut engines = self.engines.borrow_mut();
        let engine = engines.entry((mix.slots, mix.budget)).or_insert_with(|| {
            // Readers are soon behind: sequences are held back and go on.
            let options =
                EngineOptions { queue: 64, prefill_chunk: mix.budget, ahead: 3, end_of_text: Vec::new() };
            EngineHandle::start("test", (self.backend)(mix.slots), options).unwrap()
        });
        let mut to_come = mix.visitors.clone();
        to_come.sort_by_key(|visitor| visitor.after);
        to_come.reverse();
        let mut present: Vec<(Visitor, EventReader, Vec<u32>)> = Vec::new();
        let mut seen = 0;
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        while !(to_come.is_empty() && present.is_empty()) {
            while to_come.last().is_some_and(|next| next.after <= seen || present.is_empty()) {
                let visitor = to_come.pop().unwrap();
                present.push((visitor, engine.submit(self.job(visitor)).unwrap(), Vec::new()));
            }
            let before = (seen, present.len());
            present.retain_mut(|(visitor, reader, said)| {
                if visitor.leaves_at == Some(said.len()) {
                    self.check(*visitor, said, false);
                    return false;
                }
                match reader.poll_next(&mut Context::from_waker(&waker)) {
                    Poll::Ready(Some(token)) => {
                        said.push(token);
                        seen += 1;
                        true
                    }
                    Poll::Ready(None) => {
                        assert!(reader.outcome().is_ok(), "{visitor:?} ended badly");
                        self.check(*visitor, said, true);
                        false
                    }
                    Poll::Pending => true,
                }
            });
            if before == (seen, present.len()) {
                thread::park();
            }
        }
    }

    fn job(&self, visitor: Visitor) -> Job {
        let Identity { prompt, sampling, adapter } = visitor.identity;
        let (sampling, seed) = sampling_of(sampling);
        Job {
            prompt: self.prompts[prompt].clone(),
            priority: visitor.priority,
            sampling: SamplingParameters { max_new_tokens: visitor.output, ..sampling },
            seed,
            adapter: self.adapters[adapter].clone(),
        }
    }

    fn check(&self, visitor: Visitor, said: &[u32], to_the_end: bool) {
        let mut solo = self.solo.borrow_mut();
        let alone = solo.says(visitor.identity, &self.prompts, self.adapters);
        let end = if to_the_end { visitor.output.min(alone.len()) } else { said.len() };
        assert_eq!(said, &alone[..end], "of {visitor:?}");
    }
}

/// A backend of one slot, and what each sequence says on it: no engine, no batch, no reuse.
struct Solo<B> {
    backend: B,
    said: HashMap<Identity, Vec<u32>>,
}

impl<B: Backend> Solo<B> {
    fn says(
        &mut self,
        identity: Identity,
        prompts: &[Vec<i64>],
        adapters: &[Option<Arc<Adapter>>],
    ) -> &[u32] {
        let Self { backend, said } = self;
        said.entry(identity).or_insert_with(|| {
            let prompt = &prompts[identity.prompt];
            let (parameters, seed) = sampling_of(identity.sampling);
            let mut sampler = Sampler::new(parameters, seed, prompt);
            backend.adapt(0, adapters[identity.adapter].as_ref()).unwrap();
            let mut said = vec![sampler.sample(backend.prefill(0, 0, prompt).unwrap()).unwrap()];
            // A prompt that fills the context can still be answered by one token.
            let most = LONGEST.min(backend.capacity().context - prompt.len()).max(1);
            while said.len() < most {
                let token = i64::from(said[said.len() - 1]);
                let row = Row { token, past: prompt.len() + said.len() - 1 };
                said.push(sampler.sample(backend.decode(&[row]).unwrap()).unwrap());
            }
            said
        })
    }
}

/// Greedy; and drawn, with and without a penalty, from several seeds.
fn sampling_of(sampling: usize) -> (SamplingParameters, u64) {
    let drawn = SamplingParameters { temperature: 1.5, top_p: 0.95, ..SamplingParameters::default() };
    let parameters = match sampling {
        0 => greedy_parameters(1),
        1 => SamplingParameters { repetition_penalty: 1.3, ..drawn },
        _ => drawn,
    };
    (parameters, sampling as u64)
}

/// Of many lengths; some begin alike, and one fills a context of 192.
fn prompts() -> Vec<Vec<i64>> {
    let run = |length: i64, step: i64| (0..length).map(move |i| (i * step + step) % 240);
    let mut prompts: Vec<Vec<i64>> = [1, 2, 15, 16, 17, 33, 64, 90, 150, 192]
        .iter()
        .zip(1..)
        .map(|(length, step)| run(*length, step).collect())
        .collect();
    for tail in 1..8 {
        prompts.push(run(40, 7).chain(run(tail * 5, tail)).collect());
    }
    prompts
}

/// Wakes the test's thread when a token has come.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Tokens of a sequence at most.
const LONGEST: usize = 24;
/// Number of samplings, see [`sampling_of`].
const SAMPLINGS: usize = 4;
/// Mixes in a normal run: a few seconds without optimisation.
const CASES: u32 = 200;
