//! Under which conditions something was measured: what must be equal before two results are compared. Pure.
//!
//! Everything in a [`Setup`] is a condition unless it is named here as none, so that a setting that is added later is
//! compared without a change here.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::Setup;

/// Settings by name, as reports write them; those that were not used are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Conditions(BTreeMap<String, String>);

impl Conditions {
    /// Of everything that was measured alike: load, prompts, tokens, seed, dialect, model and so on.
    pub fn of(setup: &Setup) -> Self {
        Self::without(setup, &NO_CONDITIONS)
    }

    /// Of the load alone, without the target and the seed: what a host's noise depends on.
    pub fn of_load(setup: &Setup) -> Self {
        let mut conditions = Self::of(setup);
        conditions.0.retain(|name, _| !OF_THE_TARGET.contains(&name.as_str()));
        conditions
    }

    fn without(setup: &Setup, names: &[&str]) -> Self {
        let Ok(Value::Object(settings)) = serde_json::to_value(setup) else { return Self::default() };
        let settings = settings.into_iter().filter(|(name, _)| !names.contains(&name.as_str()));
        let words = |(name, value)| match value {
            Value::Null => None,
            Value::String(text) => (!text.is_empty()).then_some((name, text)),
            other => Some((name, other.to_string())),
        };
        Self(settings.filter_map(words).collect())
    }

    /// What is another than in `other`, in words: `load is closed:2 here and closed:4 there`.
    pub fn differences(&self, here: &str, other: &Self, there: &str) -> Vec<String> {
        let mut names: Vec<_> = self.0.keys().chain(other.0.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let shown = |value: Option<&String>| value.map_or("not set".to_owned(), Clone::clone);
        let words = |name: &String| {
            let (this, that) = (self.0.get(name), other.0.get(name));
            (this != that).then(|| format!("{name} is {} {here} and {} {there}", shown(this), shown(that)))
        };
        names.into_iter().filter_map(words).collect()
    }
}

/// `load closed:2, prompts short, tokens 8`.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> =
            self.0.iter().map(|(name, value)| format!("{} {value}", name.replace('_', " "))).collect();
        f.write_str(&words.join(", "))
    }
}

/// Who, when and where, which comparisons tell apart by other means.
const NO_CONDITIONS: [&str; 3] = ["target", "started", "host"];
const OF_THE_TARGET: [&str; 3] = ["dialect", "model", "seed"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_differs_is_named_with_both_values() {
        let one = Setup { load: "closed:2".into(), target: "a".into(), tokens: 8, ..Setup::default() };
        let other =
            Setup { load: "closed:4".into(), target: "b".into(), most_running: Some(3), ..one.clone() };
        let (one, other) = (Conditions::of(&one), Conditions::of(&other));
        assert_eq!(
            one.differences("there", &other, "here"),
            ["load is closed:2 there and closed:4 here", "most_running is not set there and 3 here"]
        );
        assert!(one.differences("there", &one, "here").is_empty());
    }

    #[test]
    fn the_load_is_the_same_for_every_target() {
        let one = Setup { load: "closed:2".into(), model: "a".into(), seed: 1, ..Setup::default() };
        let other = Setup { model: "b".into(), seed: 2, dialect: "cy.llm".into(), ..one.clone() };
        assert_eq!(Conditions::of_load(&one), Conditions::of_load(&other));
        assert_ne!(Conditions::of(&one), Conditions::of(&other));
        assert_eq!(
            Conditions::of_load(&one).to_string(),
            "cancel share 0.0, connections 0, load closed:2, per stream 0, tokens 0"
        );
    }
}
