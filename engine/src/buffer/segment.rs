//! Runs of bytes that wait to be sent, and what leaves in one gathered send. Nothing is queued or
//! sent here.

use std::ops::Range;

use bytes::Bytes;

use super::Pool;

/// One contiguous run of bytes.
#[derive(Debug)]
pub enum Segment {
    /// Bytes of this connection alone, from `start` on; the vector returns to the pool.
    Owned {
        /// The bytes, with unused ones in front.
        bytes: Vec<u8>,
        /// Index of the first byte to send.
        start: usize,
    },
    /// Bytes that many connections share.
    Shared(Bytes),
    /// Bytes of this connection alone, in a vector that fits them and is of no further use.
    Sealed(Vec<u8>),
    /// A range of one of the driver's receive buffers. Only that driver can find the bytes; the
    /// number goes back to it through [`Pool::take_returned`].
    Lent {
        /// The driver's number of the buffer.
        buffer: u16,
        /// Where in it.
        range: Range<u32>,
    },
}

impl Segment {
    /// Nothing.
    pub const EMPTY: Self = Self::Owned { bytes: Vec::new(), start: 0 };

    /// The bytes to send; empty for a range of a receive buffer.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned { bytes, start } => &bytes[*start..],
            Self::Shared(bytes) => bytes,
            Self::Sealed(bytes) => bytes,
            Self::Lent { .. } => &[],
        }
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Lent { range, .. } => range.len(),
            other => other.bytes().len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory of this connection alone, which is what it takes of the budget.
    #[must_use]
    pub fn counted_bytes(&self) -> usize {
        match self {
            Self::Owned { bytes, .. } | Self::Sealed(bytes) => bytes.capacity(),
            Self::Shared(_) | Self::Lent { .. } => 0,
        }
    }

    /// Returns what was queued to where it came from.
    pub fn recycle(self, pool: &mut Pool) {
        pool.budget.release(self.counted_bytes());
        self.discard(pool);
    }

    /// Returns what was never queued to where it came from.
    pub fn discard(self, pool: &mut Pool) {
        match self {
            Self::Owned { bytes, .. } => pool.give(bytes),
            Self::Lent { buffer, .. } => pool.give_lent(buffer),
            Self::Shared(_) | Self::Sealed(_) => {}
        }
    }
}

/// What leaves in one gathered send.
#[derive(Debug)]
pub enum Batch {
    /// The usual case: one run of bytes, no gather list needed.
    One(Segment),
    /// Several runs, at most 1,024.
    Many(Vec<Segment>),
}

impl Batch {
    /// The runs in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        match self {
            Self::One(segment) => std::slice::from_ref(segment),
            Self::Many(segments) => segments,
        }
    }

    /// Bytes of all runs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segments().iter().map(Segment::len).sum()
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns what its runs hold to where it came from.
    pub fn recycle(self, pool: &mut Pool) {
        match self {
            Self::One(segment) => segment.recycle(pool),
            Self::Many(segments) => segments.into_iter().for_each(|segment| segment.recycle(pool)),
        }
    }
}
