//! Whether a target leaves most of its calls hanging: then nothing more is to be learnt by waiting for each. Pure.

/// So many checks that waited in vain are a sign, where they are at least half of all that ended.
const MANY: usize = 6;
/// So many of them are looked at alone: what ran beside them is not the reason.
const ALONE: usize = 2;

/// What the checks that ended have shown so far.
#[derive(Debug, Default)]
pub(super) struct Hanging {
    ended: usize,
    vain: usize,
    alone: usize,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It answers.
    No,
    /// It seems so: what waited in vain is to be asked alone.
    Perhaps,
    /// It is so.
    Yes,
}

impl Hanging {
    /// A check has ended, alone or beside others, and had waited in vain or not.
    pub(super) fn add(&mut self, beside: bool, vain: bool) -> Sign {
        let suspected = self.suspected();
        self.ended += 1;
        self.vain += usize::from(vain);
        if suspected && !beside {
            if !vain {
                *self = Self::default();
            }
            self.alone += usize::from(vain);
        }
        match self.suspected() {
            false => Sign::No,
            true if self.alone >= ALONE => Sign::Yes,
            true => Sign::Perhaps,
        }
    }

    fn suspected(&self) -> bool {
        self.vain >= MANY && self.vain * 2 >= self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_hangs_where_those_asked_alone_wait_in_vain_too() {
        let mut hanging = Hanging::default();
        for _ in 1..MANY {
            assert_eq!(hanging.add(true, true), Sign::No);
        }
        assert_eq!(hanging.add(true, true), Sign::Perhaps);
        assert_eq!(hanging.add(true, true), Sign::Perhaps, "not by those beside others");
        assert_eq!(hanging.add(false, true), Sign::Perhaps);
        assert_eq!(hanging.add(false, true), Sign::Yes);
    }

    #[test]
    fn one_that_passes_alone_clears_the_target() {
        let mut hanging = Hanging::default();
        for _ in 0..MANY {
            hanging.add(true, true);
        }
        assert_eq!(hanging.add(false, false), Sign::No);
        assert_eq!(hanging.add(true, true), Sign::No);
    }

    #[test]
    fn some_that_wait_in_vain_among_many_are_no_sign() {
        let mut hanging = Hanging::default();
        for at in 0..60 {
            assert_eq!(hanging.add(at % 2 == 0, at % 3 == 0), Sign::No);
        }
    }
}
