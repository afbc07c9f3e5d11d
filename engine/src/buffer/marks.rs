//! Which of the segments that wait in a queue may be dropped or replaced. It holds no bytes and
//! drops nothing itself; the queue keeps its segments in step with it.

use std::collections::{HashMap, VecDeque};

/// Dead entries below which cleaning up is not worth it.
const DEAD_MIN: usize = 64;

/// A message that may be dropped while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// A later message with the same key replaces it.
    pub key: Option<u64>,
    /// How many messages it counts for when it is dropped.
    pub messages: u32,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    /// Must be sent.
    Kept,
    May(Mark),
    /// Was dropped; its segment is empty.
    Dead,
}

/// The entries of a queue, oldest first.
///
/// Invariant: `latest` has the number of every `May` entry with a key; entry `index` has the number
/// `first + index`; `cursor` is at or before the first `May` entry.
#[derive(Debug)]
pub(super) struct Marks {
    entries: VecDeque<Entry>,
    latest: HashMap<u64, u64>,
    first: u64,
    dead: usize,
    cursor: usize,
}

impl Marks {
    /// Entries for `known` segments that must all be sent.
    pub(super) fn unmarked(known: usize) -> Box<Self> {
        let entries = std::iter::repeat_n(Entry::Kept, known).collect();
        Box::new(Self { entries, latest: HashMap::new(), first: 0, dead: 0, cursor: 0 })
    }

    pub(super) fn push(&mut self, mark: Option<Mark>) {
        if let Some(key) = mark.and_then(|mark| mark.key) {
            self.latest.insert(key, self.first + self.entries.len() as u64);
        }
        self.entries.push_back(mark.map_or(Entry::Kept, Entry::May));
    }

    /// Takes the oldest out.
    pub(super) fn pop(&mut self) {
        match self.entries.pop_front() {
            Some(Entry::May(Mark { key: Some(key), .. })) => {
                self.latest.remove(&key);
            }
            Some(Entry::Dead) => self.dead -= 1,
            _ => {}
        }
        self.first += 1;
        self.cursor = self.cursor.saturating_sub(1);
    }

    /// Where the message with this key waits.
    pub(super) fn find(&self, key: u64) -> Option<usize> {
        self.latest.get(&key).map(|number| (number - self.first) as usize)
    }

    /// Puts a mark in the place of another with the same key; for how many messages that one
    /// counted.
    pub(super) fn replace(&mut self, index: usize, mark: Mark) -> u32 {
        match std::mem::replace(&mut self.entries[index], Entry::May(mark)) {
            Entry::May(replaced) => replaced.messages,
            Entry::Kept | Entry::Dead => 0,
        }
    }

    /// Marks the oldest that may be dropped as dead: where it is and for how many messages it
    /// counted.
    pub(super) fn kill_oldest(&mut self) -> Option<(usize, u32)> {
        while let Some(entry) = self.entries.get_mut(self.cursor) {
            if let Entry::May(mark) = *entry {
                *entry = Entry::Dead;
                self.dead += 1;
                if let Some(key) = mark.key {
                    self.latest.remove(&key);
                }
                return Some((self.cursor, mark.messages));
            }
            self.cursor += 1;
        }
        None
    }

    /// Whether more is dead than alive. Behind something that must be sent to a peer that takes
    /// nothing, the dead would add up for ever.
    pub(super) fn is_sparse(&self) -> bool {
        self.dead > DEAD_MIN && self.dead > self.entries.len() / 2
    }

    /// Forgets the dead; the queue does the same.
    pub(super) fn compact(&mut self) {
        self.entries.retain(|entry| !matches!(entry, Entry::Dead));
        (self.dead, self.cursor) = (0, 0);
        for (index, entry) in self.entries.iter().enumerate() {
            if let Entry::May(Mark { key: Some(key), .. }) = entry {
                self.latest.insert(*key, self.first + index as u64);
            }
        }
    }
}
