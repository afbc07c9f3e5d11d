//! How many topics keep a history, and which of them nobody is subscribed to, the one to be
//! forgotten next first. It keeps no messages and forgets no topic itself.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::entry::Entry;
use super::tally::Tally;
use crate::limits::Limits;

/// The histories of a server.
///
/// Invariant: `topics` counts those that are listed in the exchange and those for which a place is
/// reserved; a topic is in `idle` at most once.
#[derive(Debug)]
pub(super) struct Histories {
    inner: Mutex<Inner>,
    topics_max: usize,
    pub(super) bytes: Arc<HistoryBytes>,
}

#[derive(Debug, Default)]
struct Inner {
    topics: usize,
    idle: VecDeque<Arc<Entry>>,
}

/// What a message that is kept takes beside its own bytes.
const PLACE_BYTES: usize = 96;

/// What all histories hold together.
#[derive(Debug)]
pub(super) struct HistoryBytes {
    held: AtomicUsize,
    /// Of all messages that were kept, those that are still in memory.
    alive: Arc<Tally>,
    each_max: usize,
    all_max: usize,
}

impl HistoryBytes {
    /// What a history holds for a message.
    pub(super) fn of(frame: &[u8]) -> usize {
        frame.len() + PLACE_BYTES
    }

    /// A copy of a message for a history: a slice would keep its whole batch.
    pub(super) fn hold(&self, frame: &[u8]) -> Bytes {
        self.held.fetch_add(Self::of(frame), Ordering::Relaxed);
        self.alive.count(frame.to_vec(), PLACE_BYTES)
    }

    pub(super) fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What is in no history any more and still in memory, because somebody is to receive it.
    pub(super) fn outdated(&self) -> usize {
        let alive = self.alive.bytes();
        alive.saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// Whether a history that holds this much must drop something.
    pub(super) fn is_exceeded(&self, own: usize) -> bool {
        own > self.each_max || self.held.load(Ordering::Relaxed) > self.all_max
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Histories {
    pub(super) fn new(limits: &Limits) -> Self {
        let (each_max, all_max) = (limits.history_bytes_max, limits.history_total_bytes_max);
        let (held, alive) = (AtomicUsize::new(0), Arc::default());
        let bytes = Arc::new(HistoryBytes { held, alive, each_max, all_max });
        Self { inner: Mutex::default(), topics_max: limits.histories_max, bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a place for another history, if need be that of one which `forget` can forget.
    pub(super) fn reserve(&self, forget: impl Fn(&Arc<Entry>) -> bool) -> bool {
        loop {
            let mut inner = self.lock();
            if inner.topics < self.topics_max {
                inner.topics += 1;
                return true;
            }
            let Some(oldest) = inner.idle.pop_front() else { return false };
            oldest.set_idle(false);
            drop(inner);
            if forget(&oldest) {
                return true;
            }
            // Somebody has come back to it. Whoever leaves it next lists it again, unless that has
            // just happened.
            self.note_idle(&oldest);
        }
    }

    /// Gives a place back.
    pub(super) fn release(&self) {
        self.lock().topics -= 1;
    }

    /// Lists a topic that nobody is subscribed to.
    pub(super) fn note_idle(&self, entry: &Arc<Entry>) {
        let mut inner = self.lock();
        if entry.is_deserted() && entry.is_listed() && !entry.set_idle(true) {
            inner.idle.push_back(Arc::clone(entry));
        }
    }

    #[cfg(test)]
    pub(super) fn topics(&self) -> usize {
        self.lock().topics
    }
}
