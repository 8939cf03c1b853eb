//! What is run: a pure selection from all requirements.

use ai_inference_proto::Dialect;
use serde::{Deserialize, Serialize};

use crate::vocabulary::{Level, Role};
use crate::{requirement::Requirement, requirements::ALL};

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Roles of the endpoint.
    pub roles: Vec<Role>,
    /// How much is asked.
    pub profile: Profile,
    /// Glob patterns of ids; empty is all.
    pub only: Vec<String>,
    /// Glob patterns of ids to leave out.
    pub skip: Vec<String>,
    /// This shard's number, from 1, and how many there are.
    pub shard: Option<(usize, usize)>,
}

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Profile {
    /// Every MUST of the given roles.
    Core,
    /// Everything; a SHOULD or MAY that fails is a warning.
    Full,
    /// As `full`, but `cy.llm` is the documented name: WIRE-001 is not asked.
    Deployed,
}

/// The requirements of a run, in the contract's order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// To be run.
    pub requirements: Vec<&'static Requirement>,
}

/// Nothing was selected: a run that checks nothing must not look like a good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the selection matches no requirement; `conformance list` shows them all")]
pub struct EmptySelection;

impl Plan {
    /// Selects.
    pub fn new(selection: &Selection) -> Result<Self, EmptySelection> {
        let chosen = ALL.iter().copied().filter(|requirement| {
            requirement.roles.iter().any(|role| selection.roles.contains(role))
                && (selection.profile != Profile::Core || requirement.level == Level::Must)
                && (selection.profile != Profile::Deployed || requirement.id != "WIRE-001")
                && (selection.only.is_empty()
                    || selection.only.iter().any(|glob| matches(glob, requirement.id)))
                && !selection.skip.iter().any(|glob| matches(glob, requirement.id))
        });
        let requirements: Vec<_> = match selection.shard {
            Some((number, of)) => {
                chosen.enumerate().filter(|(at, _)| at % of == number - 1).map(|(_, r)| r).collect()
            }
            None => chosen.collect(),
        };
        if requirements.is_empty() { Err(EmptySelection) } else { Ok(Self { requirements }) }
    }
}

impl Profile {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Full => "full",
            Self::Deployed => "deployed",
        }
    }

    /// The dialect whose service name the documentation promises.
    pub const fn documented(self) -> Dialect {
        match self {
            Self::Core | Self::Full => Dialect::Contract,
            Self::Deployed => Dialect::CyLlm,
        }
    }
}

/// Shell-like globs over ids: `*` is any text, `?` one character, case does not matter.
fn matches(glob: &str, id: &str) -> bool {
    fn go(glob: &[u8], text: &[u8]) -> bool {
        match (glob.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => go(&glob[1..], text) || (!text.is_empty() && go(glob, &text[1..])),
            (Some(b'?'), Some(_)) => go(&glob[1..], &text[1..]),
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b) && go(&glob[1..], &text[1..]),
            _ => false,
        }
    }
    go(glob.as_bytes(), id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Selection {
        Selection {
            roles: vec![Role::Server],
            profile: Profile::Full,
            only: vec![],
            skip: vec![],
            shard: None,
        }
    }

    #[test]
    fn globs_select_by_id() {
        for (glob, id, holds) in [
            ("STREAM-*", "STREAM-001", true),
            ("stream-00?", "STREAM-001", true),
            ("*-001", "WIRE-001", true),
            ("STREAM", "STREAM-001", false),
            ("", "STREAM-001", false),
        ] {
            assert_eq!(matches(glob, id), holds, "{glob} {id}");
        }
    }

    #[test]
    fn an_empty_selection_is_an_error() {
        assert!(Plan::new(&Selection { only: vec!["NOPE-*".into()], ..all() }).is_err());
        assert!(Plan::new(&Selection { skip: vec!["*".into()], ..all() }).is_err());
    }

    #[test]
    fn shards_cover_everything_once() {
        let whole: Vec<_> = Plan::new(&all()).unwrap().requirements.iter().map(|r| r.id).collect();
        let mut parts = Vec::new();
        for number in 1..=3 {
            let shard = Plan::new(&Selection { shard: Some((number, 3)), ..all() }).unwrap();
            parts.extend(shard.requirements.iter().map(|r| r.id));
        }
        parts.sort_by_key(|id| whole.iter().position(|w| w == id));
        assert_eq!(parts, whole);
    }

    #[test]
    fn the_deployed_profile_does_not_ask_for_the_documented_name() {
        let plan = Plan::new(&Selection { profile: Profile::Deployed, ..all() }).unwrap();
        assert!(plan.requirements.iter().all(|r| r.id != "WIRE-001"));
    }
}
