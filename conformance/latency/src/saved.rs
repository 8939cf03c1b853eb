//! Comparing with what was measured earlier: what may be said of it, and what not. Pure.
//!
//! A saved side was not measured in turns with the other. On one host that is worth a judgement with a warning; on two
//! it is worth a look at the ratios. Blocks are paired by their number, which is by their seed: prompts and arrivals.

use super::{
    compare::{Comparison, Conclusion, Goal, Pair, can_be_seen, judge, pooled},
    host::Fingerprint,
};
use statistics::{LookSchedule, Verdict};

/// How far two sides can be compared. The default is for two that are measured in turns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Why nothing is judged, where it is not.
    pub withheld: Option<String>,
}

/// What is known of sides before anything is measured, where at least one of them is saved.
#[derive(Clone, Debug)]
pub struct Beforehand {
    /// Where each side's blocks are measured, or were.
    pub hosts: [String; 2],
    /// The fewer of both sides' saved blocks.
    pub blocks: usize,
    /// When each side was measured, in words.
    pub when: [String; 2],
}

impl Beforehand {
    /// The terms, and the looks that so many blocks allow: decided before the first ratio is seen.
    pub fn terms(&self, looks: &[usize]) -> (Terms, Vec<usize>) {
        let [baseline, candidate] = &self.when;
        let notes = vec![format!(
            "Blocks were not measured in turns: the baseline's were {baseline}, the candidate's {candidate}. What became faster \
             or slower on the machine in between is in every ratio, and in no interval."
        )];
        let first = looks.first().copied().unwrap_or_default();
        let withheld = self.other_host().or_else(|| {
            (self.blocks < first).then(|| {
                format!(
                    "too few blocks are saved: {}, and the first look is at {first} (--looks). A `bench run` is one block, a \
                     `bench compare` saves as many as it measures",
                    self.blocks
                )
            })
        });
        let looks = if withheld.is_some() { vec![self.blocks.min(first)] } else { self.within(looks) };
        (Terms { notes, withheld }, looks)
    }

    /// All looks that there are blocks for, and a last one at all of them.
    fn within(&self, looks: &[usize]) -> Vec<usize> {
        let mut within: Vec<_> = looks.iter().copied().filter(|look| *look <= self.blocks).collect();
        if within.len() < looks.len() && within.last() != Some(&self.blocks) {
            within.push(self.blocks);
        }
        within
    }

    fn other_host(&self) -> Option<String> {
        let [one, other] = &self.hosts;
        if one != other {
            Some(format!("the sides were measured on different hosts ({one}; {other})"))
        } else if Fingerprint::is_known(one) {
            None
        } else {
            Some(format!("which host measured is not known ({one})"))
        }
    }
}

impl Terms {
    /// Judges as [`compare::judge`](judge) does, as far as the terms allow.
    pub fn judge(
        &self,
        pairs: &[Pair],
        goals: &[Goal],
        plan: &LookSchedule,
        texts_may_differ: bool,
    ) -> Result<Option<(Comparison, Option<usize>)>, statistics::Error> {
        // No interval has less than two blocks, and so no plan has such a look.
        let judged = if plan.looks == [1] && pairs.len() == 1 {
            let mut single = Comparison::unjudged(pairs, texts_may_differ);
            single.notes.extend(goals.iter().filter_map(|goal| ratio_of(goal, pairs)));
            Some((single, None))
        } else {
            judge(pairs, goals, plan, texts_may_differ)?
        };
        Ok(judged.map(|(mut comparison, next)| {
            comparison.notes.extend(self.notes.iter().cloned());
            let Some(why) = &self.withheld else { return (comparison, next) };
            if comparison.conclusion != Conclusion::Invalid {
                comparison.conclusion = Conclusion::Inconclusive;
                comparison.withheld = Some(why.clone());
                comparison.rows.iter_mut().for_each(|row| row.finding.verdict = Verdict::Inconclusive);
            }
            (comparison, None)
        }))
    }
}

fn ratio_of(goal: &Goal, pairs: &[Pair]) -> Option<String> {
    if !can_be_seen(goal, pairs) {
        return None;
    }
    let baseline = pooled(pairs.iter().map(|pair| &pair.baseline), goal);
    let candidate = pooled(pairs.iter().map(|pair| &pair.candidate), goal);
    (baseline > 0.0).then(|| {
        format!(
            "{} p{}: {baseline:.2} ms → {candidate:.2} ms, ratio {:.3}; one block has no interval.",
            goal.metric,
            goal.quantile * 100.0,
            candidate / baseline
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOKS: [usize; 3] = [6, 12, 20];

    fn terms(hosts: [&str; 2], blocks: usize) -> (Terms, Vec<usize>) {
        let (hosts, when) = (hosts.map(str::to_owned), ["yesterday", "today"].map(str::to_owned));
        Beforehand { hosts, blocks, when }.terms(&LOOKS)
    }

    #[test]
    fn one_host_is_judged_at_the_looks_that_there_are_blocks_for() {
        for (blocks, looks) in
            [(6, vec![6]), (11, vec![6, 11]), (12, vec![6, 12]), (20, vec![6, 12, 20]), (50, vec![6, 12, 20])]
        {
            let (terms, within) = terms(["a", "a"], blocks);
            assert_eq!((terms.withheld, within), (None, looks), "{blocks}");
            assert!(terms.notes[0].contains("not measured in turns"), "{:?}", terms.notes);
        }
    }

    #[test]
    fn another_host_and_too_few_blocks_are_shown_with_the_reason() {
        let (other, looks) = terms(["a", "b"], 20);
        assert!(other.withheld.unwrap().contains("different hosts (a; b)"));
        assert_eq!(looks, [6]);
        let (few, looks) = terms(["a", "a"], 2);
        assert!(few.withheld.unwrap().contains("too few blocks are saved: 2,"));
        assert_eq!(looks, [2]);
        assert!(terms(["unknown processor", "unknown processor"], 20).0.withheld.is_some());
    }
}
