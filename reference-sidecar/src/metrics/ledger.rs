//! Counters that outlive what counts them. A model that is unloaded and loaded again starts its own counters at zero;
//! Prometheus must see one that only grows.
//!
//! Each counter's owner is watched through a weak reference, so that a ledger keeps no model in memory. The holder of
//! an owner writes down what it shows; when the owner is gone, what was written down last is kept for ever.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// `N` counters under each name, owned by any number of `T` in turn or at once.
#[derive(Debug)]
pub(super) struct Ledger<T, const N: usize> {
    accounts: Mutex<BTreeMap<String, Account<T, N>>>,
}

#[derive(Debug)]
struct Account<T, const N: usize> {
    /// The counts of owners that are gone.
    gone: [u64; N],
    owners: Vec<(Weak<T>, [u64; N])>,
}

impl<T, const N: usize> Default for Ledger<T, N> {
    fn default() -> Self {
        Self { accounts: Mutex::default() }
    }
}

impl<T, const N: usize> Ledger<T, N> {
    /// Writes down what an owner shows now. The holder calls this before it drops the owner, or its last counts are
    /// lost.
    pub(super) fn write(&self, name: &str, owner: &Arc<T>, shown: [u64; N]) {
        let mut accounts = self.lock();
        if !accounts.contains_key(name) {
            accounts.insert(name.to_owned(), Account { gone: [0; N], owners: Vec::new() });
        }
        let Some(account) = accounts.get_mut(name) else { return };
        match account.owners.iter_mut().find(|(known, _)| known.as_ptr() == Arc::as_ptr(owner)) {
            // Two who read at once may write in the other order.
            Some((_, written)) => {
                for (written, shown) in written.iter_mut().zip(shown) {
                    *written = shown.max(*written);
                }
            }
            None => account.owners.push((Arc::downgrade(owner), shown)),
        }
        account.settle();
    }

    /// Every name with its totals and its living owners.
    pub(super) fn read(&self, show: impl Fn(&T) -> [u64; N]) -> Vec<(String, [u64; N], Vec<Arc<T>>)> {
        let names: Vec<_> = self.lock().keys().cloned().collect();
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let living: Vec<_> = match self.lock().get(&name) {
                Some(account) => account.owners.iter().filter_map(|(owner, _)| owner.upgrade()).collect(),
                None => continue,
            };
            for owner in &living {
                self.write(&name, owner, show(owner));
            }
            let total = self.lock().get_mut(&name).map(|account| {
                account.settle();
                account.total()
            });
            all.extend(total.map(|total| (name, total, living)));
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Account<T, N>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, const N: usize> Account<T, N> {
    /// Nothing can be written for an owner that is gone: a writer must hold it.
    fn settle(&mut self) {
        let gone = &mut self.gone;
        self.owners.retain(|(owner, written)| {
            let lives = owner.strong_count() > 0;
            if !lives {
                add(gone, written);
            }
            lives
        });
    }

    fn total(&self) -> [u64; N] {
        let mut total = self.gone;
        for (_, written) in &self.owners {
            add(&mut total, written);
        }
        total
    }
}

fn add<const N: usize>(sum: &mut [u64; N], more: &[u64; N]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum = sum.saturating_add(*more);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn total(ledger: &Ledger<AtomicU64, 1>) -> u64 {
        let all = ledger.read(|owner| [owner.load(Ordering::Relaxed)]);
        all.iter().map(|(_, total, _)| total[0]).sum()
    }

    #[test]
    fn a_total_never_falls_when_its_owner_is_replaced() {
        let ledger = Ledger::default();
        let first = Arc::new(AtomicU64::new(5));
        ledger.write("tiny", &first, [5]);
        assert_eq!(total(&ledger), 5);
        first.store(7, Ordering::Relaxed);
        assert_eq!(total(&ledger), 7, "a living owner is read when a scraper asks");
        let second = Arc::new(AtomicU64::new(1));
        ledger.write("tiny", &second, [1]);
        assert_eq!(total(&ledger), 8, "an old owner may still run beside the new one");
        drop(first);
        assert_eq!(total(&ledger), 8);
        second.store(4, Ordering::Relaxed);
        assert_eq!(total(&ledger), 11);
    }

    #[test]
    fn the_last_word_of_an_owner_counts_without_a_scrape() {
        let ledger = Ledger::default();
        for count in 1..=3 {
            let owner = Arc::new(AtomicU64::new(0));
            ledger.write("tiny", &owner, [count]);
            // Late, by a reader that was held up.
            ledger.write("tiny", &owner, [0]);
        }
        assert_eq!(total(&ledger), 1 + 2 + 3);
        assert!(ledger.lock()["tiny"].owners.is_empty(), "it grows with names, not with loads");
    }
}
