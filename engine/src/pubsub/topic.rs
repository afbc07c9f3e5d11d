//! One topic, or one pattern, on one shard: its subscribers there and what was published to it this
//! turn. It knows nothing of other shards but the entry they share.

use std::sync::Arc;

use super::batch::{Batch, OpenBatch};
use super::entry::Entry;
use super::subscriptions::reserve_one;

/// A subscriber.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// The slot of its connection.
    pub(super) slot: u32,
    /// Where the topic stands among its connection's subscriptions.
    pub(super) position: u32,
}

/// A set of shards.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShardSet([u64; 4]);

impl ShardSet {
    /// Most shards of a server.
    pub(super) const SHARDS_MAX: usize = 256;

    pub(super) fn has(&self, shard: usize) -> bool {
        self.0[shard / 64] & 1 << (shard % 64) != 0
    }

    pub(super) fn add(&mut self, shard: usize) {
        self.0[shard / 64] |= 1 << (shard % 64);
    }

    /// Takes a shard out; whether it was in.
    pub(super) fn take(&mut self, shard: usize) -> bool {
        let was_in = self.has(shard);
        self.0[shard / 64] &= !(1 << (shard % 64));
        was_in
    }
}

/// The patterns that match a topic's name, as numbers of this shard's topics.
#[derive(Debug, Default)]
pub(super) struct Matches {
    pub(super) topics: Vec<u32>,
    /// Of all patterns when they were found.
    pub(super) version: u64,
    /// Of this shard's numbers when they were found.
    pub(super) numbering: u64,
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
    pub(super) ready: Vec<Batch>,
    /// Their bytes.
    pub(super) ready_bytes: usize,
    /// Who joined while something waited, and how many bytes were published before that. One who
    /// joined twice is listed twice, the later time last.
    pub(super) newcomers: Vec<(u32, usize)>,
}

impl Turn {
    pub(super) fn waiting_bytes(&self) -> usize {
        self.ready_bytes + self.open.len()
    }

    /// Takes a batch in that is complete.
    pub(super) fn take_in(&mut self, batch: Batch) {
        self.ready_bytes += batch.frames.len();
        self.ready.push(batch);
    }

    /// Sorts the newcomers for [`skipped`](Self::skipped).
    pub(super) fn sort_newcomers(&mut self) {
        self.newcomers.sort_by_key(|&(slot, _)| slot);
    }

    /// Bytes published this turn before a subscriber joined.
    pub(super) fn skipped(&self, slot: u32) -> usize {
        let after = self.newcomers.partition_point(|&(other, _)| other <= slot);
        match after.checked_sub(1).map(|last| self.newcomers[last]) {
            Some((newcomer, skipped)) if newcomer == slot => skipped,
            _ => 0,
        }
    }
}

/// A topic.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// What all shards share of it. Without one, nobody anywhere is subscribed to this very name,
    /// and only the patterns that match it are of interest.
    pub(super) entry: Option<Arc<Entry>>,
    pub(super) name: Box<str>,
    pub(super) hash: u64,
    pub(super) is_pattern: bool,
    pub(super) members: Vec<Member>,
    /// The filter of each member, once one has any.
    pub(super) filters: Vec<u64>,
    pub(super) turn: Turn,
    pub(super) matches: Option<Box<Matches>>,
}

impl Topic {
    /// Adds a subscriber; its index.
    pub(super) fn add(&mut self, member: Member, filter: u64) -> u32 {
        let waiting = self.turn.waiting_bytes();
        if waiting > 0 {
            self.turn.newcomers.push((member.slot, waiting));
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
