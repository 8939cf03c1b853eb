//! One budget over everything that clients can make the server keep: open calls, and what they have sent of a message. A
//! connection may take half of it, so that none starves the others.

use std::sync::{Arc, LazyLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory;

/// What all requests of one connection share; each finds it in its extensions.
#[derive(Clone, Debug)]
pub struct Peer {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// Memory that a call holds, given back when dropped.
#[derive(Debug)]
pub struct Held {
    own: OwnedSemaphorePermit,
    all: OwnedSemaphorePermit,
}

impl Peer {
    /// A new connection's, of a budget of `all` bytes.
    pub fn of(all: &Arc<Semaphore>, bytes: usize) -> Self {
        Self { own: Arc::new(Semaphore::new(bytes / 2)), all: Arc::clone(all) }
    }

    /// Takes so many bytes; `None` when this connection, or all together, hold too much already.
    pub fn hold(&self, bytes: usize) -> Option<Held> {
        let bytes = u32::try_from(bytes).ok()?;
        let own = Arc::clone(&self.own).try_acquire_many_owned(bytes).ok()?;
        let all = Arc::clone(&self.all).try_acquire_many_owned(bytes).ok()?;
        Some(Held { own, all })
    }
}

impl Default for Peer {
    /// Of the server's budget.
    fn default() -> Self {
        Self::of(&SERVER.0, SERVER.1)
    }
}

impl Held {
    /// How many bytes.
    pub fn bytes(&self) -> usize {
        self.own.num_permits()
    }

    /// Holds what the other held too.
    pub fn merge(&mut self, other: Self) {
        self.own.merge(other.own);
        self.all.merge(other.all);
    }
}

/// The server's budget and its size: a quarter of the memory that is free when the first client comes.
static SERVER: LazyLock<(Arc<Semaphore>, usize)> = LazyLock::new(|| {
    let quarter = memory::free().map_or(MOST, |free| usize::try_from(free / 4).unwrap_or(MOST));
    let bytes = quarter.clamp(LEAST, MOST);
    (Arc::new(Semaphore::new(bytes)), bytes)
});

/// Some thousand calls with ordinary prompts.
const LEAST: usize = 128 << 20;
/// More than any honest load keeps under way: a hundred thousand prompts of some thousand characters.
const MOST: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_half_and_all_together_no_more_than_there_is() {
        let all = Arc::new(Semaphore::new(100));
        let [one, two, three] = [(); 3].map(|()| Peer::of(&all, 100));
        let mut first = one.hold(30).unwrap();
        assert!(one.hold(21).is_none(), "half is its own");
        first.merge(one.hold(20).unwrap());
        assert_eq!(first.bytes(), 50);
        let _second = two.hold(50).unwrap();
        assert!(three.hold(1).is_none(), "all is taken");
        drop(first);
        assert!(three.hold(50).is_some());
    }
}
