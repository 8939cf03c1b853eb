//! What is run: a pure selection from all requirements.

use crate::{
    requirement::Requirement,
    requirements::ALL,
    vocabulary::{Level, Profile, Role},
};

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

/// The requirements of a run, in the contract's order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// To be run.
    pub requirements: Vec<&'static Requirement>,
}

/// Why there is nothing to run: a run that checks nothing must not look like a good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSelection {
    /// Nothing is left.
    #[error("the selection matches no requirement; `conformance list` shows them all")]
    Empty,
    /// A role was asked for that nothing here can judge.
    #[error(
        "there are no checks for the role {0} yet; `conformance list` shows what is checked and what is not"
    )]
    NoChecks(Role),
}

impl Plan {
    /// Selects.
    pub fn new(selection: &Selection) -> Result<Self, BadSelection> {
        let has_checks = |role: &&Role| ALL.iter().any(|requirement| requirement.role == **role);
        if let Some(role) = selection.roles.iter().find(|role| !has_checks(role)) {
            return Err(BadSelection::NoChecks(*role));
        }
        let chosen = ALL.iter().copied().filter(|requirement| {
            selection.roles.contains(&requirement.role)
                && (selection.profile != Profile::Core || requirement.level == Level::Must)
                && requirement.asked_by.contains(&selection.profile)
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
        if requirements.is_empty() { Err(BadSelection::Empty) } else { Ok(Self { requirements }) }
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
