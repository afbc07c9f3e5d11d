//! What is kept aside for subscribers that read too slowly, and what they have missed. It does not
//! decide who is slow, and it sends nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::entry::Entry;
use super::gaps::Gaps;
use super::numbers::ByNumber;
use super::options::TopicOptions;
use crate::limits::Limits;

/// What a message kept aside takes beside its own bytes: its places in the list and in the table of
/// keys, each of which may be half empty.
const PLACE_BYTES: usize = 96;

/// A message kept aside.
#[derive(Debug)]
struct Kept {
    /// A later message with the same key replaces it.
    key: Option<u64>,
    frame: Vec<u8>,
}

/// What one slow subscriber is owed of one topic.
///
/// Invariant: message `index` of `waiting` has the number `first + index`; `latest` has the number
/// of each message with a key.
#[derive(Debug)]
struct TopicLag {
    topic: u32,
    entry: Arc<Entry>,
    /// What may wait for the subscriber, by the message that came last.
    backlog_bytes: usize,
    waiting: VecDeque<Kept>,
    first: u64,
    latest: HashMap<u64, u64>,
    missed: u64,
}

impl TopicLag {
    fn new(topic: u32, entry: &Arc<Entry>) -> Self {
        let (waiting, latest) = (VecDeque::new(), HashMap::new());
        let entry = Arc::clone(entry);
        Self { topic, entry, backlog_bytes: 0, waiting, first: 0, latest, missed: 0 }
    }

    /// Whether so few bytes wait that the subscriber takes messages again.
    fn allows(&self, queued_bytes: usize) -> bool {
        queued_bytes < (self.backlog_bytes / 2).max(1)
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let oldest = self.waiting.pop_front()?;
        if let Some(key) = oldest.key {
            self.latest.remove(&key);
        }
        self.first += 1;
        Some(oldest.frame)
    }

    /// The message that one with this key replaces.
    fn replaceable(&mut self, key: Option<u64>) -> Option<&mut Kept> {
        let number = self.latest.get(&key?)?;
        self.waiting.get_mut((number - self.first) as usize)
    }

    fn push(&mut self, key: Option<u64>, frame: Vec<u8>) {
        if let Some(key) = key {
            self.latest.insert(key, self.first + self.waiting.len() as u64);
        }
        self.waiting.push_back(Kept { key, frame });
    }

    fn bytes(&self) -> usize {
        self.waiting.iter().map(|kept| held_bytes(&kept.frame)).sum()
    }
}

/// The topic of a message: its number on the shard, and what all shards know of it.
type Of<'a> = (u32, &'a Arc<Entry>);

fn held_bytes(frame: &[u8]) -> usize {
    frame.len() + PLACE_BYTES
}

/// One slow subscriber.
///
/// Invariant: `places` has the index in `topics` of each topic; `bytes` are those of all that
/// waits.
#[derive(Debug, Default)]
struct Lag {
    topics: Vec<TopicLag>,
    places: ByNumber<usize>,
    /// Whose turn it is.
    turn: usize,
    bytes: usize,
}

impl Lag {
    fn place(&mut self, (topic, entry): Of<'_>, options: &TopicOptions) -> usize {
        let place = *self.places.entry(topic).or_insert_with(|| {
            self.topics.push(TopicLag::new(topic, entry));
            self.topics.len() - 1
        });
        self.topics[place].backlog_bytes = options.backlog_bytes;
        place
    }

    fn remove(&mut self, place: usize) -> TopicLag {
        let removed = self.topics.swap_remove(place);
        self.places.remove(&removed.topic);
        if let Some(moved) = self.topics.get(place) {
            self.places.insert(moved.topic, place);
        }
        removed
    }

    /// Drops the oldest message of a topic, or of another if that has none; whether there was one.
    fn drop_oldest(&mut self, place: usize) -> bool {
        let (turn, topics) = (self.turn, self.topics.len());
        let others = (0..topics).map(|step| (turn + step) % topics);
        for at in std::iter::once(place).chain(others) {
            if let Some(frame) = self.topics[at].pop() {
                self.topics[at].missed += 1;
                self.bytes -= held_bytes(&frame);
                self.turn = at;
                return true;
            }
        }
        false
    }

