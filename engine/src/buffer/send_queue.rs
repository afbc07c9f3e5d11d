//! What waits to be sent on one connection, in order. It does not frame, it does not send; it
//! hands all that waits to the driver as one [`Batch`], and counts bytes until they are sent.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::Pool;

/// Most segments of one batch: the kernel takes 1,024 slices in a gathered send.
const SEGMENTS_MAX: usize = 1024;

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
    /// The bytes to send; empty for a range of a receive buffer.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned { bytes, start } => &bytes[*start..],
            Self::Shared(bytes) => bytes,
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

    /// Returns what it holds to where it came from.
    pub fn recycle(self, pool: &mut Pool) {
        match self {
            Self::Owned { bytes, .. } => pool.give(bytes),
            Self::Lent { buffer, .. } => pool.give_lent(buffer),
            Self::Shared(_) => {}
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

/// The queue of one connection. An idle one owns no memory beyond itself.
///
/// Invariant: `queued_bytes` = bytes in `older` + bytes in `tail` + bytes taken and not yet
/// reported sent.
#[derive(Debug, Default)]
pub struct SendQueue {
    /// Segments before `tail`; absent unless something other than small frames was queued.
    #[expect(clippy::box_collection, reason = "one word, because most queues never need it")]
    older: Option<Box<VecDeque<Segment>>>,
    tail: Vec<u8>,
    queued_bytes: usize,
}

impl SendQueue {
    /// Bytes queued and not yet sent, those in flight included.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether bytes wait that no send has taken yet.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.tail.is_empty() || self.older.is_some()
    }

    /// Bytes that wait and that no send has taken yet, in the contiguous tail.
    #[must_use]
    pub fn tail_bytes(&self) -> usize {
        self.tail.len()
    }

    /// Appends through `write` to the contiguous tail; what it appends is counted. `expected` is
    /// about how many bytes that will be.
    #[inline]
    pub fn append(&mut self, pool: &mut Pool, expected: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if self.tail.capacity() == 0 {
            self.tail = pool.take(expected);
        }
        let before = self.tail.len();
        write(&mut self.tail);
        self.queued_bytes += self.tail.len().saturating_sub(before);
    }

    /// Appends a segment by reference, without copying it.
    pub fn push(&mut self, segment: Segment) {
        let bytes = segment.len();
        if bytes == 0 {
            return;
        }
        self.queued_bytes += bytes;
        let older = self.older.get_or_insert_default();
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            older.push_back(Segment::Owned { bytes: tail, start: 0 });
        }
        older.push_back(segment);
    }

    /// Takes what waits, as much as one gathered send holds.
    pub fn take(&mut self) -> Option<Batch> {
        if let Some(older) = &mut self.older
            && older.len() > SEGMENTS_MAX - 1
        {
            let segments = older.drain(..SEGMENTS_MAX.min(older.len())).collect();
            if older.is_empty() {
                self.older = None;
            }
            return Some(Batch::Many(segments));
        }
        let tail = Segment::Owned { bytes: std::mem::take(&mut self.tail), start: 0 };
        let tail_is_empty = tail.is_empty();
        let Some(mut older) = self.older.take() else {
            return (!tail_is_empty).then_some(Batch::One(tail));
        };
        if !tail_is_empty {
            older.push_back(tail);
        }
        match older.len() {
            1 => older.pop_front().map(Batch::One),
            _ => Some(Batch::Many((*older).into())),
        }
    }

    /// Says that `bytes` of what was taken have been sent (or given up).
    pub fn sent(&mut self, bytes: usize) {
        self.queued_bytes = self.queued_bytes.saturating_sub(bytes);
    }

    /// Drops all that waits and was not taken.
    pub fn clear(&mut self, pool: &mut Pool) {
        while let Some(batch) = self.take() {
            self.queued_bytes = self.queued_bytes.saturating_sub(batch.len());
            batch.recycle(pool);
        }
        pool.give(std::mem::take(&mut self.tail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(batch: &Batch) -> Vec<u8> {
        batch.segments().iter().flat_map(|segment| segment.bytes().to_vec()).collect()
    }

    #[test]
    fn small_appends_leave_as_one_run() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"ab"));
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"cd"));
        assert_eq!(queue.queued_bytes(), 4);
        let batch = queue.take().unwrap();
        assert!(matches!(batch, Batch::One(_)));
        assert_eq!(flat(&batch), b"abcd");
        assert!(!queue.has_waiting());
        assert_eq!(queue.queued_bytes(), 4);
        queue.sent(4);
        assert_eq!(queue.queued_bytes(), 0);
    }

    #[test]
    fn order_holds_between_copied_and_shared_segments() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"1"));
        queue.push(Segment::Shared(Bytes::from_static(b"22")));
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"3"));
        queue.push(Segment::Owned { bytes: b"xx44".to_vec(), start: 2 });
        let batch = queue.take().unwrap();
        assert_eq!(flat(&batch), b"122344");
        assert_eq!(batch.len(), 6);
        assert!(queue.take().is_none());
    }

    #[test]
    fn a_batch_never_holds_more_segments_than_the_kernel_takes() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        for _ in 0..SEGMENTS_MAX + 10 {
            queue.push(Segment::Shared(Bytes::from_static(b"x")));
        }
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"y"));
        let first = queue.take().unwrap();
        assert_eq!(first.segments().len(), SEGMENTS_MAX);
        let second = queue.take().unwrap();
        assert_eq!(flat(&second), b"xxxxxxxxxxy");
        assert!(queue.take().is_none());
    }

    #[test]
    fn ranges_of_receive_buffers_keep_their_place_and_go_back_when_dropped() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"1"));
        queue.push(Segment::Lent { buffer: 7, range: 2..5 });
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"2"));
        assert_eq!(queue.queued_bytes(), 5);
        let batch = queue.take().unwrap();
        let lengths: Vec<_> = batch.segments().iter().map(Segment::len).collect();
        assert_eq!((lengths, batch.len()), (vec![1, 3, 1], 5));
        batch.recycle(&mut pool);
        queue.push(Segment::Lent { buffer: 8, range: 0..9 });
        queue.clear(&mut pool);
        assert_eq!(pool.take_returned(), [7, 8]);
    }

    #[test]
    fn clearing_forgets_what_waits_but_not_what_is_in_flight() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"flying"));
        let batch = queue.take().unwrap();
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"waiting"));
        queue.clear(&mut pool);
        assert_eq!(queue.queued_bytes(), batch.len());
        assert!(!queue.has_waiting());
    }
}
