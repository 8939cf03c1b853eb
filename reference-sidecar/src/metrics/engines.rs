//! What engines count of themselves, per model, read when somebody scrapes. A new figure is one line in a table.

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
use crate::{
    engine::{EngineHandle, Gauges},
    models::LoadedModel,
};

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
    read: fn(&EngineHandle) -> usize,
}

const GROWS: [Grows; 2] = [
    grows("generation_tokens", "Tokens generated", 1.0, |gauges| &gauges.generated),
    grows("prefill_tokens", "Prompt tokens computed", 1.0, |gauges| &gauges.prefilled),
];

const LEVELS: [Level; 3] = [
    level("requests_waiting", "Requests that wait for a slot", |engine| {
        engine.gauges().waiting.load(Ordering::Relaxed)
    }),
    level("slots_busy", "Slots that are not free", |engine| engine.gauges().busy.load(Ordering::Relaxed)),
    level("slots", "Generations that can run at once", |engine| engine.capacity().slots),
];

const fn grows(name: &'static str, help: &'static str, scale: f64, read: fn(&Gauges) -> &AtomicU64) -> Grows {
    Grows { name, help, scale, read }
}

const fn level(name: &'static str, help: &'static str, read: fn(&EngineHandle) -> usize) -> Level {
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
                let value: usize = living.iter().map(|model| read(&model.engine)).sum();
                family.encode_family(&labels)?.encode_gauge(&(value as f64))?;
            }
        }
        Ok(())
    }
}

fn counters(model: &LoadedModel) -> [u64; GROWS.len()] {
    GROWS.each_ref().map(|figure| (figure.read)(model.engine.gauges()).load(Ordering::Relaxed))
}
