//! The last messages of one topic, numbered, for those who come back. It sends nothing.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;

use super::backend::{History, HistoryMessage};
use super::batch::Batch;
use super::frames;
use super::histories::HistoryBytes;

/// A place in the history of a topic: everything up to and with message number `offset` has been
/// seen. Opaque to clients, who hand it back when they return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which history: another one begins when the server has forgotten the topic.
    pub epoch: u64,
    /// How many messages of it.
    pub offset: u64,
}

#[derive(Debug)]
struct Kept {
    frame: Bytes,
    tags: u64,
}

/// What a returning subscriber gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Where the topic stands; `None` when it has no history.
    pub(crate) position: Option<Position>,
    /// Whether nothing is missing.
    pub(crate) complete: bool,
    /// The messages in order, framed.
    pub(crate) frames: Vec<Bytes>,
}

impl Recovered {
    /// What somebody gets of a topic without a history.
    pub(super) fn without_history(from: Option<Position>) -> Self {
        Self { position: None, complete: from.is_none(), frames: Vec::new() }
    }
}

/// A history.
#[derive(Debug)]
pub(super) struct Log {
    epoch: u64,
    /// Messages so far.
    head: u64,
    kept: VecDeque<Kept>,
    bytes: usize,
    messages_max: usize,
    all: Arc<HistoryBytes>,
}

impl Log {
    pub(super) fn new(messages_max: usize, all: Arc<HistoryBytes>) -> Self {
        // Different in each process and for each log: that is all an epoch is for.
        let epoch = RandomState::new().hash_one("epoch");
        Self { epoch, head: 0, kept: VecDeque::new(), bytes: 0, messages_max, all }
    }

    pub(super) fn append(&mut self, batch: &Batch) {
        batch.each(batch.all(), |frame, tags, _| {
            self.head += 1;
            self.bytes += HistoryBytes::of(frame);
            let frame = self.all.hold(frame);
            self.kept.push_back(Kept { frame, tags });
            while self.kept.len() > self.messages_max || self.all.is_exceeded(self.bytes) {
                let Some(oldest) = self.kept.pop_front() else { break };
                self.bytes -= HistoryBytes::of(&oldest.frame);
                self.all.release(HistoryBytes::of(&oldest.frame));
            }
        });
    }

    /// Begins anew behind an offset, with nothing kept.
    fn restart(&mut self, epoch: u64, head: u64) {
        self.kept.clear();
        self.all.release(std::mem::take(&mut self.bytes));
        (self.epoch, self.head) = (epoch, head);
    }

    /// Has the next message be the one at a position that was given elsewhere; how many are missing
    /// before it, one if that cannot be known. `None` when it is here already.
    pub(super) fn advance_to(&mut self, position: Position) -> Option<u64> {
        let before = position.offset.checked_sub(1)?;
        let missing = match position.epoch == self.epoch {
            true => before.checked_sub(self.head)?,
            false => u64::from(self.head > 0),
        };
        if missing > 0 || position.epoch != self.epoch {
            self.restart(position.epoch, before);
        }
        Some(missing)
    }

    /// What is kept, for another node.
    pub(super) fn history(&self) -> History {
        let message = |kept: &Kept| {
            let payload_bytes = frames::payload_bytes(&kept.frame);
            let payload = kept.frame[kept.frame.len() - payload_bytes..].to_vec();
            HistoryMessage { kind: frames::kind(&kept.frame), payload, tags: kept.tags }
        };
        let messages = self.kept.iter().map(message).collect();
        History { position: self.position(), messages }
    }

    /// Takes in what another node has kept, as far as it is older than what is here.
    pub(super) fn seed(&mut self, history: &History) {
        let Position { epoch, offset } = history.position;
        if epoch != self.epoch {
            self.restart(epoch, offset);
        }
        let first_here = self.head - self.kept.len() as u64 + 1;
        // Nothing may be missing between the last of those and the first of these.
        let newer = (offset + 1).checked_sub(first_here);
        let Some(newer) = newer.filter(|_| offset <= self.head || self.kept.is_empty()) else {
            return;
        };
        let older = history.messages.iter().rev().skip(newer as usize);
        for message in older {
            let mut frame = Vec::new();
            frames::append(&mut frame, message.kind, &message.payload);
            let bytes = HistoryBytes::of(&frame);
            if self.kept.len() >= self.messages_max || self.all.is_exceeded(self.bytes + bytes) {
                break;
            }
            self.bytes += bytes;
            let frame = self.all.hold(&frame);
            self.kept.push_front(Kept { frame, tags: message.tags });
        }
        self.head = self.head.max(offset);
    }

    fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.head }
    }

    /// What came after a position and passes a filter; nothing if part of it is gone.
    pub(super) fn since(&self, from: Position, filter: u64) -> Recovered {
        let first_kept = self.head - self.kept.len() as u64;
        let complete = from.epoch == self.epoch && (first_kept..=self.head).contains(&from.offset);
        let skipped = from.offset.saturating_sub(first_kept) as usize;
        let missed = self.kept.iter().skip(skipped).filter(|kept| kept.tags & filter != 0);
        let frames =
            if complete { missed.map(|kept| kept.frame.clone()).collect() } else { vec![] };
        Recovered { position: Some(self.position()), complete, frames }
    }

    /// The last message, if one is wanted and it passes a filter.
    pub(super) fn last(&self, wanted: bool, filter: u64) -> Recovered {
        let last = self.kept.back().filter(|kept| wanted && kept.tags & filter != 0);
        let frames = last.map(|kept| kept.frame.clone()).into_iter().collect();
        Recovered { position: Some(self.position()), complete: true, frames }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.all.release(self.bytes);
    }
}
