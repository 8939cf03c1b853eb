//! `Health`: reads counters, and never waits (HEALTH-004, HEALTH-005).

use std::{collections::BTreeMap, sync::atomic::Ordering};

use ai_inference_proto::HealthAnswer;

use super::{Phase, State};

/// What the server is and how busy it is.
pub(super) fn health(state: &State) -> HealthAnswer {
    let (loaded, leaving) = (state.registry.loaded(), state.registry.leaving());
    let memory = loaded.iter().chain(&leaving).map(|model| model.memory).sum::<u64>();
    let sum = |of: &dyn Fn(&crate::engine::EngineHandle) -> u64| -> String {
        loaded.iter().map(|model| of(&model.engine)).sum::<u64>().to_string()
    };
    let mut metrics = BTreeMap::from(
        [
            ("backend", state.provider.backend_name().to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("default_model", state.registry.default_id().to_owned()),
            ("models_loaded", loaded.len().to_string()),
            ("models_unloading", leaving.len().to_string()),
            ("slots_total", sum(&|engine| engine.capacity().slots as u64)),
            ("slots_busy", sum(&|engine| engine.gauges().busy.load(Ordering::Relaxed) as u64)),
            ("queue_waiting", sum(&|engine| engine.gauges().waiting.load(Ordering::Relaxed) as u64)),
            ("tokens_generated", sum(&|engine| engine.gauges().generated.load(Ordering::Relaxed))),
            ("tokens_prefilled", sum(&|engine| engine.gauges().prefilled.load(Ordering::Relaxed))),
            ("memory_reserved_bytes", memory.to_string()),
            ("uptime_seconds", state.started.elapsed().as_secs().to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    metrics.extend(state.counters.all().map(|(key, value)| (key.to_owned(), value.to_string())));
    HealthAnswer { healthy: state.phase() == Phase::Serving, metrics }
}
