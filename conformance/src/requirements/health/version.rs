//! HEALTH-003.

use ai_inference_proto::HealthAnswer;
use tonic::Status;

use crate::{
    exemplar::{Behaviour, State},
    probe::Probe,
    requirement::Judgement,
};

crate::requirement! {
    /// # Requirement
    /// `metrics["version"]` is present and is a semantic version.
    ///
    /// # Why it matters
    /// Known failures, roll-outs and bug reports are tied to a version. "latest" says nothing, and cannot be
    /// compared.
    ///
    /// # How it is checked
    /// Health is called once; `metrics["version"]` must parse as a semantic version (2.0.0): three numbers, with an
    /// optional pre-release and build part.
    ///
    /// # What a violation looks like
    /// "latest", "1.0", "v1.2.3", or no such key.
    ///
    /// # References
    /// Contract, HEALTH-003; Semantic Versioning 2.0.0.
    id: "HEALTH-003",
    level: Must,
    dialects: [Contract, CyLlm],
    since: "0.1.0",
    title: "metrics carry a semantic version",
    check: check,
    mutant: Latest, fault: "the version is \"latest\"", seen_as: "latest",
}

async fn check(probe: &Probe) -> Judgement {
    let health = probe.health(&probe.trace_id()).await?;
    let metrics = &health.informative()?.metrics;
    let version = metrics.get("version");
    probe.assert(version.is_some_and(|v| semver::Version::parse(v).is_ok()), || match version {
        None => format!("metrics have no key `version`: {metrics:?}"),
        Some(text) => format!("metrics[\"version\"] is {text:?}, which is no semantic version like 1.2.3"),
    })
}

#[derive(Default)]
struct Latest;

#[tonic::async_trait]
impl Behaviour for Latest {
    async fn health(&self, state: &State, _trace_id: &str) -> Result<HealthAnswer, Status> {
        let mut answer = state.health();
        answer.metrics.insert("version".into(), "latest".into());
        Ok(answer)
    }
}
