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
/// A place is reserved before it is filled, so that a publisher knows at once whether its messages
/// get in, while the batch they are part of is still growing.
///
/// Invariant: when something waits, the bell has been rung since the shard last looked, or the
/// thread that found the inlet empty is about to ring it.
pub(crate) struct Inlet<T> {
    waiting: Mutex<Waiting<T>>,
    /// Places filled or reserved.
    places: AtomicUsize,
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
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { items: Vec::new(), notes: 0 }
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

    /// Reserves a place, if there is one.
    pub(crate) fn reserve(&self) -> bool {
        if self.bytes.load(Ordering::Relaxed) >= self.bytes_max
            || self.stopped.load(Ordering::Relaxed)
        {
            return false;
        }
        let before = self.places.fetch_add(1, Ordering::Relaxed);
        if before >= self.places_max {
            self.release();
        }
        before < self.places_max
    }

    /// Gives a reserved place back.
    pub(crate) fn release(&self) {
        self.places.fetch_sub(1, Ordering::Relaxed);
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

    /// Fills a reserved place and rings if nothing waited.
    pub(crate) fn fill(&self, item: T, bytes: usize) {
        if self.insert(item, bytes) {
            self.bell.ring();
        }
    }

    /// Fills a reserved place; whether the bell must be rung.
    pub(crate) fn insert(&self, item: T, bytes: usize) -> bool {
        let mut waiting = self.lock();
        if self.stopped.load(Ordering::Relaxed) {
            drop(waiting);
            self.release();
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        waiting.items.push(item);
        waiting.items.len() == 1
    }

    /// Puts something in that needs no place, because whoever does so is bounded otherwise.
    pub(crate) fn note(&self, item: T) {
        let mut waiting = self.lock();
        if self.stopped.load(Ordering::Relaxed) {
            return;
        }
        waiting.items.push(item);
        waiting.notes += 1;
        let first = waiting.items.len() == 1;
        drop(waiting);
        if first {
            self.bell.ring();
        }
    }

    /// Takes all that waits, in the order it came. The shard must have silenced the bell before.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut waiting = self.lock();
        let taken = std::mem::take(&mut *waiting);
        self.bytes.store(0, Ordering::Relaxed);
        self.places.fetch_sub(taken.items.len() - taken.notes, Ordering::Relaxed);
        taken.items
    }

    /// Refuses everything from now on.
    pub(crate) fn stop(&self) {
        let mut waiting = self.lock();
        self.stopped.store(true, Ordering::Relaxed);
        let dropped = std::mem::take(&mut *waiting);
        drop(waiting);
        self.places.fetch_sub(dropped.items.len() - dropped.notes, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "inlet_tests.rs"]
mod tests;
