//! Properties of the scheduler, over any order of arrivals, cancellations and pauses.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use reference_sidecar::scheduler::{
    Left, Limits, MAX_OVERTAKES, MAX_PREEMPTIONS, Plan, Queue, Scheduler, SequenceId, SlotState,
};

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
    budget: usize,
    /// Prompt tokens read since a sequence was last continued, or since none could be.
    spent: usize,
    live: BTreeMap<SequenceId, Live>,
    ended: BTreeSet<SequenceId>,
    admissions: u64,
    preemptions: u64,
    /// Sequences that gave their slot up because their reader does not read.
    parked: BTreeSet<SequenceId>,
    /// How often one came back from there, which may be before one that waits.
    returns: u64,
    next: u64,
}

/// A sequence that has not ended.
#[derive(Clone, Copy, Debug)]
struct Live {
    priority: i32,
    prompt: usize,
    generated: usize,
    output: usize,
    preemptions: u32,
    /// Admitted by the rule against starvation, or preempted as often as can be.
    shielded: bool,
    /// The number of its last admission.
    admitted: u64,
    /// Never admitted: all admissions when it arrived, and the sequences before it.
    waits_since: Option<(u64, u64)>,
}

impl World {
    fn new(slots: usize, budget: usize) -> Self {
        let scheduler = Scheduler::new(Limits { slots, prefill_budget: budget });
        let (live, ended) = (BTreeMap::new(), BTreeSet::new());
        Self {
            scheduler,
            budget,
            spent: 0,
            live,
            ended,
            admissions: 0,
            preemptions: 0,
            parked: BTreeSet::new(),
            returns: 0,
            next: 0,
        }
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Arrive { priority, prompt, output } => {
                self.arrive(priority, prompt, output);
            }
            Event::Cancel(which) => {
                if let Some(id) = self.live.keys().nth(which).copied() {
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
                for id in std::mem::take(&mut self.parked) {
                    self.scheduler.unpark(id);
                    self.returns += 1;
                }
            }
            Event::Step => {
                self.step();
            }
        }
        self.check();
    }

    fn arrive(&mut self, priority: i32, prompt: usize, output: usize) -> SequenceId {
        let id = SequenceId(self.next);
        self.next += 1;
        let waits_since = Some((self.admissions, self.live.len() as u64));
        let (preemptions, shielded) = (0, false);
        let live =
            Live { priority, prompt, generated: 0, output, preemptions, shielded, admitted: 0, waits_since };
        self.live.insert(id, live);
        self.scheduler.arrive(id, priority);
        id
    }

    /// Admits every request that may come in, and checks which sequence must leave for it.
    fn admit(&mut self) {
        loop {
            let before = self.scheduler.slots().to_vec();
            let Some(admission) = self.scheduler.admit() else { break };
            self.admissions += 1;
            match admission.left {
                Some((slot, Left::Preempted)) => self.preempt(before[slot].id().unwrap(), &before),
                Some((slot, Left::Parked)) => {
                    assert!(before[slot].is_held_back(), "only one whose reader does not read is parked");
                    self.parked.insert(before[slot].id().unwrap());
                }
                None => assert!(before.contains(&SlotState::Free)),
            }
            let id = admission.ticket.id;
            let live = self.live.get_mut(&id).expect("who is admitted has not ended");
            (live.shielded, live.admitted) = (admission.ticket.is_shielded(), self.admissions);
            if let Some((since, older)) = live.waits_since.take() {
                let older = older + self.returns;
                let bound = u64::from(MAX_OVERTAKES + 1) * (u64::from(MAX_PREEMPTIONS + 1) * older + 1);
                assert!(self.admissions - since <= bound, "{id:?} waited too long behind {older}");
            }
            let total = live.prompt + live.generated.saturating_sub(1);
            let slot = self.scheduler.slots().iter().rposition(|slot| *slot == SlotState::Free);
            let slot = slot.expect("an admission leaves a slot free");
            self.scheduler.seat(&admission, slot, total);
            // Some slots hold a part of it, or all that a sequence that goes on needs.
            let reused = if id.0 % 3 == 0 { total / 2 } else { 0 };
            let reused = if id.0 % 2 == 0 && live.generated > 0 { total } else { reused };
            self.scheduler.prefilled(slot, reused);
        }
        let waiting = self.waiting();
        let urgent = waiting.iter().map(|id| self.live[id].priority).min();
        for id in self.scheduler.slots().iter().filter_map(|slot| slot.id()) {
            let live = self.live[&id];
            let inverted = urgent.is_some_and(|urgent| urgent < live.priority) && !live.shielded;
            assert!(!inverted, "{id:?} runs before one that is more urgent");
        }
    }

