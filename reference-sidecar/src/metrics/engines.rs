//! What engines count of themselves, per model, read at each scrape. A new figure is one line in a table.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::ledger::Ledger;
use crate::{engine::Gauges, registry::LoadedModel};

/// A figure that only grows, over all the loads of a model.
struct Grows {
    name: &'static str,
    help: &'static str,
    /// Of ours in one of the engine's, e.g. 1e-6 for seconds that it counts as microseconds.
    scale: f64,
    read: fn(&Gauges) -> &AtomicU64,
}

/// A figure that comes and goes with the model.
struct Level {
    name: &'static str,
    help: &'static str,
    read: fn(&LoadedModel) -> usize,
}

const GROWS: [Grows; 11] = [
    grows("generation_tokens", "Tokens generated", 1.0, |gauges| &gauges.generated),
    grows("prefill_tokens", "Prompt tokens computed", 1.0, |gauges| &gauges.prefilled),
    grows("prefix_tokens", "Prompt tokens taken over from a slot that held them", 1.0, |gauges| {
        &gauges.reused
    }),
    grows("decode_steps", "Decode steps", 1.0, |gauges| &gauges.steps),
    grows("decode_rows", "Sequences in all decode steps together", 1.0, |gauges| &gauges.rows),
    grows("decode_seconds", "Time in decode steps", 1e-6, |gauges| &gauges.decode_micros),
    grows("prefill_chunks", "Prompt chunks computed", 1.0, |gauges| &gauges.chunks),
    grows("prefill_seconds", "Time in prompt chunks", 1e-6, |gauges| &gauges.prefill_micros),
    grows("preemptions", "Generations sent back to the queue for a more urgent one", 1.0, |gauges| {
        &gauges.preempted
    }),
    grows("parks", "Generations that gave their slot up because their reader did not read", 1.0, |gauges| {
        &gauges.parked
    }),
    grows(
        "prefills_interrupted",
        "Prompt chunks ended because no client waited for them any more",
        1.0,
        |gauges| &gauges.interrupted,
    ),
];

const LEVELS: [Level; 4] = [
    level("requests_waiting", "Requests that wait for a slot", |model| {
        model.engine.gauges().waiting.load(Ordering::Relaxed)
    }),
    level("slots_busy", "Slots that are not free", |model| {
        model.engine.gauges().busy.load(Ordering::Relaxed)
    }),
    level("slots", "Generations that can run at once", |model| model.engine.capacity().slots),
    level("memory_bytes", "Weights, and the KV cache with all slots full", |model| model.memory as usize),
];

const fn grows(name: &'static str, help: &'static str, scale: f64, read: fn(&Gauges) -> &AtomicU64) -> Grows {
    Grows { name, help, scale, read }
}

const fn level(name: &'static str, help: &'static str, read: fn(&LoadedModel) -> usize) -> Level {
    Level { name, help, read }
}

/// The engines that were seen, and what they counted. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Engines(Arc<Ledger<LoadedModel, { GROWS.len() }>>);

impl Engines {
    /// Writes a model's counters down. To be called before a model that did something is let go.
    pub fn observe(&self, model: &Arc<LoadedModel>) {
        self.0.write(&model.id, model, counters(model));
    }
}

impl Collector for Engines {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let all = self.0.read(counters);
        for (at, Grows { name, help, scale, .. }) in GROWS.iter().enumerate() {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (model, totals, _) in &all {
                let labels = [("model", model.as_str())];
                let value = totals[at] as f64 * scale;
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
        }
        for Level { name, help, read } in &LEVELS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (model, _, living) in &all {
                let labels = [("model", model.as_str())];
                let value: usize = living.iter().map(|model| read(model)).sum();
                family.encode_family(&labels)?.encode_gauge(&(value as f64))?;
            }
        }
        Ok(())
    }
}

fn counters(model: &LoadedModel) -> [u64; GROWS.len()] {
    GROWS.each_ref().map(|figure| (figure.read)(model.engine.gauges()).load(Ordering::Relaxed))
}
