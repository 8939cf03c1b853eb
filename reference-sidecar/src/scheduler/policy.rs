//! The scheduler itself: slots, queue, and the choice of the next step.

use super::{Plan, Queue, SequenceId, SlotState, Ticket, reading::Reading};

/// What the scheduler may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sequences that run at once.
    pub slots: usize,
    /// Prompt tokens read between two decode steps, in one chunk or several: bounds what prompts add to another
    /// stream's gap between tokens.
    pub prefill_budget: usize,
}

/// Which sequence is where. The engine reports what happened; [`Scheduler::plan`] says what to do.
#[derive(Clone, Debug)]
pub struct Scheduler {
    limits: Limits,
    queue: Queue,
    slots: Vec<SlotState>,
    /// The tenant of each slot, by the slot's index.
    tenants: Vec<Option<Tenant>>,
    admissions: u64,
    reading: Reading,
    /// Prompt tokens that may be read before the next decode step.
    budget: usize,
    /// Those that gave their slot up until their readers take what they have.
    parked: Vec<Ticket>,
}

/// Who has a slot, and since which admission.
#[derive(Clone, Copy, Debug)]
struct Tenant {
    ticket: Ticket,
    admitted: u64,
    /// Steps in a row that it sat out because its reader does not read.
    sat_out: u32,
}

/// A sequence on its way from the queue to a slot.
#[derive(Debug)]
#[must_use = "it waits no more and has no slot yet: `Scheduler::seat` it"]
pub struct Admission {
    /// The request that is admitted.
    pub ticket: Ticket,
    /// The slot that another sequence left for it, and where that one went.
    pub left: Option<(usize, Left)>,
}

/// Where a sequence goes that leaves its slot before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Back to the queue, for a more urgent one.
    Preempted,
    /// Out of the way, until its reader reads: [`Scheduler::unpark`].
    Parked,
}

