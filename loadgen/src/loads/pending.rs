//! The messages of one publisher that not all of a shard's subscribers have, from the oldest on.
//! When they were published is noted here, so that the publisher need not be asked for each delivery.

use std::collections::VecDeque;

use super::channel::Published;

/// Messages of all publishers together that are remembered here.
pub(super) const PENDING_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug)]
struct Entry {
    times: Published,
    /// Subscribers of this shard that have not received it.
    missing: u64,
}

/// What is missing of one publisher's messages.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The sequence number of the first entry. All before are complete, or too old.
    base: u64,
    entries: VecDeque<Entry>,
    /// One more than the highest sequence number that was received here.
    seen_end: u64,
}

/// A delivery, or one that will not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) times: Published,
    /// Whether nobody of this shard misses the message any more.
    pub(super) is_last: bool,
}

impl Pending {
    /// The number of the first message that is not known here.
    pub(super) fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Somebody has received a message; whether that is the latest of all.
    #[inline]
    pub(super) fn see(&mut self, sequence: u64) -> bool {
        let is_latest = sequence >= self.seen_end;
        self.seen_end = self.seen_end.max(sequence + 1);
        is_latest
    }

    /// A message was published for so many subscribers of this shard.
    pub(super) fn push(&mut self, times: Published, missing: u64) {
        self.entries.push_back(Entry { times, missing });
    }

    /// Messages before this number are not known any more; goes on with it. How many have been
    /// skipped that were never known here.
    pub(super) fn skip_to(&mut self, sequence: u64) -> u64 {
        let skipped = sequence.saturating_sub(self.end());
        if skipped > 0 {
            self.entries.clear();
            self.base = sequence;
        }
        skipped
    }

    /// One subscriber has received a message, or never will. `None` when it is too old to be known.
    #[inline]
    pub(super) fn deliver(&mut self, sequence: u64) -> Option<Delivery> {
        let index = sequence.checked_sub(self.base)? as usize;
        let entry = self.entries.get_mut(index)?;
        entry.missing = entry.missing.saturating_sub(1);
        let delivery = Delivery { times: entry.times, is_last: entry.missing == 0 };
        while self.entries.front().is_some_and(|entry| entry.missing == 0) {
            self.entries.pop_front();
            self.base += 1;
        }
        Some(delivery)
    }

    /// Forgets the oldest ones beyond so many: when each was due, and who misses it.
    pub(super) fn forget(&mut self, most: usize) -> impl Iterator<Item = (u64, u64)> {
        let excess = self.entries.len().saturating_sub(most);
        self.base += excess as u64;
        self.entries.drain(..excess).map(owed)
    }

    /// What is missing in the end.
    pub(super) fn owed(&self) -> impl Iterator<Item = (u64, u64)> {
        self.entries.iter().copied().map(owed)
    }
}

fn owed(entry: Entry) -> (u64, u64) {
    (entry.times.due_ns, entry.missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(due_ns: u64) -> Published {
        Published { due_ns, published_ns: due_ns + 1 }
    }

    fn with(messages: u64, missing: u64) -> Pending {
        let mut pending = Pending::default();
        (0..messages).for_each(|sequence| pending.push(times(100 + sequence), missing));
        pending
    }

    #[test]
    fn a_message_stays_until_everybody_has_it() {
        let mut pending = with(3, 2);
        let delivery =
            |sequence: u64, is_last| Some(Delivery { times: times(100 + sequence), is_last });
        assert_eq!(pending.deliver(1), delivery(1, false));
        assert_eq!(pending.deliver(1), delivery(1, true));
        assert_eq!(pending.deliver(0), delivery(0, false));
        assert_eq!(pending.owed().collect::<Vec<_>>(), [(100, 1), (101, 0), (102, 2)]);
        assert_eq!(pending.deliver(0), delivery(0, true));
        assert_eq!((pending.base, pending.end()), (2, 3));
        assert_eq!(pending.deliver(1), None, "it is known no more");
        assert_eq!(pending.deliver(3), None, "nor is it known yet");
    }

    #[test]
    fn the_oldest_are_forgotten_with_those_who_miss_them() {
        let mut pending = with(5, 4);
        pending.deliver(0);
        assert_eq!(pending.forget(3).collect::<Vec<_>>(), [(100, 3), (101, 4)]);
        assert_eq!((pending.base, pending.end()), (2, 5));
        assert_eq!(pending.deliver(1), None);
        assert_eq!(pending.forget(3).count(), 0);
    }
}
