//! The engine's thread: takes commands, asks the scheduler, runs the backend, hands out tokens; nothing else.
//!
//! It blocks in two places only, the backend's step and, when no step can run, the command channel. It never waits for
//! a reader. When every handle and reader is gone it finishes and ends.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, TryRecvError},
    },
    time::Instant,
};

use super::{
    EngineError, Finish,
    alarms::Alarms,
    handle::{Gauges, Place},
    interrupts::Interrupts,
    seats::Seats,
    sequence::{Command, Sequence},
};
use crate::{
    backends::{Backend, BackendError},
    scheduler::{Left, Limits, Plan, Scheduler, SequenceId},
};

pub(super) struct StepLoop<B> {
    scheduler: Scheduler,
    /// The seats by slot, like the scheduler's.
    seats: Seats<B>,
    end_of_text: Vec<u32>,
    commands: Receiver<Command>,
    gauges: Arc<Gauges>,
    interrupts: Arc<Interrupts>,
    alarms: Alarms,
    waiting: HashMap<SequenceId, (Box<Sequence>, Place)>,
    /// Sequences without a slot until their readers read. They take no place in the queue, so no request is refused
    /// because of them.
    parked: HashMap<SequenceId, Box<Sequence>>,
    stopped: bool,
}

impl<B: Backend> StepLoop<B> {
    pub(super) fn new(
        backend: B,
        limits: Limits,
        end_of_text: Vec<u32>,
        commands: Receiver<Command>,
        (gauges, interrupts): (Arc<Gauges>, Arc<Interrupts>),
    ) -> Self {
        let (scheduler, seats) = (Scheduler::new(limits), Seats::new(backend));
        Self {
            scheduler,
            seats,
            end_of_text,
            commands,
            gauges,
            interrupts,
            alarms: Alarms::new(),
            waiting: HashMap::new(),
            parked: HashMap::new(),
            stopped: false,
        }
    }

    pub(super) fn warm_up(&mut self) -> Result<(), BackendError> {
        self.seats.warm_up()
    }

    pub(super) fn run(mut self) {
        while self.take_commands() {
            self.hold_back_the_starved();
            self.admit();
            self.alarms.ring();
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

    /// Takes all that has come. False when it is to stop, or when all senders are gone: then all readers are gone too.
    fn take_commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.take(command),
                Err(TryRecvError::Empty) => return !self.stopped,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Submit(sequence, place) => {
                self.scheduler.arrive(sequence.id, sequence.priority);
                self.waiting.insert(sequence.id, (sequence, place));
            }
            Command::Cancel(id) => {
                self.waiting.remove(&id);
                self.parked.remove(&id);
                if let Some(slot) = self.scheduler.leave(id) {
                    self.seats.vacate(slot);
                    self.count_busy();
                }
            }
            Command::Wake => {}
            Command::Stop => self.stopped = true,
        }
    }

    fn admit(&mut self) {
        while let Some(admission) = self.scheduler.admit() {
            if let Some((slot, left)) = admission.left {
                self.put_out(slot, left);
            }
            let Some((sequence, place)) = self.waiting.remove(&admission.ticket.id) else { continue };
            let Some(choice) = self.seats.choose(&sequence) else { continue };
            let (slot, total) = (choice.slot, sequence.to_read());
            self.scheduler.seat(&admission, slot, total);
            let seated = self.seats.seat(choice, sequence);
            drop(place);
            self.count_busy();
            match seated {
                Ok(reused) => {
                    count(&self.gauges.reused, reused);
                    self.scheduler.prefilled(slot, reused);
                }
                Err(error) => {
                    tracing::error!(%error, "failed to take an adapter");
                    self.end(slot, Err(EngineError::Backend));
                }
            }
        }
    }

    /// Takes the sequence out of the slot that the scheduler has given to another.
    fn put_out(&mut self, slot: usize, left: Left) {
        let Some(sequence) = self.seats.vacate(slot) else { return };
        match left {
            Left::Preempted => {
                count(&self.gauges.preempted, 1);
                self.waiting.insert(sequence.id, (sequence, Place::give_back(&self.gauges)));
            }
            Left::Parked => {
                count(&self.gauges.parked, 1);
                self.parked.insert(sequence.id, sequence);
            }
        }
    }

