//! Vectors kept for reuse, newest first, so that the ones in use stay in the cache. The pool never
//! decides how large a message may be; it only bounds what it keeps.

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

/// Vectors of one shard waiting for reuse.
#[derive(Debug, Default)]
pub struct Pool {
    /// What connections make the shard hold. The pool only carries it to where that changes.
    pub budget: Budget,
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
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

    /// An empty vector for at least `bytes` bytes, which the caller holds already or is about to
    /// write: never a length that a peer merely announced. May be larger when one is at hand.
    #[must_use]
    pub fn take(&mut self, bytes: usize) -> Vec<u8> {
        if bytes <= SMALL_BYTES {
            return self.take_small();
        }
        if let Some(vector) = self.large.pop() {
            self.large_bytes -= vector.capacity();
            if vector.capacity() >= bytes {
                return vector;
            }
        }
        Vec::with_capacity(bytes)
    }

    /// Takes a vector back, or frees it when enough are kept.
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
        } else if self.large_bytes + capacity <= LARGE_BYTES_KEPT_MAX {
            self.large_bytes += capacity;
            self.large.push(vector);
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

    /// Frees what is kept beyond a small working set; called when the shard has nothing to do.
    pub fn trim(&mut self) {
        self.large.clear();
        self.large_bytes = 0;
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
        pool.trim();
        assert!(pool.kept_bytes() <= SMALL_KEPT_MAX * SMALL_BYTES_MAX);
    }

    #[test]
    fn a_large_vector_serves_a_later_large_message() {
        let mut pool = Pool::new();
        pool.give(Vec::with_capacity(1 << 20));
        assert!(pool.take(100_000).capacity() >= 1 << 20);
        assert_eq!(pool.kept_bytes(), 0);
    }
}