    fn preempt(&mut self, victim: SequenceId, slots: &[SlotState]) {
        let running: Vec<_> = slots.iter().map(|slot| slot.id().expect("all slots are taken")).collect();
        let loss = |id: &SequenceId| (self.live[id].priority, self.live[id].admitted);
        let unshielded = running.iter().filter(|id| !self.live[*id].shielded);
        let expected = unshielded.max_by_key(|id| loss(id));
        assert_eq!(Some(&victim), expected, "the least urgent goes, and of those the latest");
        let urgent = self.live.iter().filter(|(id, _)| !running.contains(id)).map(|(_, live)| live.priority);
        assert!(urgent.min() < Some(self.live[&victim].priority), "only for one that is more urgent");
        self.preemptions += 1;
        let live = self.live.get_mut(&victim).unwrap();
        live.preemptions += 1;
        assert!(live.preemptions <= MAX_PREEMPTIONS);
    }

    fn step(&mut self) -> Plan {
        self.admit();
        let could_decode = self.scheduler.slots().iter().any(|slot| slot.decodes());
        let plan = self.scheduler.plan();
        match plan {
            Plan::Idle => {
                self.spent = 0;
                assert!(!could_decode && !self.reads());
            }
            Plan::Prefill { slot, start, end } => {
                let SlotState::Prefill { id, done, total } = self.scheduler.slots()[slot] else {
                    panic!("{slot} reads no prompt")
                };
                assert!(start == done && start < end && end <= total);
                self.spent = if could_decode { self.spent + end - start } else { end - start };
                assert!(self.spent <= self.budget, "{} tokens before a decode step", self.spent);
                self.scheduler.prefilled(slot, end);
                if end == total && self.live[&id].generated == 0 {
                    self.generate(id);
                }
            }
            Plan::Decode { rows } => {
                self.spent = 0;
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
        let live = self.live.get_mut(&id).expect("a sequence that runs has not ended");
        live.generated += 1;
        if live.generated == live.output {
            self.end(id);
        }
    }

    fn end(&mut self, id: SequenceId) {
        self.scheduler.leave(id);
        self.parked.remove(&id);
        self.live.remove(&id);
        assert!(self.ended.insert(id), "{id:?} ends once");
    }

    fn reads(&self) -> bool {
        self.scheduler.slots().iter().any(|slot| matches!(slot, SlotState::Prefill { .. }))
    }

    fn waiting(&self) -> Vec<SequenceId> {
        let runs = |id: &SequenceId| self.scheduler.slots().iter().any(|slot| slot.id() == Some(*id));
        self.live.keys().filter(|id| !runs(id) && !self.parked.contains(id)).copied().collect()
    }

    /// No slot is shared, and every sequence is in exactly one place.
    fn check(&self) {
        let running: Vec<_> = self.scheduler.slots().iter().filter_map(|slot| slot.id()).collect();
        let distinct: BTreeSet<_> = running.iter().collect();
        assert_eq!(distinct.len(), running.len());
        assert!(running.iter().all(|id| self.live.contains_key(id)));
        assert_eq!(self.parked.len(), self.scheduler.parked());
        assert_eq!(running.len() + self.scheduler.waiting() + self.parked.len(), self.live.len());
    }

    /// Steps until the sequence ends; how many that took, of `most` at most.
    fn steps_until_end(
        &mut self,
        id: SequenceId,
        most: usize,
        mut each: impl FnMut(&mut Self),
    ) -> Option<usize> {
        (0..most).position(|_| {
            each(self);
            self.step();
            self.check();
            self.ended.contains(&id)
        })
    }
}

proptest! {
    #[test]
    fn no_slot_is_lost_or_shared_and_every_arrival_ends(
        events in prop::collection::vec(event(), 1..200),
        slots in 1..6_usize,
        budget in 1..50_usize,
    ) {
        let mut world = World::new(slots, budget);
        for event in &events {
            world.apply(event);
        }
        world.apply(&Event::Resume);
        let mut steps = 0;
        while !world.live.is_empty() {
            prop_assert_ne!(world.step(), Plan::Idle, "work is left");
            steps += 1;
            prop_assert!(steps < 100_000);
        }
        prop_assert_eq!(world.ended.len() as u64, world.next);
        prop_assert!(world.scheduler.slots().iter().all(|slot| *slot == SlotState::Free));
    }

    #[test]
    fn no_request_is_overtaken_or_preempted_for_good(
        first in prop::collection::vec((0..4_i32, 1..30_usize), 1..8),
        flow in prop::collection::vec((-4..4_i32, 1..8_usize), 1..6),
        slots in 1..4_usize,
    ) {
        // The first ones must end while the flow of others, some always more urgent, never does. Each is admitted
        // within the bound, which the world checks, and then runs for as many steps as it has tokens, and as the
        // others' prompts take.
        let mut world = World::new(slots, 8);
        let ids: Vec<_> = first.iter().map(|(priority, output)| world.arrive(*priority, 10, *output)).collect();
        let mut turn = flow.iter().cycle();
        for id in ids {
            let ended = world.ended.contains(&id)
                || world
                    .steps_until_end(id, 100_000, |world| {
                        if world.scheduler.waiting() < 20 {
                            let (priority, output) = turn.next().unwrap();
                            world.arrive(*priority, 3, *output);
                        }
                    })
                    .is_some();
            prop_assert!(ended, "{:?} starves", id);
        }
    }

    #[test]
    fn urgent_goes_first_and_equals_in_order(priorities in prop::collection::vec(-3..4_i32, 1..16)) {
        let mut queue = Queue::default();
        for (id, priority) in priorities.iter().enumerate() {
            queue.push(SequenceId(id as u64), *priority);
        }
        let mut expected: Vec<_> = priorities.iter().enumerate().map(|(id, p)| (*p, id as u64)).collect();
        expected.sort_unstable();
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|ticket| ticket.id.0).collect();
        prop_assert_eq!(order, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    }
}

#[test]
fn who_was_preempted_is_first_among_equals() {
    let mut queue = Queue::default();
    queue.push(SequenceId(0), 0);
    let first = queue.pop().unwrap();
    queue.push(SequenceId(1), 0);
    queue.push(SequenceId(2), -1);
    queue.put_back(first);
    let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|ticket| ticket.id.0).collect();
    assert_eq!(order, [2, 0, 1]);
}

#[test]
fn the_lowest_priority_is_served_under_a_steady_flow_of_urgent_work() {
    let mut queue = Queue::default();
    queue.push(SequenceId(0), i32::MAX);
    let served = (1..100).find(|id| {
        queue.push(SequenceId(*id), i32::MIN);
        queue.push(SequenceId(1000 + *id), i32::MIN);
        let ticket = queue.pop().unwrap();
        assert_eq!(
            ticket.is_shielded(),
            ticket.id == SequenceId(0),
            "and keeps its slot, as no other request does"
        );
        ticket.id == SequenceId(0)
    });
    assert_eq!(served, Some(u64::from(MAX_OVERTAKES) + 1));
}

#[test]
fn a_running_sequence_is_preempted_and_ends_under_ever_more_urgent_work() {
    let mut world = World::new(1, 8);
    let lowest = world.arrive(i32::MAX, 8, 50);
    world.step();
    let mut priority = 0;
    let ended = world.steps_until_end(lowest, 1000, |world| {
        priority -= 1;
        world.arrive(priority, 8, 50);
    });
    assert!(ended.is_some(), "it starves");
    assert!(world.preemptions > 0, "it was never in danger");
}

#[test]
fn many_short_prompts_are_read_in_few_turns() {
    let mut world = World::new(17, 64);
    world.arrive(0, 1, 1000);
    world.step();
    for _ in 0..16 {
        world.arrive(0, 12, 1000);
    }
    let mut turns = 0;
    while {
        world.admit();
        world.reads()
    } {
        turns += usize::from(matches!(world.step(), Plan::Decode { .. }));
    }
    // At least five prompts of 12 tokens fit into each budget of 64.
    assert!((1..=3).contains(&turns), "{turns} decode steps between 16 prompts");
}

#[test]
fn an_urgent_prompt_is_read_first_and_others_are_not_forgotten() {
    let mut world = World::new(8, 8);
    let patient = world.arrive(5, 24, 1);
    world.step();
    let urgent = world.arrive(0, 40, 1);
    let read = world.steps_until_end(urgent, 100, |_| {});
    assert_eq!(read, Some(4), "in five chunks of its own, past the one admitted first");
    let steps = world.steps_until_end(patient, 1000, |world| {
        world.arrive(0, 8, 1);
    });
    assert!(steps.is_some_and(|steps| steps <= 2 * (MAX_OVERTAKES as usize + 1)), "{steps:?}");
}

#[test]
fn a_long_prompt_is_read_under_a_steady_flow_of_short_ones() {
    let mut world = World::new(4, 8);
    let long = world.arrive(0, 400, 1);
    let steps = world.steps_until_end(long, 10_000, |world| {
        world.arrive(0, 8, 2);
    });
    assert!(steps.is_some_and(|steps| steps < 400), "{steps:?}");
}
