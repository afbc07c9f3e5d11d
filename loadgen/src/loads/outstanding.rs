//! The messages of one connection that have no answer yet, by sequence number, so that answers may
//! come late, twice or never. It sends nothing and knows no clock.

use std::collections::VecDeque;

/// Later answers after which a message without one no longer takes a place.
const PASSED_OVER_MAX: u64 = 256;
/// Messages of that sort that are remembered, in case their answers come after all.
const GIVEN_UP_MAX: usize = 1024;

/// When a message was to be sent and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) due_ns: u64,
    pub(crate) sent_ns: u64,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The first to its message. `late` when a later message was answered before.
    First { times: Times, late: bool },
    /// One more to a message that has had its answer.
    Again,
    /// To a message that was never sent.
    Unknown,
}

/// Messages without an answer.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    /// The sequence number of the first entry; all before are answered or given up.
    base: u64,
    entries: VecDeque<Option<Times>>,
    under_way: usize,
    /// One more than the highest sequence number that was answered.
    answered_end: u64,
    given_up: VecDeque<(u64, Times)>,
}

impl Outstanding {
    /// Messages that wait for an answer, without those that were given up.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// The sequence number of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The oldest message that waits, or the one that would be next.
    pub(crate) fn oldest(&self) -> u64 {
        self.base
    }

    /// The next message is sent.
    pub(crate) fn push(&mut self, times: Times) {
        self.entries.push_back(Some(times));
        self.under_way += 1;
    }

    /// An answer has come.
    pub(crate) fn answer(&mut self, sequence: u64) -> Answer {
        if sequence >= self.next() {
            return Answer::Unknown;
        }
        let late = sequence < self.answered_end;
        let Some(index) = sequence.checked_sub(self.base) else {
            return self.answer_given_up(sequence);
        };
        let Some(times) = self.entries[index as usize].take() else { return Answer::Again };
        self.under_way -= 1;
        self.answered_end = self.answered_end.max(sequence + 1);
        self.advance();
        Answer::First { times, late }
    }

    fn answer_given_up(&mut self, sequence: u64) -> Answer {
        match self.given_up.iter().position(|(given_up, _)| *given_up == sequence) {
            Some(at) => match self.given_up.remove(at) {
                Some((_, times)) => Answer::First { times, late: true },
                None => Answer::Again,
            },
            None => Answer::Again,
        }
    }

    /// Forgets the oldest ones that are answered, and gives up those that were passed over.
    fn advance(&mut self) {
        while let Some(front) = self.entries.front() {
            if let Some(times) = front {
                if self.answered_end - self.base <= PASSED_OVER_MAX {
                    return;
                }
                self.given_up.push_back((self.base, *times));
                self.given_up.truncate(GIVEN_UP_MAX);
                self.under_way -= 1;
            }
            self.entries.pop_front();
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(at: u64) -> Times {
        Times { due_ns: at, sent_ns: at + 1 }
    }

    fn with(messages: u64) -> Outstanding {
        let mut outstanding = Outstanding::default();
        (0..messages).for_each(|sequence| outstanding.push(times(sequence)));
        outstanding
    }

    #[test]
    fn answers_in_order_leave_nothing() {
        let mut outstanding = with(3);
        for sequence in 0..3 {
            assert_eq!(outstanding.oldest(), sequence);
            let answer = outstanding.answer(sequence);
            assert_eq!(answer, Answer::First { times: times(sequence), late: false });
        }
        assert_eq!((outstanding.under_way(), outstanding.next()), (0, 3));
    }

    #[test]
    fn late_repeated_and_unknown_answers_are_told_apart() {
        let mut outstanding = with(3);
        assert_eq!(outstanding.answer(2), Answer::First { times: times(2), late: false });
        assert_eq!(outstanding.answer(0), Answer::First { times: times(0), late: true });
        assert_eq!(outstanding.answer(0), Answer::Again);
        assert_eq!(outstanding.answer(2), Answer::Again);
        assert_eq!(outstanding.answer(3), Answer::Unknown);
        assert_eq!(outstanding.under_way(), 1);
    }

    #[test]
    fn a_lost_message_gives_its_place_back_and_may_still_be_answered() {
        let mut outstanding = with(1000);
        (1..1000).for_each(|sequence| {
            outstanding.answer(sequence);
        });
        assert_eq!((outstanding.under_way(), outstanding.oldest()), (0, 1000));
        assert_eq!(outstanding.answer(0), Answer::First { times: times(0), late: true });
        assert_eq!(outstanding.answer(0), Answer::Again);
    }
}
