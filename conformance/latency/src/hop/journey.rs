//! One generation, from one end to the other: what took how long, and what did not come as it was sent.

use serde::{Deserialize, Serialize};

use super::{
    super::record::{Nanos, Outcome},
    marker::Mark,
    tap::Seen,
};

/// One generation as the client saw it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Journey {
    pub(super) generation: u32,
    /// When the request left.
    pub(super) sent: Nanos,
    /// What came, message by message.
    pub(super) messages: Vec<Message>,
    pub(super) outcome: Outcome,
}

/// A text-bearing message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) at: Nanos,
    /// `None` where it is not made of whole texts.
    pub(super) marks: Option<Vec<Mark>>,
}

/// What did not come as it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Generations that ended otherwise than asked.
    pub failed: u64,
    /// Requests that came to the tap more than once.
    pub asked_again: u64,
    /// Messages that left and never came.
    pub lost: u64,
    /// Messages that came after a later one, or twice, or from another generation.
    pub reordered: u64,
    /// Messages that came inside of another.
    pub merged: u64,
    /// Messages whose text is not what was sent.
    pub changed: u64,
}

/// What a generation comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// How long its request was under way.
    pub up: Option<Nanos>,
    /// How long each message was.
    pub down: Vec<Nanos>,
    /// Pairs of neighbouring messages.
    pub pairs: u64,
    /// Pairs that left apart and arrived together: something on the way holds messages back and lets them go in one.
    pub together: u64,
    /// What went wrong.
    pub faults: Faults,
}

impl Faults {
    /// Adds the counts of `more`.
    pub(super) fn add(&mut self, more: Self) {
        self.failed += more.failed;
        self.asked_again += more.asked_again;
        self.lost += more.lost;
        self.reordered += more.reordered;
        self.merged += more.merged;
        self.changed += more.changed;
    }

    /// The faults in words; empty where there are none.
    pub fn words(&self) -> Vec<String> {
        let words = [
            (self.failed, "generations failed"),
            (self.asked_again, "requests came to the tap more than once"),
            (self.lost, "messages were lost"),
            (self.reordered, "messages came out of order, twice, or in another's stream"),
            (self.merged, "messages were merged with the one before"),
            (self.changed, "messages came with another text than they left with"),
        ];
        words.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }
}

impl Journey {
    /// Holds what came against what left.
    pub(super) fn settle(&self, seen: &Seen) -> Settled {
        let mut settled = Settled::default();
        let faults = &mut settled.faults;
        faults.failed = u64::from(self.outcome != Outcome::Complete);
        faults.asked_again = u64::from(seen.received.len() > 1);
        settled.up = seen.received.first().map(|received| received.saturating_sub(self.sent));
        let (mut due, mut before) = (0, None);
        for Message { at, marks } in &self.messages {
            let Some(marks) = marks else {
                faults.changed += 1;
                continue;
            };
            faults.merged += marks.len().saturating_sub(1) as u64;
            for mark in marks {
                let left = seen.sent.get(mark.index as usize).copied();
                let (Some(left), true) = (left, mark.generation == self.generation && mark.index >= due)
                else {
                    faults.reordered += 1;
                    continue;
                };
                faults.lost += u64::from(mark.index - due);
                due = mark.index + 1;
                settled.down.push(at.saturating_sub(left));
                if let Some((left_before, at_before)) = before.replace((left, *at)) {
                    settled.pairs += 1;
                    let (apart, arrived) = (left - left_before, at.saturating_sub(at_before));
                    settled.together += u64::from(apart > 0 && arrived * TOGETHER < apart);
                }
            }
        }
        // A generation that failed has said so; what is missing of one that was whole is lost.
        if faults.failed == 0 {
            faults.lost += (seen.sent.len() as u64).saturating_sub(u64::from(due));
        }
        settled
    }
}

/// Arrived together: within this part of the time that lay between them when they left.
const TOGETHER: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(at: Nanos, indices: &[u32]) -> Message {
        let marks = indices.iter().map(|index| Mark { generation: 7, index: *index }).collect();
        Message { at, marks: Some(marks) }
    }

    fn settle(messages: Vec<Message>) -> Settled {
        let journey = Journey { generation: 7, sent: 10, messages, outcome: Outcome::Complete };
        journey.settle(&Seen { received: vec![25], sent: vec![100, 200, 300] })
    }

    #[test]
    fn every_message_has_its_own_time() {
        let settled = settle(vec![message(105, &[0]), message(207, &[1]), message(303, &[2])]);
        assert_eq!((settled.up, settled.down), (Some(15), vec![5, 7, 3]));
        assert_eq!((settled.pairs, settled.together), (2, 0));
        assert_eq!(settled.faults, Faults::default());
    }

    #[test]
    fn messages_that_were_held_back_arrive_together() {
        let settled = settle(vec![message(301, &[0]), message(302, &[1]), message(303, &[2])]);
        assert_eq!(settled.down, [201, 102, 3]);
        assert_eq!((settled.pairs, settled.together), (2, 2));
        assert_eq!(settled.faults, Faults::default(), "which is no fault");
    }

    #[test]
    fn what_does_not_come_as_it_was_sent_is_counted_as_what_it_is() {
        let faults = |messages| settle(messages).faults;
        let none = Faults::default();
        assert_eq!(faults(vec![message(105, &[0]), message(303, &[2])]), Faults { lost: 1, ..none });
        assert_eq!(faults(vec![message(105, &[0])]), Faults { lost: 2, ..none });
        assert_eq!(faults(vec![message(205, &[0, 1]), message(303, &[2])]), Faults { merged: 1, ..none });
        let swapped = vec![message(105, &[0]), message(303, &[2]), message(304, &[1])];
        assert_eq!(faults(swapped), Faults { lost: 1, reordered: 1, ..none });
        let cut = vec![message(105, &[0]), Message { at: 207, marks: None }, message(303, &[2])];
        assert_eq!(faults(cut), Faults { lost: 1, changed: 1, ..none });
        let words = Faults { lost: 2, merged: 1, ..none }.words();
        assert_eq!(words, ["2 messages were lost", "1 messages were merged with the one before"]);
    }

    #[test]
    fn a_generation_that_failed_has_lost_nothing_more() {
        let outcome = Outcome::Status("UNAVAILABLE".to_owned());
        let journey = Journey { generation: 7, sent: 10, messages: vec![message(105, &[0])], outcome };
        let settled = journey.settle(&Seen { received: vec![25, 30], sent: vec![100, 200] });
        assert_eq!(settled.faults, Faults { failed: 1, asked_again: 1, ..Faults::default() });
        assert_eq!(settled.down, [5]);
    }
}