    fn hold_back_the_starved(&mut self) {
        for (slot, sequence) in self.seats.sequences() {
            self.scheduler.set_ready(slot, sequence.has_room());
        }
        for (id, sequence) in self.parked.extract_if(|_, sequence| sequence.has_room()) {
            self.scheduler.unpark(id);
            self.waiting.insert(id, (sequence, Place::give_back(&self.gauges)));
        }
    }

    fn prefill(&mut self, slot: usize, start: usize, end: usize) {
        let Some(sequence) = self.seats.get(slot) else { return };
        self.interrupts.begin(sequence.id);
        if sequence.is_abandoned() {
            self.interrupts.end();
            return self.end(slot, Err(EngineError::Stopped));
        }
        let began = Instant::now();
        let step = self.seats.prefill(slot, start, end);
        self.interrupts.end();
        count(&self.gauges.prefill_micros, began.elapsed().as_micros() as usize);
        count(&self.gauges.chunks, 1);
        let Some((sequence, logits)) = step else { return };
        let outcome = match logits {
            Ok(logits) => {
                count(&self.gauges.prefilled, end - start);
                // A sequence that was preempted has drawn this token before.
                let draws = end == sequence.to_read() && !sequence.has_begun();
                count(&self.gauges.generated, usize::from(draws));
                draws.then(|| sequence.advance(logits, &self.end_of_text, &mut self.alarms)).flatten()
            }
            Err(BackendError::Interrupted) => {
                // Its reader did that, and reads no outcome.
                count(&self.gauges.interrupted, 1);
                Some(Err(EngineError::Stopped))
            }
            Err(error) => {
                tracing::error!(%error, "failed to read a prompt");
                Some(Err(EngineError::Backend))
            }
        };
        if let Some(outcome) = outcome {
            self.end(slot, outcome);
        } else {
            self.scheduler.prefilled(slot, end);
        }
    }

    fn decode(&mut self, rows: usize) {
        let decodes = |slot: usize| self.scheduler.slots()[slot].decodes();
        let began = Instant::now();
        let step = self.seats.decode(rows, decodes).map(|sequences| {
            let mut width = 0;
            let ended = sequences.inspect(|_| width += 1).filter_map(|(slot, sequence, logits)| {
                Some((slot, sequence.advance(logits, &self.end_of_text, &mut self.alarms)?))
            });
            let ended: Vec<(usize, Result<Finish, EngineError>)> = ended.collect();
            (ended, width)
        });
        count(&self.gauges.decode_micros, began.elapsed().as_micros() as usize);
        count(&self.gauges.steps, 1);
        match step {
            Ok((ended, width)) => {
                count(&self.gauges.rows, width);
                count(&self.gauges.generated, width);
                for (slot, outcome) in ended {
                    self.end(slot, outcome);
                }
            }
            Err(error) => {
                tracing::error!(%error, "failed to run a decode step: each of its sequences is tried alone");
                for slot in 0..rows {
                    if self.scheduler.slots()[slot].decodes() {
                        self.decode_alone(slot);
                    }
                }
            }
        }
    }

    /// A fault of one row fails the step of all; alone, it ends its own sequence.
    fn decode_alone(&mut self, slot: usize) {
        let Some((sequence, logits)) = self.seats.decode_alone(slot) else { return };
        let outcome = match logits {
            Ok(logits) => {
                count(&self.gauges.rows, 1);
                count(&self.gauges.generated, 1);
                sequence.advance(logits, &self.end_of_text, &mut self.alarms)
            }
            Err(error) => {
                tracing::error!(%error, "failed to continue a sequence");
                Some(Err(EngineError::Backend))
            }
        };
        if let Some(outcome) = outcome {
            self.end(slot, outcome);
        }
    }

    fn end(&mut self, slot: usize, outcome: Result<Finish, EngineError>) {
        if let Some(sequence) = self.seats.vacate(slot) {
            self.scheduler.leave(sequence.id);
            self.count_busy();
            sequence.finish(outcome, &mut self.alarms);
        }
    }

    fn count_busy(&self) {
        self.gauges.busy.store(self.seats.busy(), Ordering::Relaxed);
    }
}

fn count(gauge: &AtomicU64, more: usize) {
    gauge.fetch_add(more as u64, Ordering::Relaxed);
}
