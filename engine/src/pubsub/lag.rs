//! What is kept aside for subscribers that read too slowly, and what they have missed. It does not
//! decide who is slow, and it sends nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::entry::Entry;
use crate::limits::Limits;

/// A message kept aside.
#[derive(Debug)]
struct Kept {
    topic: u32,
    key: u64,
    entry: Arc<Entry>,
    frame: Bytes,
}

/// One slow subscriber.
///
/// Invariant: message `index` of `waiting` has the number `first + index`; `latest` names only
/// messages that wait.
#[derive(Debug, Default)]
struct Lag {
    waiting: VecDeque<Kept>,
    first: u64,
    /// The number of the message that a later one of the same topic and key replaces.
    latest: HashMap<(u32, u64), u64>,
    bytes: usize,
    missed: Vec<(Arc<Entry>, u64)>,
}

/// Messages that a subscriber did not get.
#[derive(Debug)]
pub(crate) struct Gap {
    pub(crate) slot: u32,
    entry: Arc<Entry>,
    pub(crate) messages: u64,
}

impl Gap {
    pub(super) fn new(slot: u32, entry: Arc<Entry>, messages: u64) -> Self {
        Self { slot, entry, messages }
    }

    /// The name of the topic, or the pattern, that they were received by.
    pub(crate) fn topic(&self) -> &str {
        &self.entry.name
    }
}

/// The slow subscribers of a shard.
#[derive(Debug, Default)]
pub(super) struct Laggards {
    by_slot: HashMap<u32, Box<Lag>>,
    bytes: usize,
    /// Messages that somebody missed, so far.
    pub(super) dropped: u64,
    /// Messages that a later one has replaced, so far.
    pub(super) replaced: u64,
}

/// How much may be kept aside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LagBounds {
    each_bytes_max: usize,
    all_bytes_max: usize,
}

impl LagBounds {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self { each_bytes_max: limits.lag_bytes_max, all_bytes_max: limits.lag_total_bytes_max }
    }
}

impl Lag {
    fn miss(&mut self, entry: &Arc<Entry>, messages: u64) {
        match self.missed.iter_mut().find(|(known, _)| Arc::ptr_eq(known, entry)) {
            Some((_, count)) => *count += messages,
            None => self.missed.push((Arc::clone(entry), messages)),
        }
    }

    fn pop(&mut self) -> Option<Kept> {
        let oldest = self.waiting.pop_front()?;
        let name = (oldest.topic, oldest.key);
        if self.latest.get(&name) == Some(&self.first) {
            self.latest.remove(&name);
        }
        self.first += 1;
        self.bytes -= oldest.frame.len();
        Some(oldest)
    }
}

impl Laggards {
    /// Whether messages are kept aside for a subscriber, so that new ones have to wait behind.
    pub(super) fn holds(&self, slot: u32) -> bool {
        !self.by_slot.is_empty()
            && self.by_slot.get(&slot).is_some_and(|lag| !lag.waiting.is_empty())
    }

    /// Notes that a subscriber misses messages.
    pub(super) fn miss(&mut self, slot: u32, entry: &Arc<Entry>, messages: u64) {
        self.dropped += messages;
        self.by_slot.entry(slot).or_default().miss(entry, messages);
    }

    /// Keeps a message aside; with `replaces`, in place of an older one with the same key.
    pub(super) fn keep(
        &mut self,
        slot: u32,
        (topic, entry): (u32, &Arc<Entry>),
        replaces: Option<u64>,
        frame: &[u8],
        bounds: LagBounds,
    ) {
        let lag = self.by_slot.entry(slot).or_default();
        let before = lag.bytes;
        // Copied, because a slice would keep the whole batch: what is counted is what is held.
        let frame = Bytes::copy_from_slice(frame);
        let known = replaces.and_then(|key| lag.latest.get(&(topic, key)));
        if let Some(&number) = known {
            let place = &mut lag.waiting[(number - lag.first) as usize];
            lag.bytes = lag.bytes + frame.len() - place.frame.len();
            place.frame = frame;
            self.replaced += 1;
            self.bytes = self.bytes + lag.bytes - before;
            return;
        }
        let others = self.bytes - before;
        let most = bounds.each_bytes_max.min(bounds.all_bytes_max.saturating_sub(others));
        while lag.bytes + frame.len() > most {
            let Some(oldest) = lag.pop() else { break };
            self.dropped += 1;
            lag.miss(&oldest.entry, 1);
        }
        if lag.bytes + frame.len() > most {
            self.dropped += 1;
            lag.miss(entry, 1);
        } else {
            if let Some(key) = replaces {
                lag.latest.insert((topic, key), lag.first + lag.waiting.len() as u64);
            }
            lag.bytes += frame.len();
            let (key, entry) = (replaces.unwrap_or_default(), Arc::clone(entry));
            lag.waiting.push_back(Kept { topic, key, entry, frame });
        }
        self.bytes = others + lag.bytes;
    }

    /// The next message kept aside for a subscriber, once less waits for it than half of what its
    /// topic allows.
    pub(super) fn next(&mut self, slot: u32, queued_bytes: usize) -> Option<Bytes> {
        let lag = self.by_slot.get_mut(&slot)?;
        let mark = (lag.waiting.front()?.entry.options.backlog_bytes / 2).max(1);
        if queued_bytes >= mark {
            return None;
        }
        let frame = lag.pop()?.frame;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// Forgets a subscriber that has caught up: what it has missed. `None` while something is kept
    /// aside for it.
    pub(super) fn caught_up(&mut self, slot: u32) -> Option<Vec<Gap>> {
        if self.holds(slot) {
            return None;
        }
        let lag = self.by_slot.remove(&slot)?;
        let gap = |(entry, messages)| Gap { slot, entry, messages };
        Some(lag.missed.into_iter().map(gap).collect())
    }

    /// Forgets what was kept aside of one topic: the subscription has ended.
    pub(super) fn forget_topic(&mut self, slot: u32, topic: u32) {
        let Some(lag) = self.by_slot.get_mut(&slot) else { return };
        let before = lag.bytes;
        lag.waiting.retain(|kept| kept.topic != topic);
        lag.bytes = lag.waiting.iter().map(|kept| kept.frame.len()).sum();
        self.bytes = self.bytes + lag.bytes - before;
        // The messages have new numbers now.
        let replaceable: Vec<_> = lag.latest.drain().map(|(name, _)| name).collect();
        let numbered = lag.waiting.iter().zip(lag.first..);
        let names = numbered.map(|(kept, number)| ((kept.topic, kept.key), number));
        lag.latest = names.filter(|(name, _)| replaceable.contains(name)).collect();
    }

    /// Forgets a subscriber that has gone.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(lag) = self.by_slot.remove(&slot) {
            self.bytes -= lag.bytes;
        }
    }
}
