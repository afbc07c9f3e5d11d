//! The messages of one connection that have no answer yet, by sequence number, so that answers may
//! come late, twice or never. It sends nothing and knows no clock.

use std::collections::VecDeque;

/// Later answers after which a message without one no longer takes a place.
const PASSED_OVER_MAX: u64 = 256;
/// Messages that no longer take a place and are remembered, in case their answers come after all.
const GIVEN_UP_MAX: usize = 1 << 16;

/// What an answer is. `T` is what was noted when the message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<T> {
    /// The first to its message. `late` when a later message was answered before.
    First { sequence: u64, sent: T, late: bool },
    /// One more to a message that has had its answer.
    Again,
    /// To no message that is known, while this one waited longest: it is taken for its answer.
    Garbled { sequence: u64 },
    /// To nothing: no message waits.
    Unasked,
}

/// Messages without an answer.
#[derive(Debug)]
pub(crate) struct Outstanding<T> {
    /// The sequence number of the first entry; all before are answered or given up.
    base: u64,
    entries: VecDeque<Option<T>>,
    under_way: usize,
    /// One more than the highest sequence number that was answered.
    answered_end: u64,
    /// In the order of their numbers.
    given_up: VecDeque<(u64, T)>,
    /// Those given up before these.
    forgotten: u64,
}

impl<T> Default for Outstanding<T> {
    fn default() -> Self {
        let (entries, given_up) = (VecDeque::new(), VecDeque::new());
        Self { base: 0, entries, under_way: 0, answered_end: 0, given_up, forgotten: 0 }
    }
}

impl<T: Copy> Outstanding<T> {
    /// Messages that wait for an answer, without those that were given up.
    #[inline]
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// The sequence number of the next message.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The oldest message that waits, or the one that would be next.
    #[inline]
    pub(crate) fn oldest(&self) -> u64 {
        self.base
    }

    /// The next message is sent.
    #[inline]
    pub(crate) fn push(&mut self, sent: T) {
        self.entries.push_back(Some(sent));
        self.under_way += 1;
    }

    /// An answer has come, to the message with this number if it is one.
    #[inline]
    pub(crate) fn answer(&mut self, number: Option<u64>) -> Answer<T> {
        let Some(sequence) = number.filter(|&number| number < self.next()) else {
            return self.answer_garbled();
        };
        let late = sequence < self.answered_end;
        let Some(index) = sequence.checked_sub(self.base) else {
            return self.answer_given_up(sequence, late);
        };
        let entry = match index {
            0 => self.take_front(),
            index => self.entries[index as usize].take(),
        };
        let Some(sent) = entry else { return Answer::Again };
        self.under_way -= 1;
        self.answered_end = self.answered_end.max(sequence + 1);
        self.advance();
        Answer::First { sequence, sent, late }
    }

    /// Takes the first entry away.
    #[inline]
    fn take_front(&mut self) -> Option<T> {
        self.base += 1;
        self.entries.pop_front().flatten()
    }

    fn answer_garbled(&mut self) -> Answer<T> {
        if self.entries.is_empty() {
            return Answer::Unasked;
        }
        let sequence = self.base;
        self.take_front();
        self.under_way -= 1;
        self.answered_end = self.answered_end.max(self.base);
        self.advance();
        Answer::Garbled { sequence }
    }

    fn answer_given_up(&mut self, sequence: u64, late: bool) -> Answer<T> {
        let at = self.given_up.binary_search_by_key(&sequence, |(given_up, _)| *given_up);
        let Some((_, sent)) = at.ok().and_then(|at| self.given_up.remove(at)) else {
            return Answer::Again;
        };
        self.answered_end = self.answered_end.max(sequence + 1);
        Answer::First { sequence, sent, late }
    }

    /// Gives up the oldest ones for as long as they are `overdue`: they take no place any more.
    pub(crate) fn give_up(&mut self, overdue: impl Fn(&T) -> bool) {
        while self.entries.front().is_some_and(|front| front.as_ref().is_none_or(&overdue)) {
            self.drop_front();
        }
        self.advance();
    }

