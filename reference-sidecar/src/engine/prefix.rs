//! Where a sequence is seated, and what it need not compute because some slot holds it already. Decides only; `seats`
//! acts.
//!
//! Slots keep what they hold when their sequence has left. Two wishes pull in different directions: a sequence should
//! sit where its beginning is, and it should sit low, because a decode step computes every slot up to the highest busy
//! one. Copying a head takes milliseconds where computing it takes a second, so where the backend copies, low slots
//! compute and high slots remember: the head comes to the sequence, and what it displaces is saved in a free slot that
//! holds less.

use std::{cmp::Reverse, sync::Arc};

use crate::package::Adapter;

/// A match shorter than this moves no sequence: most prompts of a model begin with the same few tokens. It is still
/// used where it happens to be in place.
const WORTH_MOVING: usize = 16;

/// What one slot holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) tokens: &'a [i64],
    /// The adapter that it was computed with.
    pub(super) adapter: Option<&'a Arc<Adapter>>,
    /// No sequence has the slot.
    pub(super) free: bool,
}

impl Head<'_> {
    /// How many of `tokens`, computed with `adapter`, it begins with.
    fn common(&self, tokens: &[i64], adapter: Option<&Arc<Adapter>>) -> usize {
        let same = match (self.adapter, adapter) {
            (None, None) => true,
            // Not by name: an adapter that was loaded anew may weigh differently.
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let pairs = self.tokens.iter().zip(tokens);
        if same { pairs.take_while(|(one, other)| one == other).count() } else { 0 }
    }
}

/// Where a sequence goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) slot: usize,
    /// Copy what the slot holds to this one first.
    pub(super) save: Option<usize>,
    pub(super) reuse: Reuse,
}

/// What the sequence takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// So many tokens that its slot holds; 0 for none.
    InPlace(usize),
    /// So many tokens that another slot holds.
    Copy { from: usize, tokens: usize },
}

/// Chooses one of the free slots, if there is one, for a sequence that begins with `tokens`. `copies`: the backend can
/// copy a head from slot to slot.
pub(super) fn choose(
    slots: &[Head<'_>],
    tokens: &[i64],
    adapter: Option<&Arc<Adapter>>,
    copies: bool,
) -> Option<Choice> {
    let common: Vec<_> = slots.iter().map(|head| head.common(tokens, adapter)).collect();
    let free = || (0..slots.len()).filter(|slot| slots[*slot].free);
    // The match decides where it is worth it, then the least loss, then the lowest slot.
    let merit =
        |slot: &usize| (worth_moving(common[*slot]), Reverse(slots[*slot].tokens.len()), Reverse(*slot));
    // Slots that cost a decode step no extra row: those below the highest busy one; if there is none, the lowest.
    let rows = slots.iter().rposition(|head| !head.free).map_or(0, |last| last + 1);
    let slot = free().take_while(|slot| *slot < rows).max_by_key(merit).or_else(|| free().next())?;
    let in_place = Reuse::InPlace(common[slot]);
    let longer = |other: &usize| common[*other] >= common[slot] + WORTH_MOVING;
    if !copies {
        // Rather an extra row in each decode step than the whole head again.
        let other = free().filter(longer).max_by_key(merit);
        let slot = other.unwrap_or(slot);
        return Some(Choice { slot, save: None, reuse: Reuse::InPlace(common[slot]) });
    }
    let source = (0..slots.len()).filter(longer).max_by_key(|slot| (common[*slot], Reverse(*slot)));
    let reuse = source.map_or(in_place, |from| Reuse::Copy { from, tokens: common[from] });
    let save = loses(slots, slot, common[slot])
        .then(|| free().filter(|spare| *spare != slot && Some(*spare) != source))
        .and_then(|spares| spares.min_by_key(|spare| slots[*spare].tokens.len()))
        .filter(|spare| slots[*spare].tokens.len() < slots[slot].tokens.len());
    Some(Choice { slot, save, reuse })
}

const fn worth_moving(tokens: usize) -> usize {
    if tokens < WORTH_MOVING { 0 } else { tokens }
}

/// The slot holds something behind its first `kept` tokens that no other slot holds.
fn loses(slots: &[Head<'_>], slot: usize, kept: usize) -> bool {
    let Head { tokens, adapter, .. } = slots[slot];
    let held = |other: usize| slots[other].common(tokens, adapter) + WORTH_MOVING > tokens.len();
    tokens.len() >= kept + WORTH_MOVING && !(0..slots.len()).any(|other| other != slot && held(other))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    fn busy(tokens: &[i64]) -> Head<'_> {
        Head { tokens, adapter: None, free: false }
    }

    fn free(tokens: &[i64]) -> Head<'_> {
        Head { free: true, ..busy(tokens) }
    }

    /// The tokens `first`, `first + 1`, …
    fn run(first: usize, length: usize) -> &'static [i64] {
        static ALL: LazyLock<Vec<i64>> = LazyLock::new(|| (0..300).collect());
        &ALL[first..first + length]
    }

    #[test]
    fn without_a_match_a_sequence_sits_low() {
        let choice = choose(&[free(&[]), free(&[])], run(0, 40), None, true);
        assert_eq!(choice, Some(Choice { slot: 0, save: None, reuse: Reuse::InPlace(0) }));
        let busy_above = [free(run(100, 20)), free(run(200, 10)), busy(&[]), free(&[])];
        let choice = choose(&busy_above, run(0, 40), None, false).unwrap();
        assert_eq!(choice.slot, 1, "the least loss among those that cost no row");
        assert_eq!(choose(&[busy(&[])], run(0, 40), None, true), None);
    }

    #[test]
    fn a_head_comes_to_the_low_slot_and_what_it_displaces_is_saved() {
        let (other, mine) = (run(100, 50), run(0, 30));
        let slots = [free(other), free(mine), free(&[]), busy(&[]), free(&[])];
        let choice = choose(&slots, run(0, 40), None, true).unwrap();
        // Slot 2 would lose nothing, but slot 1 has the head.
        assert_eq!(choice, Choice { slot: 1, save: None, reuse: Reuse::InPlace(30) });
        let slots = [free(other), free(mine), free(&[])];
        let choice = choose(&slots, run(0, 40), None, true).unwrap();
        assert_eq!(choice, Choice { slot: 0, save: Some(2), reuse: Reuse::Copy { from: 1, tokens: 30 } });
        let choice = choose(&slots, run(0, 40), None, false).unwrap();
        assert_eq!(choice, Choice { slot: 1, save: None, reuse: Reuse::InPlace(30) });
    }

    #[test]
    fn a_running_sequence_lends_its_head() {
        let slots = [busy(run(0, 30)), free(run(0, 4))];
        let choice = choose(&slots, run(0, 40), None, true).unwrap();
        assert_eq!(choice, Choice { slot: 1, save: None, reuse: Reuse::Copy { from: 0, tokens: 30 } });
        let choice = choose(&slots, run(0, 40), None, false).unwrap();
        assert_eq!(choice.reuse, Reuse::InPlace(4));
    }

    #[test]
    fn an_adapter_computes_other_heads() {
        let adapters = [Arc::new(Adapter::default()), Arc::new(Adapter::default())];
        let tokens = run(0, 30);
        let slots = [Head { adapter: Some(&adapters[0]), ..free(tokens) }];
        let reuse = |adapter| choose(&slots, tokens, adapter, true).unwrap().reuse;
        assert_eq!(reuse(Some(&adapters[0])), Reuse::InPlace(30));
        assert_eq!(reuse(Some(&adapters[1])), Reuse::InPlace(0));
        assert_eq!(reuse(None), Reuse::InPlace(0));
    }
}
