//! What is run: a pure selection from all requirements.

use crate::{
    requirement::Requirement,
    requirements::{ALL, AREAS},
    vocabulary::{Begins, Profile, Role},
};

use super::pattern::{Pattern, nearest};

/// What the user asked for.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Roles of the endpoint.
    pub roles: Vec<Role>,
    /// How much is asked.
    pub profile: Profile,
    /// Patterns of ids; empty is all.
    pub only: Vec<String>,
    /// Patterns of ids to leave out.
    pub skip: Vec<String>,
    /// This shard's number, from 1, and how many there are.
    pub shard: Option<(usize, usize)>,
}

/// The requirements of a run, in the contract's order, but for those that must come last.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The requirements to run.
    pub requirements: Vec<&'static Requirement>,
}

/// Why a selection is refused: a run that checks less than was asked for must not look like a good one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSelection {
    /// Nothing is left.
    #[error("the selection matches no requirement; `conformance list` shows them all")]
    Empty,
    /// A role was asked for that nothing here can judge.
    #[error(
        "there are no checks for the role {0} yet; `conformance list` shows what is checked and what is not"
    )]
    NoChecks(Role),
    /// A pattern matches no requirement of the contract.
    #[error("{option} '{pattern}' matches no requirement{}", did_you_mean(.nearest))]
    Unknown {
        /// `--only` or `--skip`.
        option: &'static str,
        /// The pattern as the user gave it.
        pattern: String,
        /// Ids and areas that are spelled alike.
        nearest: Vec<String>,
    },
    /// A pattern matches only requirements that have no check.
    #[error("--only '{pattern}' matches no requirement that has a check: {id} is not checked, because {why}")]
    Unchecked {
        /// The pattern as the user gave it.
        pattern: String,
        /// The first that it matches.
        id: &'static str,
        /// Why that one is not checked.
        why: &'static str,
    },
    /// A pattern matches only requirements that this role and profile do not ask.
    #[error("--only '{pattern}' matches {id}, which the role and the profile of this run do not ask")]
    NotAsked {
        /// The pattern as the user gave it.
        pattern: String,
        /// The first that it matches.
        id: &'static str,
    },
}

impl Plan {
    /// Selects the requirements to run.
    pub fn new(selection: &Selection) -> Result<Self, BadSelection> {
        let has_checks = |role: &&Role| ALL.iter().any(|requirement| requirement.role == **role);
        if let Some(role) = selection.roles.iter().find(|role| !has_checks(role)) {
            return Err(BadSelection::NoChecks(*role));
        }
        let only = patterns("--only", &selection.only)?;
        let skip = patterns("--skip", &selection.skip)?;
        let asked: Vec<_> = ALL.iter().copied().filter(|r| is_asked(r, selection)).collect();
        for pattern in &only {
            if !asked.iter().any(|requirement| pattern.matches(requirement.id)) {
                return Err(not_asked(pattern));
            }
        }
        let chosen = asked.into_iter().filter(|requirement| {
            (only.is_empty() || only.iter().any(|pattern| pattern.matches(requirement.id)))
                && !skip.iter().any(|pattern| pattern.matches(requirement.id))
        });
        let mut requirements: Vec<_> = match selection.shard {
            Some((number, of)) => {
                chosen.enumerate().filter(|(at, _)| at % of == number - 1).map(|(_, r)| r).collect()
            }
            None => chosen.collect(),
        };
        // What all others have heard is judged after them; then come those that stop the target.
        requirements
            .sort_by_key(|requirement| (requirement.stops_the_target(), requirement.begins == Begins::Last));
        if requirements.is_empty() { Err(BadSelection::Empty) } else { Ok(Self { requirements }) }
    }
}

fn is_asked(requirement: &Requirement, selection: &Selection) -> bool {
    selection.roles.contains(&requirement.role) && requirement.is_asked_in(selection.profile)
}

