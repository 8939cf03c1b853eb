//! Who waits for a slot, and who is next.

use super::SequenceId;

/// After so many admissions past the longest-waiting request, it goes next whatever its priority (CONCURRENCY-008).
pub const MAX_OVERTAKES: u32 = 16;

/// A sequence that was preempted so often keeps its next slot to its end: each preemption may cost its whole text
/// being read again, so the waste is bounded, and so is the wait.
pub const MAX_PREEMPTIONS: u32 = 4;

/// A sequence's standing among the others, from its arrival to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The sequence that waits.
    pub id: SequenceId,
    /// Priority: lower values come first.
    pub priority: i32,
    /// Its place in the order of arrival.
    arrival: u64,
    preemptions: u32,
    /// Admitted because it had been overtaken too often.
    aged: bool,
}

impl Ticket {
    /// As it goes back when it had to leave its slot for another.
    #[must_use]
    pub const fn preempted(self) -> Self {
        Self { preemptions: self.preemptions + 1, ..self }
    }

    /// It has waited enough: no other request takes its slot.
    pub const fn is_shielded(&self) -> bool {
        self.aged || self.preemptions >= MAX_PREEMPTIONS
    }
}

/// Requests that wait, in order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    waiting: Vec<Ticket>,
    arrivals: u64,
    /// Admissions since the one that waits longest was last admitted.
    overtakes: u32,
}

impl Queue {
    /// Adds an arrival at the end.
    pub fn push(&mut self, id: SequenceId, priority: i32) {
        let ticket = Ticket { id, priority, arrival: self.arrivals, preemptions: 0, aged: false };
        self.arrivals += 1;
        self.waiting.push(ticket);
    }

    /// Takes one back that had left: to its place by arrival, which is the first among its equals.
    pub fn put_back(&mut self, ticket: Ticket) {
        let place = self.waiting.partition_point(|waiting| waiting.arrival < ticket.arrival);
        self.waiting.insert(place, ticket);
    }

    /// Takes the next to admit.
    pub fn pop(&mut self) -> Option<Ticket> {
        // `min_by_key` keeps the first of equals, which is the first come: the list is in order of arrival.
        let urgent = self.waiting.iter().enumerate().min_by_key(|(_, waiting)| waiting.priority)?.0;
        let aged = self.overtakes >= MAX_OVERTAKES;
        let next = if aged { 0 } else { urgent };
        self.overtakes = if next == 0 { 0 } else { self.overtakes + 1 };
        Some(Ticket { aged, ..self.waiting.remove(next) })
    }

    /// The priority of the most urgent one.
    pub fn most_urgent(&self) -> Option<i32> {
        self.waiting.iter().map(|waiting| waiting.priority).min()
    }

    /// Forgets one that will not be served; true when it was waiting.
    pub fn remove(&mut self, id: SequenceId) -> bool {
        let place = self.waiting.iter().position(|waiting| waiting.id == id);
        if place == Some(0) {
            // It was overtaken, not the one that is the oldest now.
            self.overtakes = 0;
        }
        place.map(|place| self.waiting.remove(place)).is_some()
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