    /// The next message of a topic that allows it. All of them have their turns.
    fn next(&mut self, queued_bytes: usize) -> Option<Vec<u8>> {
        for _ in 0..self.topics.len() {
            let at = self.turn % self.topics.len();
            self.turn = at + 1;
            if self.topics[at].allows(queued_bytes)
                && let Some(frame) = self.topics[at].pop()
            {
                self.bytes -= held_bytes(&frame);
                return Some(frame);
            }
        }
        None
    }
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

/// The slow subscribers of a shard: those for whom something is kept aside, or who have missed
/// something and were not told yet.
#[derive(Debug, Default)]
pub(super) struct Laggards {
    by_slot: ByNumber<Box<Lag>>,
    bytes: usize,
    /// Messages that somebody missed, so far.
    pub(super) dropped: u64,
    /// Messages that a later one has replaced, so far.
    pub(super) replaced: u64,
}

impl Laggards {
    /// Whether a subscriber has not caught up with a topic, so that new messages have to wait
    /// behind others or are missed like those before.
    pub(super) fn include(&self, slot: u32, topic: u32) -> bool {
        !self.by_slot.is_empty()
            && self.by_slot.get(&slot).is_some_and(|lag| lag.places.contains_key(&topic))
    }

    /// Notes that a subscriber misses messages.
    pub(super) fn miss(&mut self, slot: u32, topic: Of<'_>, options: &TopicOptions, messages: u32) {
        self.dropped += u64::from(messages);
        let lag = self.by_slot.entry(slot).or_default();
        let place = lag.place(topic, options);
        lag.topics[place].missed += u64::from(messages);
    }

    /// Keeps a message aside; with a key, in place of an older one with the same key. Where there
    /// is no room, older ones are dropped.
    pub(super) fn keep(
        &mut self,
        slot: u32,
        topic: Of<'_>,
        options: &TopicOptions,
        key: Option<u64>,
        frame: &[u8],
        bounds: LagBounds,
    ) {
        let lag = self.by_slot.entry(slot).or_default();
        let place = lag.place(topic, options);
        let others = self.bytes - lag.bytes;
        let most = bounds.each_bytes_max.min(bounds.all_bytes_max.saturating_sub(others));
        // Larger than everything that may be kept: dropping the rest for it would not help.
        let hopeless = held_bytes(frame) > most;
        loop {
            let replaced = lag.topics[place].replaceable(key).filter(|_| !hopeless);
            let freed = replaced.as_ref().map_or(0, |kept| held_bytes(&kept.frame));
            if !hopeless && lag.bytes - freed + held_bytes(frame) <= most {
                // Copied, because a slice would keep the whole batch: what is counted is held.
                match replaced {
                    Some(kept) => {
                        kept.frame = frame.to_vec();
                        self.replaced += 1;
                    }
                    None => lag.topics[place].push(key, frame.to_vec()),
                }
                lag.bytes = lag.bytes - freed + held_bytes(frame);
                break;
            }
            self.dropped += 1;
            if hopeless || !lag.drop_oldest(place) {
                lag.topics[place].missed += 1;
                break;
            }
        }
        self.bytes = others + lag.bytes;
    }

    /// The next message kept aside for a subscriber, once less waits for it than half of what its
    /// topic allows.
    pub(super) fn next(&mut self, slot: u32, queued_bytes: usize) -> Option<Vec<u8>> {
        let frame = self.by_slot.get_mut(&slot)?.next(queued_bytes)?;
        self.bytes -= held_bytes(&frame);
        Some(frame)
    }

    /// Forgets the topics that a subscriber has caught up with, and notes what it has missed of
    /// them; whether there are others.
    pub(super) fn release(&mut self, slot: u32, queued_bytes: usize, gaps: &mut Gaps) -> bool {
        let Some(lag) = self.by_slot.get_mut(&slot) else { return false };
        for place in (0..lag.topics.len()).rev() {
            if lag.topics[place].waiting.is_empty() && lag.topics[place].allows(queued_bytes) {
                let caught_up = lag.remove(place);
                if caught_up.missed > 0 {
                    gaps.add(slot, &caught_up.entry, caught_up.missed);
                }
            }
        }
        if lag.topics.is_empty() {
            self.by_slot.remove(&slot);
            return false;
        }
        true
    }

    /// Forgets what a subscriber was owed of one topic: the subscription has ended.
    pub(super) fn forget_topic(&mut self, slot: u32, topic: u32) {
        if let Some(lag) = self.by_slot.get_mut(&slot)
            && let Some(&place) = lag.places.get(&topic)
        {
            let bytes = lag.remove(place).bytes();
            lag.bytes -= bytes;
            self.bytes -= bytes;
            if lag.topics.is_empty() {
                self.by_slot.remove(&slot);
            }
        }
    }

    /// Forgets a subscriber that has gone.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(lag) = self.by_slot.remove(&slot) {
            self.bytes -= lag.bytes;
        }
    }
}

#[cfg(test)]
#[path = "lag_tests.rs"]
mod tests;
