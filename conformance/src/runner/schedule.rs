//! Which check may begin now: shared ones beside each other, all others alone. Pure.
//!
//! The shared ones come first, and of them those that take long. So do those that start and stop instances of a target of
//! which several may run at once. One that did not pass beside others is run again alone, and what
//! it says then stands: no verdict hangs on what ran beside it.

use std::collections::VecDeque;

use crate::vocabulary::Isolation;

/// What is still to be run, and what runs.
#[derive(Debug)]
pub(super) struct Schedule {
    shared: VecDeque<usize>,
    alone: VecDeque<usize>,
    width: usize,
    running: usize,
    one_alone: bool,
    alone_first: bool,
}

/// Where a check stands among those that run beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// It takes long by its nature.
    First,
    /// It starts and stops instances of its own.
    Second,
    /// In the plan's order.
    InTurn,
}

/// A check that may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Its place in the plan.
    pub(super) at: usize,
    /// Others may run beside it.
    pub(super) beside: bool,
}

impl Schedule {
    /// All checks of a plan, each with what may go on beside it and its place, `width` of the shared ones at a time. With a
    /// width of one, they run in the plan's order.
    pub(super) fn new(checks: impl IntoIterator<Item = (Isolation, Place)>, width: usize) -> Self {
        let width = width.max(1);
        let (mut shared, mut alone) = (Vec::new(), VecDeque::new());
        for (at, (isolation, place)) in checks.into_iter().enumerate() {
            if width > 1 && isolation == Isolation::Shared {
                shared.push((place, at));
            } else {
                alone.push_back(at);
            }
        }
        shared.sort_unstable();
        let shared = shared.into_iter().map(|(_, at)| at).collect();
        Self { shared, alone, width, running: 0, one_alone: false, alone_first: false }
    }

    /// All of them at once, so many at a time: nothing can disturb a target that says nothing.
    pub(super) fn at_once(count: usize, width: usize) -> Self {
        Self {
            shared: (0..count).collect(),
            alone: VecDeque::new(),
            width: width.max(1),
            running: 0,
            one_alone: false,
            alone_first: false,
        }
    }

    /// Whether those that run alone come before those that run beside each other.
    pub(super) fn alone_first(&mut self, first: bool) {
        self.alone_first = first;
    }

    /// What is left runs at once, so many at a time.
    pub(super) fn all_at_once(&mut self, width: usize) {
        self.alone_first = false;
        self.shared.append(&mut self.alone);
        self.width = width.max(1);
    }

    /// The next check that may begin now.
    pub(super) fn next(&mut self) -> Option<Turn> {
        if self.one_alone {
            return None;
        }
        let alone_first = self.alone_first && !self.alone.is_empty();
        let turn = if !self.shared.is_empty() && !alone_first {
            (self.running < self.width).then(|| self.shared.pop_front()).flatten().map(|at| (at, true))
        } else if self.running == 0 {
            self.alone.pop_front().map(|at| (at, false))
        } else {
            None
        };
        let (at, beside) = turn?;
        self.running += 1;
        self.one_alone = !beside;
        Some(Turn { at, beside })
    }

    /// A check has ended.
    pub(super) fn ended(&mut self) {
        self.running = self.running.saturating_sub(1);
        self.one_alone = false;
    }

    /// A check that ran beside others is to be run again, alone: before all that change what the target serves, or behind all
    /// where it stops the target itself.
    pub(super) fn again(&mut self, at: usize, last: bool) {
        if last { self.alone.push_back(at) } else { self.alone.push_front(at) }
    }
}

#[cfg(test)]
mod tests {
    use Isolation::{Exclusive, Quiet, Shared};

    use super::*;

    fn quick(isolation: Isolation) -> (Isolation, Place) {
        (isolation, Place::InTurn)
    }

    fn next(schedule: &mut Schedule) -> Option<(usize, bool)> {
        schedule.next().map(|turn| (turn.at, turn.beside))
    }

    #[test]
    fn shared_checks_run_beside_each_other_and_all_others_alone() {
        let mut schedule = Schedule::new([Shared, Exclusive, Shared, Quiet, Shared].map(quick), 2);
        assert_eq!(next(&mut schedule), Some((0, true)));
        assert_eq!(next(&mut schedule), Some((2, true)));
        assert_eq!(next(&mut schedule), None, "two at a time");
        schedule.ended();
        assert_eq!(next(&mut schedule), Some((4, true)));
        schedule.ended();
        assert_eq!(next(&mut schedule), None, "a shared one still runs");
        schedule.ended();
        assert_eq!(next(&mut schedule), Some((1, false)));
        assert_eq!(next(&mut schedule), None);
        schedule.again(2, false);
        schedule.again(4, true);
        schedule.ended();
        assert_eq!(
            next(&mut schedule),
            Some((2, false)),
            "again, alone, and before what may change the target"
        );
        schedule.ended();
        assert_eq!(next(&mut schedule), Some((3, false)));
        schedule.ended();
        assert_eq!(next(&mut schedule), Some((4, false)), "again, alone, and the last");
        schedule.ended();
        assert_eq!(next(&mut schedule), None);
    }

    #[test]
    fn what_is_left_may_run_at_once() {
        let mut schedule = Schedule::new([Shared, Exclusive, Quiet].map(quick), 2);
        assert_eq!(next(&mut schedule), Some((0, true)));
        assert_eq!(next(&mut schedule), None);
        schedule.all_at_once(8);
        assert_eq!(next(&mut schedule), Some((1, true)));
        assert_eq!(next(&mut schedule), Some((2, true)));
    }

    #[test]
    fn those_that_run_alone_may_come_first() {
        let mut schedule = Schedule::new([Shared, Shared, Exclusive].map(quick), 2);
        assert_eq!(next(&mut schedule), Some((0, true)));
        schedule.alone_first(true);
        assert_eq!(next(&mut schedule), None, "one still runs");
        schedule.ended();
        assert_eq!(next(&mut schedule), Some((2, false)));
        schedule.ended();
        assert_eq!(next(&mut schedule), Some((1, true)));
    }

    #[test]
    fn those_that_take_long_begin_first() {
        let checks =
            [(Shared, Place::InTurn), (Quiet, Place::First), (Shared, Place::Second), (Shared, Place::First)];
        let mut schedule = Schedule::new(checks, 3);
        let order = [next(&mut schedule), next(&mut schedule), next(&mut schedule)];
        assert_eq!(order, [Some((3, true)), Some((2, true)), Some((0, true))]);
    }

    #[test]
    fn a_width_of_one_is_the_order_of_the_plan() {
        let mut schedule =
            Schedule::new([(Shared, Place::InTurn), (Exclusive, Place::InTurn), (Shared, Place::First)], 1);
        for at in 0..3 {
            assert_eq!(next(&mut schedule), Some((at, false)));
            assert_eq!(next(&mut schedule), None);
            schedule.ended();
        }
    }
}
