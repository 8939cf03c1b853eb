//! Properties of the scheduler, over any order of arrivals, cancellations and pauses.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use reference_sidecar::scheduler::{Limits, MAX_OVERTAKES, Plan, Queue, Scheduler, SequenceId, SlotState};

/// What may happen between two steps.
#[derive(Clone, Debug)]
enum Event {
    Arrive { priority: i32, prompt: usize, output: usize },
    Cancel(usize),
    Pause(usize),
    Resume,
    Step,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (-2..3_i32, 1..40_usize, 1..12_usize)
            .prop_map(|(priority, prompt, output)| Event::Arrive { priority, prompt, output }),
        1 => (0..40_usize).prop_map(Event::Cancel),
        1 => (0..8_usize).prop_map(Event::Pause),
        1 => Just(Event::Resume),
        6 => Just(Event::Step),
    ]
}

/// A world that does what the scheduler says, and checks it.
struct World {
    scheduler: Scheduler,
    chunk: usize,
    /// Tokens that each sequence has still to generate.
    left: BTreeMap<SequenceId, usize>,
    ended: BTreeSet<SequenceId>,
    next: u64,
}

impl World {
    fn new(slots: usize, chunk: usize) -> Self {
        let scheduler = Scheduler::new(Limits { slots, prefill_chunk: chunk });
        Self { scheduler, chunk, left: BTreeMap::new(), ended: BTreeSet::new(), next: 0 }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Arrive { priority, prompt, output } => {
                let id = SequenceId(self.next);
                self.next += 1;
                self.left.insert(id, output);
                self.scheduler.arrive(id, priority, prompt);
            }
            Event::Cancel(which) => {
                if let Some(id) = self.left.keys().nth(which).copied() {
                    self.end(id);
                }
            }
            Event::Pause(slot) => {
                if slot < self.scheduler.slots().len() {
                    self.scheduler.set_ready(slot, false);
                }
            }
            Event::Resume => {
                for slot in 0..self.scheduler.slots().len() {
                    self.scheduler.set_ready(slot, true);
                }
            }
            Event::Step => {
                self.step();
            }
        }
        self.check();
    }

    fn step(&mut self) -> Plan {
        while self.scheduler.admit().is_some() {}
        let plan = self.scheduler.plan();
        match plan {
            Plan::Idle => {}
            Plan::Prefill { slot, start, end } => {
                let SlotState::Prefill { id, done, total } = self.scheduler.slots()[slot] else {
                    panic!("{slot} reads no prompt")
                };
                assert!(start == done && start < end && end <= total && end - start <= self.chunk);
                self.scheduler.prefilled(slot, end);
                if end == total {
                    self.generate(id);
                }
            }
            Plan::Decode { rows } => {
                let slots = self.scheduler.slots().to_vec();
                assert!(slots[rows - 1].decodes() && !slots[rows..].iter().any(|slot| slot.decodes()));
                for slot in slots.into_iter().filter(|slot| slot.decodes()) {
                    self.generate(slot.id().unwrap());
                }
            }
        }
        plan
    }

    fn generate(&mut self, id: SequenceId) {
        let left = self.left.get_mut(&id).expect("a sequence that runs has not ended");
        *left -= 1;
        if *left == 0 {
            self.end(id);
        }
    }

    fn end(&mut self, id: SequenceId) {
        self.scheduler.leave(id);
        self.left.remove(&id);
        assert!(self.ended.insert(id), "{id:?} ends once");
    }

    /// No slot is shared, and every sequence is in exactly one place.
    fn check(&self) {
        let running: Vec<_> = self.scheduler.slots().iter().filter_map(|slot| slot.id()).collect();
        let distinct: BTreeSet<_> = running.iter().collect();
        assert_eq!(distinct.len(), running.len());
        assert!(running.iter().all(|id| self.left.contains_key(id)));
        assert_eq!(running.len() + self.scheduler.waiting(), self.left.len());
    }
}

proptest! {
    #[test]
    fn no_slot_is_lost_or_shared_and_every_arrival_ends(
        events in prop::collection::vec(event(), 1..200),
        slots in 1..6_usize,
        chunk in 1..16_usize,
    ) {
        let mut world = World::new(slots, chunk);
        for event in &events {
            world.apply(event);
        }
        world.apply(&Event::Resume);
        let mut steps = 0;
        while !world.left.is_empty() {
            prop_assert_ne!(world.step(), Plan::Idle, "work is left");
            steps += 1;
            prop_assert!(steps < 100_000);
        }
        prop_assert_eq!(world.ended.len() as u64, world.next);
        prop_assert!(world.scheduler.slots().iter().all(|slot| *slot == SlotState::Free));
    }

    #[test]
    fn decode_and_prefill_take_turns_while_both_have_work(
        prompts in prop::collection::vec(1..60_usize, 2..6),
        chunk in 1..8_usize,
    ) {
        let mut world = World::new(prompts.len(), chunk);
        for prompt in prompts {
            world.apply(&Event::Arrive { priority: 0, prompt, output: 1000 });
        }
        let mut last = None;
        loop {
            let plan = world.step();
            let reads = matches!(plan, Plan::Prefill { .. });
            let decodes = world.scheduler.slots().iter().any(|slot| slot.decodes());
            let prompts = world.scheduler.slots().iter().any(|s| matches!(s, SlotState::Prefill { .. }));
            if !prompts {
                break;
            }
            prop_assert!(!(decodes && last == Some(true) && reads), "two prompt steps in a row");
            last = decodes.then_some(reads);
        }
    }

    #[test]
    fn urgent_goes_first_and_equals_in_order(priorities in prop::collection::vec(-3..4_i32, 1..16)) {
        let mut queue = Queue::default();
        for (id, priority) in priorities.iter().enumerate() {
            queue.push(SequenceId(id as u64), *priority, 1);
        }
        let mut expected: Vec<_> = priorities.iter().enumerate().map(|(id, p)| (*p, id as u64)).collect();
        expected.sort_unstable();
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(id, _)| id.0).collect();
        prop_assert_eq!(order, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    }
}

#[test]
fn the_lowest_priority_is_served_under_a_steady_flow_of_urgent_work() {
    let mut queue = Queue::default();
    queue.push(SequenceId(0), i32::MAX, 1);
    let served = (1..100).find(|id| {
        queue.push(SequenceId(*id), i32::MIN, 1);
        queue.push(SequenceId(1000 + *id), i32::MIN, 1);
        queue.pop().unwrap().0 == SequenceId(0)
    });
    assert_eq!(served, Some(u64::from(MAX_OVERTAKES) + 1));
}

#[test]
fn a_long_prompt_is_read_under_a_steady_flow_of_short_ones() {
    let mut world = World::new(4, 8);
    world.apply(&Event::Arrive { priority: 0, prompt: 400, output: 1 });
    let long = SequenceId(0);
    let steps = (0..10_000).position(|_| {
        world.apply(&Event::Arrive { priority: 0, prompt: 8, output: 2 });
        world.step();
        world.ended.contains(&long)
    });
    assert!(steps.is_some_and(|steps| steps < 400), "{steps:?}");
}
