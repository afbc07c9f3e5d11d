//! One topic, or one pattern, on one shard: its subscribers there and what was published to it this
//! turn. It knows nothing of other shards but the entry they share.

use std::sync::Arc;

use super::batch::{Batch, OpenBatch};
use super::entry::Entry;
use super::shard_set::ShardSet;
use super::subscribe::TopicName;
use super::subscriptions::reserve_one;

/// A subscriber.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// The slot of its connection.
    pub(super) slot: u32,
    /// Where the topic stands among its connection's subscriptions.
    pub(super) position: u32,
}

/// What was published to a topic this turn, and to whom it goes.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Whether it is among the topics that the end of the turn looks at.
    pub(super) listed: bool,
    pub(super) open: OpenBatch,
    /// Shards where a place is reserved for the open batch.
    pub(super) reserved: ShardSet,
    /// Shards that had no place for it.
    pub(super) refused: ShardSet,
    /// Batches that await the end of the turn.
    ready: Vec<Batch>,
    /// Their messages.
    ready_messages: u32,
    /// Who joined while something waited, and how many messages were published before that. One
    /// who joined twice is listed twice, the later time last.
    pub(super) newcomers: Vec<(u32, u32)>,
}

impl Turn {
    /// Takes a batch in that is complete.
    pub(super) fn take_in(&mut self, batch: Batch) {
        self.ready_messages += batch.messages;
        self.ready.push(batch);
    }

    /// Takes the batches out.
    pub(super) fn take_ready(&mut self) -> Vec<Batch> {
        self.ready_messages = 0;
        std::mem::take(&mut self.ready)
    }

    /// Sorts the newcomers for [`skipped`](Self::skipped).
    pub(super) fn sort_newcomers(&mut self) {
        self.newcomers.sort_by_key(|&(slot, _)| slot);
    }

    /// Messages published this turn before a subscriber joined.
    pub(super) fn skipped(&self, slot: u32) -> u32 {
        let after = self.newcomers.partition_point(|&(other, _)| other <= slot);
        match after.checked_sub(1).map(|last| self.newcomers[last]) {
            Some((newcomer, skipped)) if newcomer == slot => skipped,
            _ => 0,
        }
    }
}

/// A topic. One without an entry is a free place for another.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// What all shards share of it.
    pub(super) entry: Option<Arc<Entry>>,
    pub(super) members: Vec<Member>,
    /// The filter of each member, once one has any.
    pub(super) filters: Vec<u64>,
    pub(super) turn: Turn,
}

impl Topic {
    pub(super) fn has_name(&self, name: TopicName<'_>) -> bool {
        let entry = self.entry.as_ref();
        entry.is_some_and(|entry| TopicName::new(&entry.name, entry.is_pattern) == name)
    }

    pub(super) fn hash(&self) -> u64 {
        self.entry.as_ref().map_or(0, |entry| entry.hash)
    }

    /// Adds a subscriber, for whom the open batch is empty; its index.
    pub(super) fn add(&mut self, member: Member, filter: u64) -> u32 {
        if self.turn.ready_messages > 0 {
            self.turn.newcomers.push((member.slot, self.turn.ready_messages));
        }
        if filter != u64::MAX && self.filters.is_empty() {
            self.filters = vec![u64::MAX; self.members.len()];
        }
        reserve_one(&mut self.members);
        self.members.push(member);
        if filter != u64::MAX || !self.filters.is_empty() {
            self.filters.push(filter);
        }
        self.members.len() as u32 - 1
    }

    /// Removes the subscriber at an index. The last one takes its place: which that is, if there
    /// was one.
    pub(super) fn remove(&mut self, index: u32) -> Option<Member> {
        self.members.swap_remove(index as usize);
        if !self.filters.is_empty() {
            self.filters.swap_remove(index as usize);
        }
        self.members.get(index as usize).copied()
    }

    pub(super) fn filter(&self, index: usize) -> u64 {
        self.filters.get(index).copied().unwrap_or(u64::MAX)
    }
}
