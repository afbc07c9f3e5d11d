//! Vectors kept for reuse, newest first, so that the ones in use stay in the cache. The pool never
//! decides how large a message may be; it only bounds what it keeps.

use std::collections::VecDeque;

use super::Budget;

/// Capacity of a fresh small buffer: holds a burst of short replies without growing.
const SMALL_BYTES: usize = 2 * 1024;
/// A vector that grew beyond this is kept among the large ones.
const SMALL_BYTES_MAX: usize = 16 * 1024;
/// Small vectors kept. 64 of them serve any number of connections, because one is held only from
/// the first queued byte to the completion of its send.
const SMALL_KEPT_MAX: usize = 64;
/// Bytes kept in large vectors: the working set of a few busy large-message connections.
const LARGE_BYTES_KEPT_MAX: usize = 32 * 1024 * 1024;
/// Large vectors looked at for one that fits.
const LOOKED_AT_MAX: usize = 16;

/// Vectors of one shard waiting for reuse.
#[derive(Debug, Default)]
pub struct Pool {
    /// What connections make the shard hold. The pool only carries it to where that changes.
    pub budget: Budget,
    small: Vec<Vec<u8>>,
    /// The one kept last at the back.
    large: VecDeque<Vec<u8>>,
    large_bytes: usize,
    /// Receive buffers that were sent from and are not any more.
    returned: Vec<u16>,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty vector for a few short frames.
    #[must_use]
    pub fn take_small(&mut self) -> Vec<u8> {
        self.small.pop().unwrap_or_else(|| Vec::with_capacity(SMALL_BYTES))
    }

    /// An empty vector for `bytes` bytes, which the caller holds already or is about to write. It
    /// has at most twice that room, or that of a fresh small one.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> Vec<u8> {
        self.take_roomy(bytes, bytes)
    }

    /// The same for bytes of which there may come to be `bytes_announced`. Room for those is given
    /// only if a kept vector has it, because an announcement costs a peer nothing: none is
    /// allocated. What is given is never more than twice what can be used, and the caller counts
    /// all of it against the budget.
    #[must_use]
    pub fn take_roomy(&mut self, bytes: usize, bytes_announced: usize) -> Vec<u8> {
        if bytes <= SMALL_BYTES && bytes_announced <= SMALL_BYTES_MAX {
            return self.take_small();
        }
        let useful = bytes..=bytes_announced.max(bytes).saturating_mul(2);
        let mut newest = self.large.iter().rev().take(LOOKED_AT_MAX);
        if let Some(back) = newest.position(|vector| useful.contains(&vector.capacity()))
            && let Some(vector) = self.large.remove(self.large.len() - 1 - back)
        {
            self.large_bytes -= vector.capacity();
            return vector;
        }
        if bytes <= SMALL_BYTES { self.take_small() } else { Vec::with_capacity(bytes) }
    }

    /// Takes a vector back. When too much is kept, those that nobody has taken for longest are freed.
    pub fn give(&mut self, mut vector: Vec<u8>) {
        let capacity = vector.capacity();
        vector.clear();
        if capacity < SMALL_BYTES {
            // From elsewhere: whoever took it would have to make it grow.
            return;
        }
        if capacity <= SMALL_BYTES_MAX {
            if self.small.len() < SMALL_KEPT_MAX {
                self.small.push(vector);
            }
        } else if capacity <= LARGE_BYTES_KEPT_MAX {
            self.large_bytes += capacity;
            self.large.push_back(vector);
            while self.large_bytes > LARGE_BYTES_KEPT_MAX
                && let Some(oldest) = self.large.pop_front()
            {
                self.large_bytes -= oldest.capacity();
            }
        }
    }

    /// Takes a share of a receive buffer back, for the driver.
    pub fn give_lent(&mut self, buffer: u16) {
        self.returned.push(buffer);
    }

    /// The shares that came back, one number for each.
    pub fn take_returned(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.returned)
    }

    /// Whether shares came back.
    #[must_use]
    pub fn has_returned(&self) -> bool {
        !self.returned.is_empty()
    }

    /// Keeps a vector from [`take_returned`](Self::take_returned) for the next ones.
    pub fn reuse_returned(&mut self, mut emptied: Vec<u16>) {
        emptied.clear();
        emptied.append(&mut self.returned);
        self.returned = emptied;
    }

    /// Bytes of capacity kept.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.large_bytes + self.small.iter().map(Vec::capacity).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_vector_comes_back_first() {
        let mut pool = Pool::new();
        let mut vector = pool.take_small();
        vector.extend_from_slice(b"used");
        let address = vector.as_ptr();
        pool.give(vector);
        let again = pool.take(100);
        assert_eq!(again.as_ptr(), address);
        assert!(again.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut pool = Pool::new();
        for _ in 0..1000 {
            pool.give(Vec::with_capacity(SMALL_BYTES));
            pool.give(Vec::with_capacity(1 << 20));
        }
        assert!(pool.kept_bytes() <= LARGE_BYTES_KEPT_MAX + SMALL_KEPT_MAX * SMALL_BYTES_MAX);
    }

    #[test]
    fn a_large_vector_serves_a_later_large_message() {
        let mut pool = Pool::new();
        pool.give(Vec::with_capacity(1 << 20));
        assert_eq!(pool.take(1_000_000).capacity(), 1 << 20);
        assert_eq!(pool.kept_bytes(), 0);
    }

    #[test]
    fn nobody_gets_more_than_twice_what_can_be_used() {
        let mut pool = Pool::new();
        pool.give(Vec::with_capacity(16 << 20));
        pool.give(Vec::with_capacity(1 << 20));
        for (bytes, announced, capacity_max) in [
            (100, 100, SMALL_BYTES),
            (3_000, 3_000, 6_000),
            (3_000, 60_000, 120_000),
            (100, 500_000, SMALL_BYTES),
        ] {
            let vector = pool.take_roomy(bytes, announced);
            assert!((bytes..=capacity_max).contains(&vector.capacity()), "{bytes} of {announced}");
        }
        assert_eq!(pool.take_roomy(100, 600_000).capacity(), 1 << 20);
        assert_eq!(pool.take_roomy(64 << 10, 15 << 20).capacity(), 16 << 20);
        assert_eq!(pool.kept_bytes(), 0);
    }

    #[test]
    fn sizes_that_nobody_takes_make_place_for_those_in_use() {
        let mut pool = Pool::new();
        pool.give(Vec::with_capacity(30 << 20));
        pool.give(Vec::with_capacity(4 << 20));
        assert_eq!(pool.kept_bytes(), 4 << 20);
    }
}
