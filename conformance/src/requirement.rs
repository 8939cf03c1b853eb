//! What a requirement is: its data, its page, its check and its mutant.
//!
//! A requirement lives in one file under `requirements/`. Everything else (listing, `explain`, the generated docs, the
//! self-test) follows from the value that the [`requirement!`](crate::requirement!) macro makes there.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use ai_inference_proto::Dialect;
use exemplar::Behaviour;

/// What a check returns, for the files of the checks.
pub use crate::verdict::{Judgement, NotPassed};
use crate::{
    probe::Probe,
    vocabulary::{Begins, Isolation, Level, Need, Profile, Role},
};

/// One requirement of the contract.
pub struct Requirement {
    /// Stable, never reused: `STREAM-001`.
    pub id: &'static str,
    /// Level of the requirement.
    pub level: Level,
    /// The role that must keep it.
    pub role: Role,
    /// The dialects it can be seen in.
    pub dialects: &'static [Dialect],
    /// What the check needs besides an address.
    pub needs: &'static [Need],
    /// What may go on beside the check.
    pub isolation: Isolation,
    /// When it begins, of those that may begin.
    pub begins: Begins,
    /// Takes more than ten seconds by its nature: it is asked for by `--slow`.
    pub slow: bool,
    /// Loads, floods, unloads or restarts the target: not for one that others use.
    pub unsafe_: bool,
    /// The profiles that ask it.
    pub asked_by: &'static [Profile],
    /// A few words, for lists.
    pub title: &'static str,
    /// The first version of the suite that had it.
    pub since: &'static str,
    /// The published page, as Markdown, with the headings of [`Requirement::HEADINGS`].
    pub page: &'static str,
    /// The source file, for people who want to read the check.
    pub file: &'static str,
    /// Judges an endpoint.
    pub check: for<'a> fn(&'a Probe) -> Checking<'a>,
    /// The smallest fault that breaks this requirement.
    pub mutant: Mutant,
}

/// A check under way.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Judgement> + Send + 'a>>;

/// A named fault around the exemplar.
pub struct Mutant {
    /// What is broken, in a few words.
    pub fault: &'static str,
    /// Makes the broken behaviour.
    pub behaviour: fn() -> Arc<dyn Behaviour>,
    /// Words that the verdict's reason must contain: the check must see *this* fault, not some other misfortune.
    pub reason: &'static str,
}

impl Requirement {
    /// The fixed headings of every page, in order.
    pub const HEADINGS: [&'static str; 5] =
        ["Requirement", "Why it matters", "How it is checked", "What a violation looks like", "References"];

    /// The area: `STREAM` of `STREAM-001`.
    pub fn area(&self) -> &'static str {
        self.id.split_once('-').map_or(self.id, |(area, _)| area)
    }

    /// Whether its check stops the target that the run began with.
    pub fn stops_the_target(&self) -> bool {
        self.needs.contains(&Need::Managed)
    }

    /// Whether a run with this profile asks it.
    pub fn is_asked_in(&self, profile: Profile) -> bool {
        (profile != Profile::Core || self.level == Level::Must) && self.asked_by.contains(&profile)
    }

    /// The contract's sentence: the body under the page's first heading.
    pub fn sentence(&self) -> String {
        let body = self.page.split("# ").nth(1).unwrap_or(self.page);
        let lines = body.lines().skip(1).map(str::trim).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// Declares the requirement of a file. The doc comment is the published page.
///
/// The check and the mutant stay outside the macro's body, so that rustfmt sees them. What can be left out has a value that
/// most requirements have: `role: Server`, no `needs`, `isolation: Shared`, `begins: InTurn`, neither `slow` nor `unsafe_`, and
/// `asked_by` all profiles.
#[macro_export]
macro_rules! requirement {
    (@or [] $default:expr) => { $default };
    (@or [$given:expr] $default:expr) => { $given };
    (
        $(#[doc = $page:literal])+
        id: $id:literal,
        level: $level:ident,
        $(role: $role:ident,)?
        dialects: [$($dialect:ident),+],
        $(needs: [$($need:ident),+],)?
        $(isolation: $isolation:ident,)?
        $(begins: $begins:ident,)?
        $(slow: $slow:literal,)?
        $(unsafe_: $unsafe_:literal,)?
        $(asked_by: [$($profile:ident),+],)?
        since: $since:literal,
        title: $title:literal,
        check: $check:ident,
        mutant: $mutant:ident, fault: $fault:literal, seen_as: $reason:literal $(,)?
    ) => {
        $(#[doc = $page])+
        pub(crate) static REQUIREMENT: $crate::requirement::Requirement = $crate::requirement::Requirement {
            id: $id,
            level: $crate::vocabulary::Level::$level,
            role: $crate::requirement!(@or [$($crate::vocabulary::Role::$role)?] $crate::vocabulary::Role::Server),
            dialects: &[$(::ai_inference_proto::Dialect::$dialect),+],
            needs: $crate::requirement!(@or [$(&[$($crate::vocabulary::Need::$need),+])?] &[]),
            isolation: $crate::requirement!(
                @or [$($crate::vocabulary::Isolation::$isolation)?] $crate::vocabulary::Isolation::Shared
            ),
            begins: $crate::requirement!(
                @or [$($crate::vocabulary::Begins::$begins)?] $crate::vocabulary::Begins::InTurn
            ),
            slow: $crate::requirement!(@or [$($slow)?] false),
            unsafe_: $crate::requirement!(@or [$($unsafe_)?] false),
            asked_by: $crate::requirement!(
                @or [$(&[$($crate::vocabulary::Profile::$profile),+])?]
                &[
                    $crate::vocabulary::Profile::Core,
                    $crate::vocabulary::Profile::Full,
                    $crate::vocabulary::Profile::Deployed,
                ]
            ),
            title: $title,
            since: $since,
            page: concat!($($page, "\n"),+),
            file: file!(),
            check: |probe| Box::pin($check(probe)),
            mutant: $crate::requirement::Mutant {
                fault: $fault,
                behaviour: || ::std::sync::Arc::new($mutant::default()),
                reason: $reason,
            },
        };
    };
}
