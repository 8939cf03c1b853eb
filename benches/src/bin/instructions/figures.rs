//! The counts that were written down, and how new ones compare. Pure but for the file.

use std::{collections::BTreeMap, env::consts::ARCH, fs, io::ErrorKind, path::Path};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// By what, and for what: another compiler makes other instructions of the same code.
    pub(crate) built: String,
    /// A share by which a count may grow: C libraries copy memory differently, and hash tables are seeded at random.
    tolerance: f64,
    /// Instructions by case.
    instructions: BTreeMap<String, u64>,
}

impl Figures {
    /// Reads the figures of a file; none where there is no file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("cannot read {}", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(crate) fn update(&mut self, built: String, found: &[Found]) {
        if self.built != built {
            self.instructions.clear();
        }
        self.built = built;
        self.tolerance = TOLERANCE;
        self.instructions.extend(found.iter().map(|one| (one.name.to_owned(), one.count)));
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = format!("{HEAD}{}", toml::to_string(self)?);
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// What counts depend on besides the code.
pub(crate) fn built_with(compiler: &str) -> String {
    format!("{compiler}, {ARCH}")
}

/// A case that was counted.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    name: &'static str,
    count: u64,
    /// What was written down.
    pub(crate) before: Option<u64>,
    tolerance: f64,
}

impl Found {
    pub(crate) fn new(name: &'static str, count: u64, written: &Figures) -> Self {
        let before = written.instructions.get(name).copied();
        Self { name, count, before, tolerance: written.tolerance }
    }

    fn change(&self) -> Option<f64> {
        self.before.map(|before| self.count as f64 / before as f64 - 1.0)
    }

    /// Than it may be.
    pub(crate) fn is_more(&self) -> bool {
        self.before.is_some_and(|before| self.count as f64 > before as f64 * (1.0 + self.tolerance))
    }

    pub(crate) fn line(&self, comparable: bool) -> String {
        let change = self.change().map_or("new".to_owned(), |change| format!("{:+.2} %", change * 100.0));
        let verdict = match self.change() {
            _ if !comparable => "",
            Some(_) if self.is_more() => "  MORE",
            Some(change) if change < -self.tolerance => "  less: write it down with --update",
            _ => "",
        };
        format!("{:<52}{:>14}{change:>10}{verdict}", self.name, self.count)
    }
}

/// The compiler cuts a crate into units that it optimises one by one: code that was not edited has been seen to change
/// by 4 % when its neighbours grew.
const TOLERANCE: f64 = 0.1;
const HEAD: &str = "\
# Instructions of the hot paths (benches/src/cases), counted by callgrind.
# Written by `ci/instructions --update`; compared by `ci/instructions`.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Figures {
        let instructions = [("sampler/greedy".to_owned(), 1000)].into();
        Figures { built: "rustc 1, x86_64".to_owned(), tolerance: 0.02, instructions }
    }

    #[test]
    fn a_count_may_grow_by_the_tolerance_and_no_more() {
        let is_more = |count| Found::new("sampler/greedy", count, &written()).is_more();
        assert!(!is_more(900) && !is_more(1020) && is_more(1021));
    }

    #[test]
    fn a_case_that_is_not_written_down_is_new() {
        let one = Found::new("sampler/top_p 0.9", 7, &written());
        assert_eq!(one.before, None);
        assert!(one.line(true).contains("new"));
    }

    #[test]
    fn what_is_written_is_read_again_and_another_compiler_starts_anew() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut figures = written();
        figures.update("rustc 2, x86_64".to_owned(), &[Found::new("sampler/top_p 0.9", 7, &written())]);
        figures.write(file.path()).unwrap();
        let again = Figures::read(file.path()).unwrap();
        assert_eq!(again, figures);
        assert_eq!(again.instructions.keys().collect::<Vec<_>>(), ["sampler/top_p 0.9"]);
    }
}