impl Scheduler {
    /// All slots free, no request waiting.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { slots: limits.slots.max(1), prefill_budget: limits.prefill_budget.max(1) };
        Self {
            limits,
            queue: Queue::default(),
            slots: vec![SlotState::Free; limits.slots],
            tenants: vec![None; limits.slots],
            admissions: 0,
            reading: Reading::default(),
            budget: limits.prefill_budget,
            parked: Vec::new(),
        }
    }

    /// A request arrives.
    pub fn arrive(&mut self, id: SequenceId, priority: i32) {
        self.queue.push(id, priority);
    }

    /// Takes the next from the queue when there is a slot for it: a free one, one whose sequence waits for its reader, or
    /// one that a less urgent sequence must leave. Afterwards some slot is free, and the caller, who knows what each
    /// still holds, chooses which.
    pub fn admit(&mut self) -> Option<Admission> {
        let full = self.slots.iter().all(|state| *state != SlotState::Free);
        let left = if full { Some(self.who_leaves()?) } else { None };
        // The next is called before the preempted one goes back, which may be the oldest of all and due itself.
        let ticket = self.queue.pop()?;
        if let Some((slot, left)) = left
            && let Some(tenant) = self.vacate(slot)
        {
            match left {
                Left::Preempted => self.queue.put_back(tenant.ticket.preempted()),
                Left::Parked => self.parked.push(tenant.ticket),
            }
        }
        Some(Admission { ticket, left })
    }

    /// The reader of a parked sequence has made room: it waits for a slot again, at its place by arrival.
    pub fn unpark(&mut self, id: SequenceId) {
        if let Some(place) = self.parked.iter().position(|ticket| ticket.id == id) {
            self.queue.put_back(self.parked.remove(place));
        }
    }

    /// Gives an admitted sequence a free slot, where it reads `total` tokens (at least one).
    pub fn seat(&mut self, admission: &Admission, slot: usize, total: usize) {
        let Ticket { id, priority, .. } = admission.ticket;
        self.slots[slot] = SlotState::Prefill { id, done: 0, total };
        self.tenants[slot] = Some(Tenant { ticket: admission.ticket, admitted: self.admissions, sat_out: 0 });
        self.admissions += 1;
        self.reading.push(slot, priority);
    }

    /// The next step. Call [`Scheduler::admit`] until it returns `None` first.
    pub fn plan(&mut self) -> Plan {
        let rows = self.slots.iter().rposition(|state| state.decodes()).map_or(0, |last| last + 1);
        if rows == 0 {
            // No sequence is kept waiting by a prompt.
            self.budget = self.limits.prefill_budget;
        }
        if let Some(plan) = self.next_chunk() {
            return plan;
        }
        self.budget = self.limits.prefill_budget;
        if rows > 0 { Plan::Decode { rows } } else { Plan::Idle }
    }

    /// The slot has its tokens up to `end` in the cache.
    pub fn prefilled(&mut self, slot: usize, end: usize) {
        if let SlotState::Prefill { id, total, .. } = self.slots[slot] {
            self.slots[slot] = if end >= total {
                self.reading.remove(slot);
                SlotState::Decode { id, ready: true }
            } else {
                SlotState::Prefill { id, done: end, total }
            };
        }
    }

    /// Holds a decoding sequence back, or lets it go on; said before each step.
    pub fn set_ready(&mut self, slot: usize, now: bool) {
        if let SlotState::Decode { ready, .. } = &mut self.slots[slot] {
            *ready = now;
            if let Some(tenant) = &mut self.tenants[slot] {
                tenant.sat_out = if now { 0 } else { tenant.sat_out.saturating_add(1) };
            }
        }
    }

    /// The sequence ended, for whatever reason: its slot is free. Returns the slot if it had one.
    pub fn leave(&mut self, id: SequenceId) -> Option<usize> {
        if self.queue.remove(id) {
            return None;
        }
        self.parked.retain(|ticket| ticket.id != id);
        let slot = self.slots.iter().position(|state| state.id() == Some(id))?;
        self.vacate(slot);
        Some(slot)
    }

    /// Every slot, in order.
    pub fn slots(&self) -> &[SlotState] {
        &self.slots
    }

    /// How many wait for a slot.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How many wait for their readers, without a slot.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// The slot to leave, if any: computing for a reader that does not read comes after everything else.
    fn who_leaves(&self) -> Option<(usize, Left)> {
        if self.queue.is_empty() {
            return None;
        }
        let starved = self.longest_held_back().map(|slot| (slot, Left::Parked));
        starved.or_else(|| Some((self.least_urgent()?, Left::Preempted)))
    }

    /// The slot whose sequence has sat out most steps: [`PATIENCE`] at least, or any where nothing else runs.
    fn longest_held_back(&self) -> Option<usize> {
        let runs = |state: &SlotState| matches!(state, SlotState::Prefill { .. }) || state.decodes();
        let least = if self.slots.iter().any(runs) { PATIENCE } else { 0 };
        let held = self.slots.iter().zip(&self.tenants).enumerate();
        let held = held.filter(|(_, (state, _))| state.is_held_back());
        let held = held.filter_map(|(slot, (_, tenant))| Some((slot, tenant.as_ref()?.sat_out)));
        held.filter(|(_, sat_out)| *sat_out >= least)
            .max_by_key(|(_, sat_out)| *sat_out)
            .map(|(slot, _)| slot)
    }

    /// The slot to preempt: of the least urgent sequence that may be, if one that waits is more urgent.
    fn least_urgent(&self) -> Option<usize> {
        let urgent = self.queue.most_urgent()?;
        let tenants = self.tenants.iter().enumerate().filter_map(|(slot, tenant)| Some((slot, (*tenant)?)));
        let least = tenants
            .filter(|(_, tenant)| tenant.ticket.priority > urgent && !tenant.ticket.is_shielded())
            .max_by_key(|(_, tenant)| (tenant.ticket.priority, tenant.admitted));
        least.map(|(slot, _)| slot)
    }

    fn vacate(&mut self, slot: usize) -> Option<Tenant> {
        self.slots[slot] = SlotState::Free;
        self.reading.remove(slot);
        self.tenants[slot].take()
    }

    /// The next chunk within the budget. Prompts are cut only where a whole budget is too small for the rest: a short
    /// chunk costs nearly as much as a decode step.
    fn next_chunk(&mut self) -> Option<Plan> {
        let unread = |slot: usize| match self.slots[slot] {
            SlotState::Prefill { done, total, .. } => total - done,
            _ => 0,
        };
        let slot = self.reading.next(unread)?;
        let untouched = self.budget == self.limits.prefill_budget;
        if unread(slot) > self.budget && !untouched {
            return None;
        }
        let SlotState::Prefill { done: start, total, .. } = self.slots[slot] else { return None };
        let end = total.min(start + self.budget);
        // Never a last token alone: a quantised model rounds it otherwise than among others, and then equal prompts that
        // are cut at other places would give unequal texts.
        let end = if total - end == 1 && end - start > 2 { end - 1 } else { end };
        self.budget -= end - start;
        self.reading.took_turn(slot);
        Some(Plan::Prefill { slot, start, end })
    }
}

/// Steps that a sequence may sit out in its slot while others wait for one: a reader that hesitates costs less than
/// reading the text again.
const PATIENCE: u32 = 32;
