//! Which adapters are kept in memory: those used last, up to a number of bytes.
//!
//! Decides only; loads nothing. An adapter that runs is held by its generation too, so that dropping it here frees
//! nothing that is in use.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::OnceCell;

use super::{
    source::Source,
    store::{AdaptedModel, AdapterError},
};
use crate::package::Adapter;

/// An adapter's place: the first request loads it, the others wait. Refusals are kept too, until the file changes.
pub(super) type Cell = Arc<OnceCell<Result<Arc<Adapter>, AdapterError>>>;

/// Adapters by name and model.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<(String, String), Entry>,
    /// Counts uses, to find the least recently used adapter.
    clock: u64,
    most_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// What was there when it was loaded.
    source: Source,
    /// For which it was found to fit.
    model: AdaptedModel,
    cell: Cell,
    used: u64,
}

impl Cache {
    /// Keeps at most `most_bytes` of matrices, but for the one used last.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { entries: HashMap::new(), clock: 0, most_bytes }
    }

    /// The place of an adapter; a fresh one where its files, or the model, are not those that it was loaded for.
    pub(super) fn cell(&mut self, name: &str, source: &Source, model: &AdaptedModel) -> Cell {
        self.clock += 1;
        let fresh = || Entry { source: source.clone(), model: model.clone(), cell: Cell::default(), used: 0 };
        let entry = self.entries.entry((name.to_owned(), model.id.clone())).or_insert_with(fresh);
        if entry.source != *source || entry.model != *model {
            *entry = fresh();
        }
        entry.used = self.clock;
        let cell = Arc::clone(&entry.cell);
        self.trim();
        cell
    }

    /// Drops a place, unless another one has taken it.
    pub(super) fn forget(&mut self, name: &str, model: &AdaptedModel, cell: &Cell) {
        let key = (name.to_owned(), model.id.clone());
        if self.entries.get(&key).is_some_and(|entry| Arc::ptr_eq(&entry.cell, cell)) {
            self.entries.remove(&key);
        }
    }

    /// Drops what was used longest ago until the rest is small enough.
    pub(super) fn trim(&mut self) {
        let mut bytes: usize = self.entries.values().map(Entry::bytes).sum();
        while self.entries.len() > 1 && (bytes > self.most_bytes || self.entries.len() > MOST_ENTRIES) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            let Some(dropped) = oldest.and_then(|key| self.entries.remove(&key)) else { return };
            bytes -= dropped.bytes();
        }
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        match self.cell.get() {
            Some(Ok(adapter)) => adapter.bytes(),
            Some(Err(_)) | None => 0,
        }
    }
}

/// Places that hold refusals weigh nothing, and still must not pile up.
const MOST_ENTRIES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::package::LowRank;

    #[test]
    fn what_was_used_last_stays() {
        let files = Files::new();
        let mut cache = Cache::new(100);
        let (a, b, model) = (files.source("a"), files.source("b"), model("m"));
        let first = fill(&cache.cell("a", &a, &model), 40);
        fill(&cache.cell("b", &b, &model), 40);
        cache.cell("a", &a, &model);
        fill(&cache.cell("c", &files.source("c"), &model), 40);
        cache.trim();
        let kept = cache.cell("a", &a, &model);
        assert!(Arc::ptr_eq(&first, kept.get().unwrap().as_ref().unwrap()));
        assert!(cache.cell("b", &b, &model).get().is_none(), "it was used longest ago");
    }

    #[test]
    fn one_that_is_too_large_alone_stays_until_another_comes() {
        let files = Files::new();
        let mut cache = Cache::new(100);
        let large = files.source("large");
        fill(&cache.cell("large", &large, &model("m")), 400);
        cache.trim();
        assert!(cache.cell("large", &large, &model("m")).get().is_some());
        cache.cell("a", &files.source("a"), &model("m"));
        assert!(cache.cell("large", &large, &model("m")).get().is_none());
    }

    #[test]
    fn a_place_is_for_one_model_and_one_state_of_the_files() {
        let files = Files::new();
        let mut cache = Cache::new(100);
        let source = files.source("a");
        fill(&cache.cell("a", &source, &model("m")), 4);
        assert!(cache.cell("a", &source, &model("m")).get().is_some());
        assert!(cache.cell("a", &source, &model("other")).get().is_none());
        let changed = AdaptedModel { head_size: 2, ..model("m") };
        assert!(cache.cell("a", &source, &changed).get().is_none());
        fill(&cache.cell("a", &source, &changed), 4);
        fs::write(files.0.path().join("a"), "longer").unwrap();
        assert!(cache.cell("a", &files.source("a"), &changed).get().is_none());
    }

    #[test]
    fn refusals_do_not_pile_up() {
        let files = Files::new();
        let mut cache = Cache::new(100);
        let source = files.source("a");
        for number in 0..MOST_ENTRIES + 10 {
            let cell = cache.cell(&number.to_string(), &source, &model("m"));
            cell.set(Err(AdapterError::Unfit)).unwrap();
        }
        assert_eq!(cache.entries.len(), MOST_ENTRIES);
    }

    #[test]
    fn only_the_own_place_is_forgotten() {
        let files = Files::new();
        let mut cache = Cache::new(100);
        let (source, model) = (files.source("a"), model("m"));
        let cell = cache.cell("a", &source, &model);
        cache.forget("a", &model, &Cell::default());
        assert!(Arc::ptr_eq(&cell, &cache.cell("a", &source, &model)));
        cache.forget("a", &model, &cell);
        assert!(!Arc::ptr_eq(&cell, &cache.cell("a", &source, &model)));
    }

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn source(&self, name: &str) -> Source {
            let path = self.0.path().join(name);
            if !path.exists() {
                fs::write(&path, "x").unwrap();
            }
            Source::find(&self.0.path().canonicalize().unwrap(), name).unwrap()
        }
    }

    fn model(id: &str) -> AdaptedModel {
        AdaptedModel { id: id.to_owned(), layers: Arc::new([]), head_size: 1 }
    }

    fn fill(cell: &Cell, bytes: usize) -> Arc<Adapter> {
        let layer = LowRank { rank: 1, a: vec![0.0; bytes / 4], b: Vec::new() };
        let adapter = Arc::new(Adapter { name: String::new(), layers: [("x".to_owned(), layer)].into() });
        cell.set(Ok(Arc::clone(&adapter))).unwrap();
        adapter
    }
}
