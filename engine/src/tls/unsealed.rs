//! Content on its way into records: a batch, and how much of it has been sealed. It knows no cipher.

use rustls::crypto::cipher::OutboundChunks;

use crate::buffer::{Batch, Pool};

/// A batch of which the front may have been sealed.
pub(super) struct Unsealed {
    batch: Batch,
    /// The first run that is not sealed, and how much of it is.
    index: usize,
    offset: usize,
}

impl Unsealed {
    pub(super) fn new(batch: Batch) -> Self {
        Self { batch, index: 0, offset: 0 }
    }

    /// Bytes that are not sealed.
    pub(super) fn left_bytes(&self) -> usize {
        let left = self.batch.segments().get(self.index..).unwrap_or_default();
        left.iter().map(|segment| segment.len()).sum::<usize>() - self.offset
    }

    pub(super) fn is_done(&self) -> bool {
        self.index >= self.batch.segments().len()
    }

    /// The content of the next record, empty at the end. `chunks` holds the list if that takes one.
    pub(super) fn next<'s>(
        &'s mut self,
        bytes_max: usize,
        chunks: &'s mut Vec<&'s [u8]>,
    ) -> OutboundChunks<'s> {
        let segments = self.batch.segments();
        let mut room = bytes_max;
        while room > 0 && self.index < segments.len() {
            let rest = &segments[self.index].bytes()[self.offset..];
            let taken = &rest[..room.min(rest.len())];
            if taken.len() < rest.len() {
                self.offset += taken.len();
            } else {
                (self.index, self.offset) = (self.index + 1, 0);
            }
            room -= taken.len();
            if chunks.is_empty() && (room == 0 || self.index == segments.len()) {
                return OutboundChunks::Single(taken);
            }
            if !taken.is_empty() {
                chunks.push(taken);
            }
        }
        if chunks.is_empty() { OutboundChunks::new_empty() } else { OutboundChunks::new(chunks) }
    }

    /// Returns what the batch holds to where it came from.
    pub(super) fn recycle(self, pool: &mut Pool) {
        self.batch.recycle(pool);
    }

    /// The part of the budget that the batch takes.
    #[cfg(test)]
    pub(super) fn counted_bytes(&self) -> usize {
        self.batch.segments().iter().map(|segment| segment.counted_bytes()).sum()
    }
}
