//! Numbers on what goes to other nodes, and what is known of the numbers of what comes from them:
//! which publications came before, and which are missing. It delivers nothing.

use std::cell::Cell;

use hashbrown::HashTable;

use super::backend::PublicationId;
use super::numbers::mix;

thread_local! {
    /// A backend is at work on this thread.
    static CARRYING: Cell<bool> = const { Cell::new(false) };
}

/// Marks that a backend is at work on this thread, until it is dropped.
pub(super) struct Carrying(());

impl Carrying {
    /// `None` when one is already: what it publishes itself goes no further.
    pub(super) fn begin() -> Option<Self> {
        (!CARRYING.replace(true)).then_some(Self(()))
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        CARRYING.set(false);
    }
}

/// Values by topic and a number, of which those not asked for the longest are forgotten.
///
/// Invariant: none is in both tables, and each holds at most `half_max`.
#[derive(Debug)]
struct Recent<V> {
    young: HashTable<Known<V>>,
    old: HashTable<Known<V>>,
    half_max: usize,
}

#[derive(Debug)]
struct Known<V> {
    hash: u64,
    topic: Box<str>,
    number: u64,
    value: V,
}

impl<V: Default> Recent<V> {
    fn new(max: usize) -> Self {
        let (young, old) = (HashTable::new(), HashTable::new());
        Self { young, old, half_max: max.div_ceil(2) }
    }

    /// The value of a topic, whose keyed hash this is, and a number; at first the default.
    fn get(&mut self, topic_hash: u64, topic: &str, number: u64) -> &mut V {
        let hash = mix(topic_hash, number);
        let is_it = |known: &Known<V>| known.number == number && *known.topic == *topic;
        let mut value = V::default();
        if self.young.find(hash, is_it).is_none() {
            if let Ok(old) = self.old.find_entry(hash, is_it) {
                value = old.remove().0.value;
            }
            if self.young.len() >= self.half_max {
                self.old = std::mem::take(&mut self.young);
            }
        }
        let place = self.young.entry(hash, is_it, |known| known.hash);
        let known = place.or_insert_with(|| Known { hash, topic: topic.into(), number, value });
        &mut known.into_mut().value
    }
}

/// The numbers that one publisher gives.
#[derive(Debug)]
pub(super) struct Numbering {
    sequence: u64,
    topics: Recent<u64>,
}

impl Numbering {
    pub(super) fn new(topics_max: usize) -> Self {
        Self { sequence: 0, topics: Recent::new(topics_max) }
    }

    /// The numbers of the next publication: of all, and to this topic. A topic that was forgotten
    /// begins at 1 again.
    pub(super) fn next(&mut self, topic_hash: u64, topic: &str) -> (u64, u64) {
        self.sequence += 1;
        let of_topic = self.topics.get(topic_hash, topic, 0);
        *of_topic += 1;
        (self.sequence, *of_topic)
    }
}

/// What came last of one publisher's publications to one topic.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    sequence: u64,
    topic_sequence: u64,
    /// When it came, by the clock of the interests.
    tick: u64,
}

/// Whether a publication is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is, and before it so many are missing.
    New {
        /// How many.
        missing: u64,
    },
    /// It came before, or was given up when a later one came.
    Old,
}

/// What came from other nodes.
#[derive(Debug)]
pub(super) struct Arrivals {
    last: Recent<Last>,
}

impl Arrivals {
    pub(super) fn new(topics_max: usize) -> Self {
        Self { last: Recent::new(topics_max) }
    }

    /// Takes note of a publication at a tick. This node has wanted its topic without a break since
    /// another: what was missed before that is not missing.
    pub(super) fn judge(
        &mut self,
        id: PublicationId,
        (topic_hash, topic): (u64, &str),
        topic_sequence: u64,
        wanted_since: u64,
        tick: u64,
    ) -> Verdict {
        let publisher = mix(id.node, u64::from(id.publisher));
        let last = self.last.get(topic_hash, topic, publisher);
        if id.sequence <= last.sequence {
            return Verdict::Old;
        }
        let is_continuous = last.sequence > 0 && last.tick >= wanted_since;
        // A lower one says that the publisher had forgotten the topic.
        let expected = last.topic_sequence + 1;
        let missing = if is_continuous { topic_sequence.saturating_sub(expected) } else { 0 };
        *last = Last { sequence: id.sequence, topic_sequence, tick };
        Verdict::New { missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(publisher: u32, sequence: u64) -> PublicationId {
        PublicationId { node: 5, publisher, sequence }
    }

    #[test]
    fn what_came_before_is_old_and_what_lies_between_is_missing() {
        let mut arrivals = Arrivals::new(100);
        let mut judge = |publisher, sequence, of_topic| {
            arrivals.judge(id(publisher, sequence), (1, "t"), of_topic, 0, 0)
        };
        let new = |missing| Verdict::New { missing };
        // The first that comes is where it begins.
        for (publisher, sequence, of_topic, expected) in [
            (0, 10, 4, new(0)),
            (0, 10, 4, Verdict::Old),
            (0, 12, 5, new(0)),
            (0, 11, 6, Verdict::Old),
            (1, 3, 1, new(0)),
            (0, 20, 9, new(3)),
            (0, 17, 8, Verdict::Old),
            (0, 21, 1, new(0)),
            (0, 22, 3, new(1)),
        ] {
            assert_eq!(judge(publisher, sequence, of_topic), expected, "{sequence}");
        }
    }

    #[test]
    fn what_came_while_nobody_wanted_it_is_not_missing() {
        let mut arrivals = Arrivals::new(100);
        let mut judge = |sequence, of_topic, wanted_since, tick| {
            arrivals.judge(id(0, sequence), (1, "t"), of_topic, wanted_since, tick)
        };
        assert_eq!(judge(1, 1, 3, 3), Verdict::New { missing: 0 });
        assert_eq!(judge(5, 5, 3, 4), Verdict::New { missing: 3 });
        assert_eq!(judge(9, 9, 5, 6), Verdict::New { missing: 0 });
        assert_eq!(judge(8, 8, 5, 6), Verdict::Old);
        assert_eq!(judge(11, 11, 5, 6), Verdict::New { missing: 1 });
    }

    #[test]
    fn numbers_are_those_of_the_publisher_and_of_the_topic_and_memory_is_bounded() {
        let mut numbering = Numbering::new(8);
        assert_eq!(numbering.next(1, "a"), (1, 1));
        assert_eq!(numbering.next(2, "b"), (2, 1));
        assert_eq!(numbering.next(1, "a"), (3, 2));
        for number in 0..100u64 {
            let topic = number.to_string();
            assert_eq!(numbering.next(number + 10, &topic), (4 + 2 * number, 1));
            assert_eq!(numbering.next(1, "a"), (5 + 2 * number, 3 + number), "asked for often");
        }
        assert!(numbering.topics.young.len() + numbering.topics.old.len() <= 8);
        assert_eq!(numbering.next(2, "b"), (204, 1), "forgotten");
    }

    #[test]
    fn a_backend_that_publishes_itself_is_noticed() {
        let first = Carrying::begin();
        assert!(first.is_some() && Carrying::begin().is_none());
        drop(first);
        assert!(Carrying::begin().is_some());
    }
}