/// Every pattern must match a row of the contract: a typing error would change what is run in silence.
pub(crate) fn patterns(option: &'static str, given: &[String]) -> Result<Vec<Pattern>, BadSelection> {
    let read = |text: &String| {
        let pattern = Pattern::new(text);
        if contract().any(|id| pattern.matches(id)) {
            return Ok(pattern);
        }
        let nearest = nearest(text, contract());
        Err(BadSelection::Unknown { option, pattern: text.clone(), nearest })
    };
    given.iter().map(read).collect()
}

/// Why a pattern that matches a row of the contract selects nothing here.
fn not_asked(pattern: &Pattern) -> BadSelection {
    let checked = ALL.iter().find(|requirement| pattern.matches(requirement.id));
    let unchecked = AREAS.iter().flat_map(|area| area.unchecked).find(|(id, _)| pattern.matches(id));
    let pattern = pattern.to_string();
    match (checked, unchecked) {
        (Some(requirement), _) => BadSelection::NotAsked { pattern, id: requirement.id },
        (None, Some((id, why))) => BadSelection::Unchecked { pattern, id, why },
        (None, None) => BadSelection::Empty,
    }
}

/// The ids of all rows of the contract, with a check or without.
pub(crate) fn contract() -> impl Iterator<Item = &'static str> {
    let checked = ALL.iter().map(|requirement| requirement.id);
    checked.chain(AREAS.iter().flat_map(|area| area.unchecked).map(|(id, _)| *id))
}

fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => "; `conformance list` shows them all".to_owned(),
        nearest => format!("; did you mean {}? (`conformance list` shows them all)", nearest.join(" or ")),
    }
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

    fn refused(selection: &Selection) -> String {
        Plan::new(selection).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_selection_is_an_error() {
        assert_eq!(
            Plan::new(&Selection { skip: vec!["*".into()], ..all() }).unwrap_err(),
            BadSelection::Empty
        );
    }

    #[test]
    fn every_pattern_must_match_and_a_typing_error_gets_a_suggestion() {
        let only = |patterns: &[&str]| Selection {
            only: patterns.iter().map(ToString::to_string).collect(),
            ..all()
        };
        let typo = refused(&only(&["STREAM-*", "STREM-*"]));
        assert!(
            typo.starts_with("--only 'STREM-*' matches no requirement; did you mean STREAM-*?"),
            "{typo}"
        );
        let id = refused(&only(&["HELTH-001"]));
        assert!(id.contains("did you mean HEALTH-001"), "{id}");
        let far = refused(&only(&["QQQQQQQQQ"]));
        assert!(!far.contains("did you mean"), "{far}");
        let skip = refused(&Selection { skip: vec!["WIER-*".into()], ..all() });
        assert!(skip.starts_with("--skip 'WIER-*' matches no requirement; did you mean WIRE-*?"), "{skip}");
        assert!(Plan::new(&only(&["stream-*", "WIRE-00?"])).is_ok());
    }

    #[test]
    fn a_pattern_that_this_run_cannot_ask_says_why() {
        let deployed = Selection {
            profile: Profile::Deployed,
            only: vec!["WIRE-001".into(), "WIRE-002".into()],
            ..all()
        };
        assert!(
            refused(&deployed).contains("WIRE-001, which the role and the profile"),
            "{}",
            refused(&deployed)
        );
        let (id, why) = AREAS.iter().flat_map(|area| area.unchecked).next().expect("a row without a check");
        let unchecked = refused(&Selection { only: vec![(*id).into()], ..all() });
        assert!(unchecked.contains(id) && unchecked.contains(why), "{unchecked}");
        let skipped = Selection { profile: Profile::Deployed, skip: vec!["WIRE-001".into()], ..all() };
        assert!(Plan::new(&skipped).is_ok(), "what is not asked may be skipped");
    }

    #[test]
    fn a_role_without_checks_is_refused_by_name() {
        let both = Selection { roles: vec![Role::Server, Role::Gateway], ..all() };
        assert_eq!(Plan::new(&both).unwrap_err(), BadSelection::NoChecks(Role::Gateway));
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
