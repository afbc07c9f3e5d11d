//! Bytes that stay in memory for as long as anybody refers to them, each run counted once however
//! many queues hold parts of it. It refuses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// A count of bytes in memory.
// Apart from others, so that shards do not contend for a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Tally(AtomicUsize);

/// A run of bytes that is counted until the last who refers to it has let go.
struct Counted<T> {
    content: T,
    bytes: usize,
    tally: Arc<Tally>,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Counted<T> {
    fn as_ref(&self) -> &[u8] {
        self.content.as_ref()
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        self.tally.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Tally {
    /// Counts a run, and `beside` more bytes with it.
    pub(super) fn count<T>(self: &Arc<Self>, content: T, beside: usize) -> Bytes
    where
        T: AsRef<[u8]> + Send + 'static,
    {
        let bytes = content.as_ref().len() + beside;
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Bytes::from_owner(Counted { content, bytes, tally: Arc::clone(self) })
    }

    /// The bytes in memory now.
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_until_its_last_part_is_gone() {
        let tally = Arc::new(Tally::default());
        let whole = tally.count(vec![7; 100], 5);
        let part = whole.slice(90..);
        assert_eq!((tally.bytes(), &part[..]), (105, &[7; 10][..]));
        drop(whole);
        assert_eq!(tally.bytes(), 105);
        drop(part);
        assert_eq!(tally.bytes(), 0);
    }
}
