//! What a target declares that it can do: what it does not declare is not asked, and what it declares and does not give
//! is a failure.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    events::{CheckResult, Verdict},
    runner::Plan,
    target::Capability,
};

/// The capabilities of the target of a run. Without a target file nothing is said of them, and everything is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Declared(Option<BTreeSet<Capability>>);

impl Declared {
    /// What a target file declares.
    pub(super) fn new(capabilities: Option<BTreeSet<Capability>>) -> Self {
        Self(capabilities)
    }

    /// Leaves out of the plan what is not declared, and says so.
    pub(super) fn narrow(&self, plan: &mut Plan) -> Option<String> {
        let declared = self.0.as_ref()?;
        let mut left_out: BTreeMap<Capability, Vec<&str>> = BTreeMap::new();
        plan.requirements.retain(|requirement| match Capability::of(requirement.id) {
            Some(capability) if !declared.contains(&capability) => {
                left_out.entry(capability).or_default().push(requirement.id);
                false
            }
            _ => true,
        });
        let left_out: Vec<_> = left_out
            .into_iter()
            .map(|(capability, ids)| format!("{} ({capability})", ids.join(", ")))
            .collect();
        (!left_out.is_empty()).then(|| {
            format!("not asked, because the target file does not declare it: {}", left_out.join("; "))
        })
    }

    /// The capability that a result shows to be missing though it is declared.
    pub(super) fn broken(&self, result: &CheckResult) -> Option<Capability> {
        let declared = self.0.as_ref()?;
        let capability = Capability::of(&result.id)?;
        let failed = result.verdict == Verdict::Fail && !result.known;
        (failed && declared.contains(&capability)).then_some(capability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        requirements::{ALL, AREAS},
        vocabulary::Level,
    };

    #[test]
    fn every_capability_names_requirements_of_the_contract_and_never_a_must() {
        for capability in Capability::ALL {
            for id in capability.requirements() {
                let unchecked = AREAS.iter().any(|area| area.unchecked.iter().any(|(known, _)| known == id));
                let must = ALL
                    .iter()
                    .find(|requirement| requirement.id == *id)
                    .map(|requirement| requirement.level == Level::Must);
                assert!(unchecked || must.is_some(), "{capability} names {id}, which is not in the contract");
                assert_ne!(must, Some(true), "{id} is a MUST, which can't be undeclared");
            }
        }
    }
}
