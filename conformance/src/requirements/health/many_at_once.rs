//! HEALTH-008.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use ai_inference_proto::HealthAnswer;
use futures_util::future::join_all;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// 64 concurrent Health calls all succeed.
    ///
    /// # Why it matters
    /// Every gateway, load balancer and orchestrator polls Health, and they poll at the same moment. A server that refuses
    /// one of these calls is taken out of service by the caller that was refused.
    ///
    /// # How it is checked
    /// One Health call shows whether the server is healthy. Then 64 calls are opened at once over eight connections, and 64
    /// more on one connection, and both again. Each call must end OK and say the same of `healthy` as the first one.
    ///
    /// # What a violation looks like
    /// Some of the calls are RESOURCE_EXHAUSTED, or say that the server is not healthy.
    ///
    /// # References
    /// Contract, HEALTH-008.
    id: "HEALTH-008",
    level: Should,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "64 Health calls at once all succeed",
    check: check,
    mutant: RefusesTenth, fault: "every tenth of many Health calls is RESOURCE_EXHAUSTED", seen_as: "Health calls at once",
}

const AT_ONCE: usize = 64;
/// Connections that carry the calls.
const SPREADS: [usize; 2] = [8, 1];
const ROUNDS: usize = 2;

async fn check(probe: &Probe) -> Judgement {
    let alone = probe.health(&probe.trace_id()).await?;
    let healthy = alone.informative()?.healthy;
    for _ in 0..ROUNDS {
        for spread in SPREADS {
            all_at_once(probe, spread, healthy).await?;
        }
    }
    Ok(())
}

async fn all_at_once(probe: &Probe, spread: usize, healthy: bool) -> Judgement {
    let connections = probe.connections(spread).await?;
    let options = probe.options();
    let calls = (0..AT_ONCE).map(|at| {
        let (trace_id, connection) = (probe.trace_id(), &connections[at % connections.len()]);
        let options = &options;
        Box::pin(async move { probe.health_on(connection, &trace_id, options).await })
    });
    let answers = join_all(calls).await;
    let connections = match connections.len() {
        1 => "one connection".to_owned(),
        more => format!("{more} connections"),
    };
    let failed: Vec<_> =
        answers.iter().filter(|health| health.informative().is_err()).map(|health| &health.end).collect();
    probe.assert(failed.is_empty(), || {
        let told = failed[0].told();
        let told =
            if failed[0].is_ok() { "ended OK without an answer that says anything".to_owned() } else { told };
        format!(
            "of {AT_ONCE} Health calls at once on {connections}, {} did not succeed; one of them {told}",
            failed.len()
        )
    })?;
    let other = answers.iter().filter(|health| health.answer.as_ref().is_some_and(|a| a.healthy != healthy));
    let other = other.count();
    probe.assert(other == 0, || {
        format!(
            "of {AT_ONCE} Health calls at once on {connections}, {other} say healthy = {}, and one alone says {healthy}",
            !healthy
        )
    })
}

/// Refuses only while more than eight calls are open.
#[derive(Default)]
struct RefusesTenth {
    open: AtomicUsize,
    number: AtomicUsize,
}

#[tonic::async_trait]
impl Behaviour for RefusesTenth {
    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        let others = self.open.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.open.fetch_sub(1, Ordering::Relaxed);
        if others >= 8 && self.number.fetch_add(1, Ordering::Relaxed) % 10 == 9 {
            return Err(Status::resource_exhausted("too many calls of Health"));
        }
        Ok(state.health())
    }
}
