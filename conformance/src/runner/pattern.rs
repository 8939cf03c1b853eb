//! Patterns over requirement ids, and what a mistyped one may have meant. Pure.

use std::fmt;

use wildmatch::WildMatch;

/// A pattern over ids: `*` is any text, `?` is one character, and case does not matter.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    given: String,
    glob: WildMatch,
}

impl Pattern {
    pub(crate) fn new(given: &str) -> Self {
        Self { given: given.to_owned(), glob: WildMatch::new_case_insensitive(given) }
    }

    pub(crate) fn matches(&self, id: &str) -> bool {
        self.glob.matches(id)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

/// The ids, or the areas as patterns, that are spelled most like `given`, best first; none where nothing is alike.
pub(crate) fn nearest<'a>(given: &str, ids: impl Iterator<Item = &'a str>) -> Vec<String> {
    let given = given.trim().to_ascii_uppercase();
    let mut candidates: Vec<String> = ids.map(str::to_owned).collect();
    let areas: Vec<_> = candidates.iter().filter_map(|id| id.split_once('-')).map(|(area, _)| area).collect();
    let areas: Vec<String> = areas.into_iter().map(|area| format!("{area}-*")).collect();
    // A bare area, such as STREAM, means all of it.
    let wanted = if given.contains(['-', '*', '?']) { given } else { format!("{given}-*") };
    if wanted.contains(['*', '?']) {
        candidates = areas;
    }
    let mut alike: Vec<_> =
        candidates.into_iter().map(|id| (strsim::damerau_levenshtein(&wanted, &id), id)).collect();
    alike.retain(|(distance, id)| *distance * 3 <= id.chars().count());
    alike.sort();
    alike.dedup();
    alike.into_iter().take(SUGGESTED).map(|(_, id)| id).collect()
}

/// More suggestions are a list, which `conformance list` does better.
const SUGGESTED: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_select_by_id() {
        for (pattern, id, holds) in [
            ("STREAM-*", "STREAM-001", true),
            ("stream-00?", "STREAM-001", true),
            ("*-001", "WIRE-001", true),
            ("STREAM", "STREAM-001", false),
            ("", "STREAM-001", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(id), holds, "{pattern} {id}");
        }
    }

    #[test]
    fn what_was_meant_is_spelled_alike() {
        let ids = || ["STREAM-001", "STREAM-002", "WIRE-001"].into_iter();
        assert_eq!(nearest("STREAM", ids()), ["STREAM-*"]);
        assert_eq!(nearest("STREM-*", ids()), ["STREAM-*"]);
        assert_eq!(nearest("wrie-001", ids()), ["WIRE-001"]);
        assert_eq!(nearest("NOPE", ids()), Vec::<String>::new());
    }
}