    /// All that have no answer, with what was noted of them and how many it stands for: those that
    /// were forgotten are at least as old as the oldest of the others.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (T, u64)> + Clone {
        let given_up = self.given_up.iter().map(|(_, sent)| *sent);
        let all = given_up.chain(self.entries.iter().flatten().copied());
        all.enumerate().map(|(index, sent)| (sent, if index == 0 { 1 + self.forgotten } else { 1 }))
    }

    /// Forgets the oldest ones that are answered, and gives up those that were passed over.
    #[inline]
    fn advance(&mut self) {
        while let Some(front) = self.entries.front()
            && (front.is_none() || self.base + PASSED_OVER_MAX < self.answered_end)
        {
            self.drop_front();
        }
    }

    /// Takes the first entry away; when it has no answer, it is remembered.
    fn drop_front(&mut self) {
        let sequence = self.base;
        if let Some(sent) = self.take_front() {
            if self.given_up.len() == GIVEN_UP_MAX {
                self.given_up.pop_front();
                self.forgotten += 1;
            }
            self.given_up.push_back((sequence, sent));
            self.under_way -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(messages: u64) -> Outstanding<u64> {
        let mut outstanding = Outstanding::default();
        (0..messages).for_each(|sequence| outstanding.push(1000 + sequence));
        outstanding
    }

    fn first(sequence: u64, late: bool) -> Answer<u64> {
        Answer::First { sequence, sent: 1000 + sequence, late }
    }

    #[test]
    fn answers_in_order_leave_nothing() {
        let mut outstanding = with(3);
        for sequence in 0..3 {
            assert_eq!(outstanding.oldest(), sequence);
            assert_eq!(outstanding.answer(Some(sequence)), first(sequence, false));
        }
        assert_eq!((outstanding.under_way(), outstanding.next()), (0, 3));
        assert_eq!(outstanding.answer(None), Answer::Unasked);
    }

    #[test]
    fn late_and_repeated_answers_are_told_apart() {
        let mut outstanding = with(3);
        assert_eq!(outstanding.answer(Some(2)), first(2, false));
        assert_eq!(outstanding.answer(Some(0)), first(0, true));
        assert_eq!(outstanding.answer(Some(0)), Answer::Again);
        assert_eq!(outstanding.answer(Some(2)), Answer::Again);
        assert_eq!(outstanding.under_way(), 1);
    }

    #[test]
    fn an_answer_without_a_number_that_was_sent_is_that_of_the_oldest() {
        let mut outstanding = with(3);
        assert_eq!(outstanding.answer(Some(3)), Answer::Garbled { sequence: 0 });
        assert_eq!(outstanding.answer(Some(1)), first(1, false));
        assert_eq!(outstanding.answer(None), Answer::Garbled { sequence: 2 });
        assert_eq!(outstanding.answer(Some(u64::MAX)), Answer::Unasked);
        assert_eq!((outstanding.under_way(), outstanding.next()), (0, 3));
    }

    #[test]
    fn a_lost_message_gives_its_place_back_and_may_still_be_answered() {
        let mut outstanding = with(1000);
        for sequence in 1..1000 {
            assert_eq!(outstanding.answer(Some(sequence)), first(sequence, false));
        }
        assert_eq!((outstanding.under_way(), outstanding.oldest()), (0, 1000));
        assert_eq!(outstanding.answer(Some(0)), first(0, true));
        assert_eq!(outstanding.answer(Some(0)), Answer::Again);
    }

    #[test]
    fn all_without_an_answer_are_left_in_the_end() {
        let mut outstanding = with(5);
        outstanding.answer(Some(1));
        outstanding.give_up(|&sent| sent < 1003);
        outstanding.answer(Some(2));
        let left: Vec<_> = outstanding.unanswered().collect();
        assert_eq!(left, [(1000, 1), (1003, 1), (1004, 1)]);
    }

    #[test]
    fn forgotten_ones_are_counted_with_the_oldest_of_the_others() {
        let mut outstanding = with(GIVEN_UP_MAX as u64 + 10);
        outstanding.give_up(|_| true);
        assert_eq!(outstanding.unanswered().next(), Some((1010, 11)));
        let all: u64 = outstanding.unanswered().map(|(_, count)| count).sum();
        assert_eq!(all, GIVEN_UP_MAX as u64 + 10);
    }

    #[test]
    fn what_is_overdue_takes_no_place_and_may_still_be_answered() {
        let mut outstanding = with(5);
        assert_eq!(outstanding.answer(Some(1)), first(1, false));
        outstanding.give_up(|&sent| sent < 1003);
        assert_eq!((outstanding.under_way(), outstanding.oldest()), (2, 3));
        // Nothing that was sent after it has been answered.
        assert_eq!(outstanding.answer(Some(2)), first(2, false));
        assert_eq!(outstanding.answer(Some(4)), first(4, false));
        assert_eq!(outstanding.answer(Some(3)), first(3, true));
        assert_eq!(outstanding.answer(Some(1)), Answer::Again);
    }
}
