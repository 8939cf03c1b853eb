//! The engine's thread: takes commands, asks the scheduler, runs the backend, hands out tokens; nothing else.
//!
//! It blocks in two places only, the backend's step and, when no step can run, the command channel. It never waits for
//! a reader. When every handle and reader is gone it finishes and ends.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, TryRecvError},
    },
};

use super::{
    EngineError, Finish,
    handle::{Gauges, Place},
    sequence::{Command, Sequence},
};
use crate::{
    backends::{Backend, Row},
    scheduler::{Limits, Plan, Scheduler, SequenceId, SlotState},
};

pub(super) struct StepLoop<B> {
    backend: B,
    scheduler: Scheduler,
    end_of_text: Vec<u32>,
    commands: Receiver<Command>,
    gauges: Arc<Gauges>,
    waiting: HashMap<SequenceId, (Box<Sequence>, Place)>,
    /// By slot; as the scheduler's.
    running: Vec<Option<Box<Sequence>>>,
    /// Scratch of a decode step.
    rows: Vec<Row>,
}

impl<B: Backend> StepLoop<B> {
    pub(super) fn new(
        backend: B,
        limits: Limits,
        end_of_text: Vec<u32>,
        commands: Receiver<Command>,
        gauges: Arc<Gauges>,
    ) -> Self {
        let scheduler = Scheduler::new(limits);
        let running = scheduler.slots().iter().map(|_| None).collect();
        let (waiting, rows) = (HashMap::new(), Vec::with_capacity(limits.slots));
        Self { backend, scheduler, end_of_text, commands, gauges, waiting, running, rows }
    }

    pub(super) fn run(mut self) {
        while self.take_commands() {
            self.admit();
            self.hold_back_the_starved();
            match self.scheduler.plan() {
                Plan::Prefill { slot, start, end } => self.prefill(slot, start, end),
                Plan::Decode { rows } => self.decode(rows),
                Plan::Idle => match self.commands.recv() {
                    Ok(command) => self.take(command),
                    Err(_) => return,
                },
            }
        }
    }

    /// Takes all that has come. False when nobody can send any more: then nobody reads either.
    fn take_commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.take(command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Submit(sequence, place) => {
                self.scheduler.arrive(sequence.id, sequence.priority, sequence.prompt.len());
                self.waiting.insert(sequence.id, (sequence, place));
            }
            Command::Cancel(id) => {
                self.waiting.remove(&id);
                if let Some(slot) = self.scheduler.leave(id) {
                    self.running[slot] = None;
                    self.count_busy();
                }
            }
            Command::Wake => {}
        }
    }

    fn admit(&mut self) {
        while let Some((id, slot)) = self.scheduler.admit() {
            if let Some((sequence, _place)) = self.waiting.remove(&id) {
                self.running[slot] = Some(sequence);
            }
            self.count_busy();
        }
    }

    fn hold_back_the_starved(&mut self) {
        for (slot, sequence) in self.running.iter().enumerate() {
            if let Some(sequence) = sequence {
                self.scheduler.set_ready(slot, sequence.has_room());
            }
        }
    }

    fn prefill(&mut self, slot: usize, start: usize, end: usize) {
        let Some(sequence) = &mut self.running[slot] else { return };
        let finish = match self.backend.prefill(slot, start, &sequence.prompt[start..end]) {
            Ok(logits) => {
                sequence.past = end;
                let last = end == sequence.prompt.len();
                self.gauges.generated.fetch_add(u64::from(last), Ordering::Relaxed);
                last.then(|| sequence.advance(logits, &self.end_of_text)).flatten().map(Ok)
            }
            Err(error) => {
                tracing::error!(%error, "failed to read a prompt");
                Some(Err(EngineError::Backend))
            }
        };
        self.scheduler.prefilled(slot, end);
        self.gauges.prefilled.fetch_add((end - start) as u64, Ordering::Relaxed);
        if let Some(outcome) = finish {
            self.end(slot, outcome);
        }
    }

    fn decode(&mut self, rows: usize) {
        self.rows.clear();
        self.rows.extend(self.running[..rows].iter().map(|sequence| match sequence {
            Some(sequence) => Row { token: sequence.next, past: sequence.past },
            None => Row::default(),
        }));
        let vocabulary = self.backend.capacity().vocabulary;
        let mut ended: Vec<(usize, Result<Finish, EngineError>)> = Vec::new();
        match self.backend.decode(&self.rows) {
            Ok(logits) => {
                let slots = self.scheduler.slots().iter().zip(&mut self.running);
                for (slot, ((state, sequence), logits)) in
                    slots.zip(logits.chunks_exact_mut(vocabulary)).enumerate()
                {
                    let (true, Some(sequence)) = (state.decodes(), sequence) else { continue };
                    sequence.past += 1;
                    self.gauges.generated.fetch_add(1, Ordering::Relaxed);
                    if let Some(finish) = sequence.advance(logits, &self.end_of_text) {
                        ended.push((slot, Ok(finish)));
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "failed to run a decode step");
                let failed = |(slot, state): (usize, &SlotState)| {
                    state.decodes().then_some((slot, Err(EngineError::Backend)))
                };
                ended.extend(self.scheduler.slots()[..rows].iter().enumerate().filter_map(failed));
            }
        }
        for (slot, outcome) in ended {
            self.end(slot, outcome);
        }
    }

    fn end(&mut self, slot: usize, outcome: Result<Finish, EngineError>) {
        if let Some(sequence) = self.running[slot].take() {
            self.scheduler.leave(sequence.id);
            self.count_busy();
            sequence.finish(outcome);
        }
    }

    fn count_busy(&self) {
        let busy = self.running.iter().flatten().count();
        self.gauges.busy.store(busy, Ordering::Relaxed);
    }
}
