//! What other threads hand to a shard: bounded in number and bytes, one lock held for a few
//! instructions, and one wake-up for all that arrives while the shard has not looked. It never
//! blocks whoever hands in, and never opens what it is handed.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Makes a shard look into its inlet.
pub(crate) trait Bell: Send + Sync {
    /// Wakes the shard, or has it look once more when it is awake.
    fn ring(&self);
}

/// A shard's inlet.
///
/// A place is reserved before it is filled, and with it the bytes of each message, so that a
/// publisher knows at once whether its messages get in, while the batch they are part of is still
/// growing.
///
/// Invariant: when something waits, the bell has been rung since the shard last looked, or the
/// thread that found the inlet empty is about to ring it.
// Apart from each other, so that shards do not contend for a cache line (or the next, which is
// fetched with it).
#[repr(align(128))]
pub(crate) struct Inlet<T> {
    waiting: Mutex<Waiting<T>>,
    /// Places filled or reserved.
    places: AtomicUsize,
    /// Bytes of what is in them or will be.
    bytes: AtomicUsize,
    stopped: AtomicBool,
    /// Deliveries that were given up for want of a place.
    refused: AtomicU64,
    places_max: usize,
    bytes_max: usize,
    bell: Arc<dyn Bell>,
}

#[derive(Debug)]
struct Waiting<T> {
    items: Vec<T>,
    /// How many of them have no place.
    notes: usize,
    /// Bytes of the others.
    bytes: usize,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { items: Vec::new(), notes: 0, bytes: 0 }
    }
}

impl<T> std::fmt::Debug for Inlet<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inlet").field("places", &self.places).finish_non_exhaustive()
    }
}

impl<T> Inlet<T> {
    /// An inlet that holds `places_max` items, and takes another while less than `bytes_max` wait.
    pub(crate) fn new(places_max: usize, bytes_max: usize, bell: Arc<dyn Bell>) -> Self {
        Self {
            waiting: Mutex::default(),
            places: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            places_max,
            bytes_max,
            bell,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a place for so many bytes, if there is one.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        if !self.takes_bytes() || self.stopped.load(Ordering::Relaxed) {
            return false;
        }
        let before = self.places.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before >= self.places_max {
            self.release(bytes);
        }
        before < self.places_max
    }

    /// Whether more bytes may be added. As several may ask before one of them adds, each of them may
    /// go beyond the bound by what it adds then.
    pub(crate) fn takes_bytes(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.bytes_max
    }

    /// Adds bytes to a reserved place.
    pub(crate) fn extend(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives a reserved place back with all its bytes.
    pub(crate) fn release(&self, bytes: usize) {
        self.places.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts messages that found no place, once for each subscriber who misses them.
    pub(crate) fn count_refused(&self, messages: u32, subscribers: usize) {
        let deliveries = u64::from(messages) * subscribers as u64;
        self.refused.fetch_add(deliveries, Ordering::Relaxed);
    }

    /// Deliveries that were given up for want of a place.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Fills a place that was reserved for so many bytes, and rings if nothing waited.
    pub(crate) fn fill(&self, item: T, bytes: usize) {
        if self.insert(item, bytes) {
            self.bell.ring();
        }
    }

    /// Fills a place that was reserved for so many bytes; whether the bell must be rung.
    pub(crate) fn insert(&self, item: T, bytes: usize) -> bool {
        let mut waiting = self.lock();
        if self.stopped.load(Ordering::Relaxed) {
            drop(waiting);
            self.release(bytes);
            return false;
        }
        waiting.bytes += bytes;
        waiting.items.push(item);
        waiting.items.len() == 1
    }

    /// Puts something in that needs no place, because whoever does so is bounded otherwise.
    pub(crate) fn note(&self, item: T) {
        if self.insert_note(item) {
            self.bell.ring();
        }
    }

    /// Puts something in that needs no place; whether the bell must be rung.
    fn insert_note(&self, item: T) -> bool {
        let mut waiting = self.lock();
        if self.stopped.load(Ordering::Relaxed) {
            return false;
        }
        waiting.items.push(item);
        waiting.notes += 1;
        waiting.items.len() == 1
    }

    /// Takes all that waits, in the order it came, into an empty list. The shard must have silenced
    /// the bell before.
    pub(crate) fn take(&self, taken: &mut Vec<T>) {
        let mut waiting = self.lock();
        std::mem::swap(&mut waiting.items, taken);
        self.give_back(&mut waiting, taken.len());
    }

    /// Refuses everything from now on.
    pub(crate) fn stop(&self) {
        let mut waiting = self.lock();
        self.stopped.store(true, Ordering::Relaxed);
        let dropped = std::mem::take(&mut waiting.items);
        self.give_back(&mut waiting, dropped.len());
    }

    /// Whether nothing waits and nothing is reserved.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        let counts = (self.places.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        self.lock().items.is_empty() && counts == (0, 0)
    }

    /// Counts what so many items took no more.
    fn give_back(&self, waiting: &mut Waiting<T>, items: usize) {
        let (notes, bytes) =
            (std::mem::take(&mut waiting.notes), std::mem::take(&mut waiting.bytes));
        self.places.fetch_sub(items - notes, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "inlet_tests.rs"]
mod tests;
