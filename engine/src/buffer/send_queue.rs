//! What waits to be sent on one connection, in order. It does not frame, it does not send; it
//! hands all that waits to the driver as one [`Batch`], and counts bytes until they are sent.

use super::marks::{Mark, Marks};
use super::segments::Segments;
use super::{Batch, Pool, Segment};

/// Most segments of one batch: the kernel takes 1,024 slices in a gathered send.
const SEGMENTS_MAX: usize = 1024;
/// Shared runs up to this many bytes are copied if anything waits with them: until then one
/// contiguous send costs less than a gather list. Alone a run is sent from where it lies.
const JOINED_BYTES_MAX: usize = 4 * 1024;
/// Bytes after which a batch ends when messages that may be dropped wait: what has been taken can
/// neither be dropped nor replaced any more.
const MARKED_BATCH_BYTES: usize = 64 * 1024;

/// Segments from which on further ones are cut to size: the vectors of a few short messages cost less
/// to keep as they are, those of many would hold far more than is sent.
const ROOMY_SEGMENTS_MAX: usize = 16;

/// The queue of one connection. An idle one owns no memory beyond itself.
///
/// Invariant: `queued_bytes` = bytes in `older` + bytes in `tail` + bytes taken and not yet
/// reported sent. The pool's budget holds the room of each vector that is this queue's own, from the
/// moment it is queued until it is recycled.
#[derive(Debug, Default)]
pub struct SendQueue {
    /// What is before `tail`; absent unless something other than small frames was queued.
    older: Option<Box<Older>>,
    tail: Vec<u8>,
    queued_bytes: usize,
}

/// Invariant: `marks`, if there, describes each of `segments`.
#[derive(Debug, Default)]
struct Older {
    /// Goes before everything that waits.
    urgent: Vec<u8>,
    segments: Segments,
    marks: Option<Box<Marks>>,
}

impl Older {
    fn push(&mut self, mut segment: Segment, mark: Option<Mark>, pool: &mut Pool) {
        if self.segments.len() >= ROOMY_SEGMENTS_MAX {
            cut_to_size(&mut segment, pool);
        }
        self.segments.push_back(segment);
        if let Some(marks) = &mut self.marks {
            marks.push(mark);
        }
    }

    fn take_urgent(&mut self) -> Option<Segment> {
        let bytes = std::mem::take(&mut self.urgent);
        (!bytes.is_empty()).then_some(Segment::Owned { bytes, start: 0 })
    }
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

    /// Bytes that wait and that no send has taken yet.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        let segments = self.older.iter().flat_map(|older| older.segments.iter());
        let urgent = self.urgent_bytes();
        urgent + segments.map(Segment::len).sum::<usize>() + self.tail.len()
    }

    /// The sum of `count` over the runs of whole frames that wait and that no send has taken yet. A
    /// range of a receive buffer, whose bytes are not here, is one message.
    pub fn count_waiting(&self, count: impl Fn(&[u8]) -> u64) -> u64 {
        let segments = self.older.iter().flat_map(|older| older.segments.iter());
        let older: u64 = segments
            .map(|segment| match segment {
                Segment::Lent { .. } => 1,
                other => count(other.bytes()),
            })
            .sum();
        older + count(&self.tail)
    }

    /// Whether a message with this key waits.
    #[must_use]
    pub fn has_key(&self, key: Option<u64>) -> bool {
        let marks = self.older.as_ref().and_then(|older| older.marks.as_ref());
        key.zip(marks).is_some_and(|(key, marks)| marks.find(key).is_some())
    }

    /// Counts a segment that is kept elsewhere until it can be queued.
    pub fn set_aside(&mut self, segment: &Segment, pool: &mut Pool) {
        self.queued_bytes += segment.len();
        hold(segment, pool);
    }

    /// Counts a segment no more that was set aside.
    pub fn bring_back(&mut self, segment: &Segment, pool: &mut Pool) {
        self.queued_bytes = self.queued_bytes.saturating_sub(segment.len());
        pool.budget.release(segment.counted_bytes());
    }

    /// Appends through `write` to the contiguous tail; what it appends is counted. `expected` is
    /// about how many bytes that will be.
    #[inline]
    pub fn append(&mut self, pool: &mut Pool, expected: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let held = self.tail.capacity();
        if held == 0 {
            self.tail = pool.take(expected);
        }
        let before = self.tail.len();
        write(&mut self.tail);
        self.queued_bytes += self.tail.len().saturating_sub(before);
        pool.budget.hold(self.tail.capacity().saturating_sub(held));
    }

    /// Appends through `write` to what goes before everything that waits.
    pub fn append_urgent(&mut self, pool: &mut Pool, write: impl FnOnce(&mut Vec<u8>)) {
        let urgent = &mut self.older.get_or_insert_default().urgent;
        let (before, held) = (urgent.len(), urgent.capacity());
        write(urgent);
        self.queued_bytes += urgent.len().saturating_sub(before);
        pool.budget.hold(urgent.capacity().saturating_sub(held));
    }

    /// Bytes of what goes before everything that waits.
    #[must_use]
    pub fn urgent_bytes(&self) -> usize {
        self.older.as_ref().map_or(0, |older| older.urgent.len())
    }

    /// Appends a segment by reference, without copying it.
    pub fn push(&mut self, segment: Segment, pool: &mut Pool) {
        self.push_with(segment, None, pool);
    }

    /// Appends a segment that is about to leave with whatever waits: by reference if it is alone or
    /// long or nobody else's, otherwise as a copy. Where nothing leaves soon a copy would only take
    /// memory.
    #[inline]
    pub fn push_to_leave(&mut self, segment: Segment, pool: &mut Pool) {
        match segment {
            Segment::Shared(bytes) if bytes.len() <= JOINED_BYTES_MAX && self.has_waiting() => {
                self.join(&bytes, pool);
            }
            segment => self.push_with(segment, None, pool),
        }
    }

    /// Copies a short shared run behind what waits, and before that another that was alone.
    fn join(&mut self, bytes: &[u8], pool: &mut Pool) {
        if self.tail.is_empty()
            && let Some(older) = &mut self.older
            && older.marks.is_none()
            && let Some(last) = older.segments.pop_shared(JOINED_BYTES_MAX)
        {
            if older.segments.is_empty() && older.urgent.is_empty() {
                self.older = None;
            }
            self.queued_bytes -= last.len();
            self.append(pool, last.len() + bytes.len(), |out| out.extend_from_slice(&last));
        }
        self.append(pool, bytes.len(), |out| out.extend_from_slice(bytes));
    }

    /// Appends a message that may be dropped or replaced while it waits. When one with the same
    /// key waits already, this one takes its place; how many messages that made superfluous.
    pub fn push_marked(&mut self, mut segment: Segment, mark: Mark, pool: &mut Pool) -> u32 {
        let older = self.older.get_or_insert_default();
        let known = older.segments.len();
        let marks = older.marks.get_or_insert_with(|| Marks::unmarked(known));
        if let Some(key) = mark.key
            && let Some(index) = marks.find(key)
            && let Some(place) = older.segments.get_mut(index)
        {
            self.queued_bytes = self.queued_bytes + segment.len() - place.len();
            hold(&segment, pool);
            if known > ROOMY_SEGMENTS_MAX {
                cut_to_size(&mut segment, pool);
            }
            std::mem::replace(place, segment).recycle(pool);
            return marks.replace(index, mark);
        }
        self.push_with(segment, Some(mark), pool);
        0
    }

    fn push_with(&mut self, segment: Segment, mark: Option<Mark>, pool: &mut Pool) {
        let bytes = segment.len();
        if bytes == 0 {
            return segment.discard(pool);
        }
        self.queued_bytes += bytes;
        hold(&segment, pool);
        let older = self.older.get_or_insert_default();
        if !self.tail.is_empty() {
            let tail = Segment::Owned { bytes: std::mem::take(&mut self.tail), start: 0 };
            older.push(tail, None, pool);
        }
        older.push(segment, mark, pool);
    }

    /// Drops the oldest of the marked messages that wait; how many messages that were. `None` when
    /// none waits.
    pub fn drop_oldest(&mut self, pool: &mut Pool) -> Option<u32> {
        let older = self.older.as_mut()?;
        let marks = older.marks.as_mut()?;
        let (index, dropped) = marks.kill_oldest()?;
        let place = older.segments.get_mut(index)?;
        self.queued_bytes -= place.len();
        std::mem::replace(place, Segment::EMPTY).recycle(pool);
        if marks.is_sparse() {
            older.segments.compact();
            marks.compact();
        }
        Some(dropped)
    }

    /// Takes what waits, as much as one gathered send holds.
    pub fn take(&mut self) -> Option<Batch> {
        let Some(mut older) = self.older.take() else {
            if self.tail.is_empty() {
                return None;
            }
            let bytes = std::mem::take(&mut self.tail);
            return Some(Batch::One(Segment::Owned { bytes, start: 0 }));
        };
        if older.marks.is_some() || older.segments.len() >= SEGMENTS_MAX - 1 {
            return self.take_some(older);
        }
        let urgent = older.take_urgent();
        if !self.tail.is_empty() {
            let bytes = std::mem::take(&mut self.tail);
            older.segments.push_back(Segment::Owned { bytes, start: 0 });
        }
        match (urgent, older.segments.len()) {
            (None, 0) => None,
            (None, 1) => older.segments.pop_front().map(Batch::One),
            (Some(urgent), 0) => Some(Batch::One(urgent)),
            (urgent, _) => Some(Batch::Many(older.segments.into_vec(urgent))),
        }
    }

    /// Takes from the front, up to the bounds of a batch.
    fn take_some(&mut self, mut older: Box<Older>) -> Option<Batch> {
        let most_bytes = if older.marks.is_some() { MARKED_BATCH_BYTES } else { usize::MAX };
        let mut taken: Vec<Segment> = older.take_urgent().into_iter().collect();
        let mut bytes = 0;
        while bytes < most_bytes
            && taken.len() < SEGMENTS_MAX
            && let Some(segment) = older.segments.pop_front()
        {
            if let Some(marks) = &mut older.marks {
                marks.pop();
            }
            bytes += segment.len();
            if !segment.is_empty() {
                taken.push(segment);
            }
        }
        if !older.segments.is_empty() {
            self.older = Some(older);
        } else if taken.len() < SEGMENTS_MAX && !self.tail.is_empty() {
            taken.push(Segment::Owned { bytes: std::mem::take(&mut self.tail), start: 0 });
        }
        (!taken.is_empty()).then_some(Batch::Many(taken))
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
        pool.budget.release(self.tail.capacity());
        pool.give(std::mem::take(&mut self.tail));
    }

    /// Drops all that waits and was not taken, but for what goes before it.
    pub fn clear_all_but_urgent(&mut self, pool: &mut Pool) {
        let urgent = self.older.as_mut().map(|older| std::mem::take(&mut older.urgent));
        self.clear(pool);
        if let Some(urgent) = urgent.filter(|urgent| !urgent.is_empty()) {
            self.older.get_or_insert_default().urgent = urgent;
        }
    }

    /// What the budget holds for this queue: all but what was taken.
    #[cfg(test)]
    pub fn counted_bytes(&self) -> usize {
        let older = self.older.iter().map(|older| {
            let segments = older.segments.iter().map(Segment::counted_bytes);
            older.urgent.capacity() + segments.sum::<usize>()
        });
        older.sum::<usize>() + self.tail.capacity()
    }
}

fn hold(segment: &Segment, pool: &mut Pool) {
    pool.budget.hold(segment.counted_bytes());
}

/// Lets go of room that a counted segment does not use, if that is most of it.
fn cut_to_size(segment: &mut Segment, pool: &mut Pool) {
    if let Segment::Owned { bytes, .. } = segment
        && bytes.capacity() > 2 * bytes.len()
    {
        let before = bytes.capacity();
        bytes.shrink_to_fit();
        pool.budget.release(before - bytes.capacity());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

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
        queue.push(Segment::Shared(Bytes::from_static(b"22")), &mut pool);
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"3"));
        queue.push(Segment::Owned { bytes: b"xx44".to_vec(), start: 2 }, &mut pool);
        let batch = queue.take().unwrap();
        assert_eq!(flat(&batch), b"122344");
        assert_eq!(batch.len(), 6);
        assert!(queue.take().is_none());
    }

    #[test]
    fn a_batch_never_holds_more_segments_than_the_kernel_takes() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        let long = Bytes::from(vec![b'x'; JOINED_BYTES_MAX + 1]);
        for _ in 0..SEGMENTS_MAX + 10 {
            queue.push(Segment::Shared(long.clone()), &mut pool);
        }
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"y"));
        let first = queue.take().unwrap();
        assert_eq!(first.segments().len(), SEGMENTS_MAX);
        let second = queue.take().unwrap();
        assert_eq!((second.segments().len(), second.len()), (11, 10 * long.len() + 1));
        assert!(queue.take().is_none());
    }

    #[test]
    fn short_shared_runs_are_sent_from_where_they_lie_alone_and_together_as_one() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        let shared = |byte, length| Segment::Shared(Bytes::from(vec![byte; length]));
        queue.push_to_leave(shared(b'a', 100), &mut pool);
        let alone = queue.take().unwrap();
        assert!(matches!(alone, Batch::One(Segment::Shared(_))), "{alone:?}");
        queue.sent(100);
        for byte in b'b'..b'f' {
            queue.push_to_leave(shared(byte, 2), &mut pool);
        }
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"own"));
        assert_eq!((queue.queued_bytes(), queue.waiting_bytes()), (11, 11));
        assert_eq!(pool.budget.held_bytes(), queue.counted_bytes(), "copies count");
        assert!(pool.budget.held_bytes() >= 11);
        let together = queue.take().unwrap();
        assert!(matches!(together, Batch::One(Segment::Owned { .. })), "{together:?}");
        assert_eq!(flat(&together), b"bbccddeeown");
        together.recycle(&mut pool);
        // For later they stay shared.
        for byte in [b'x', b'y'] {
            queue.push(shared(byte, 1), &mut pool);
        }
        assert_eq!((queue.take().unwrap().segments().len(), pool.budget.held_bytes()), (2, 0));
        // A long one is never copied, and what comes behind it stays behind it.
        queue.push_to_leave(shared(b'g', 2), &mut pool);
        queue.push_to_leave(shared(b'h', JOINED_BYTES_MAX + 1), &mut pool);
        for byte in [b'i', b'j'] {
            queue.push_to_leave(shared(byte, 1), &mut pool);
        }
        let lengths: Vec<_> = queue.take().unwrap().segments().iter().map(Segment::len).collect();
        assert_eq!(lengths, [2, JOINED_BYTES_MAX + 1, 2]);
        // One that may be dropped keeps its place.
        queue.push_marked(shared(b'k', 1), one(None), &mut pool);
        queue.push_to_leave(shared(b'l', 1), &mut pool);
        assert_eq!(queue.drop_oldest(&mut pool), Some(1));
        assert_eq!(flat(&queue.take().unwrap()), b"l");
    }

    #[test]
    fn ranges_of_receive_buffers_keep_their_place_and_go_back_when_dropped() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"1"));
        queue.push(Segment::Lent { buffer: 7, range: 2..5 }, &mut pool);
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"2"));
        assert_eq!(queue.queued_bytes(), 5);
        let batch = queue.take().unwrap();
        let lengths: Vec<_> = batch.segments().iter().map(Segment::len).collect();
        assert_eq!((lengths, batch.len()), (vec![1, 3, 1], 5));
        batch.recycle(&mut pool);
        queue.push(Segment::Lent { buffer: 8, range: 0..9 }, &mut pool);
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

    #[test]
    fn clearing_all_but_what_is_urgent_leaves_that_and_its_counts() {
        let (mut pool, mut queue) = (Pool::new(), SendQueue::default());
        queue.push(Segment::Shared(Bytes::from_static(b"shared")), &mut pool);
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"tail"));
        queue.append_urgent(&mut pool, |out| out.extend_from_slice(b"urgent"));
        queue.clear_all_but_urgent(&mut pool);
        assert_eq!((queue.queued_bytes(), queue.counted_bytes()), (6, pool.budget.held_bytes()));
        assert_eq!(flat(&queue.take().unwrap()), b"urgent");
        queue.clear_all_but_urgent(&mut pool);
        assert!(!queue.has_waiting());
    }

    fn owned(bytes: &[u8]) -> Segment {
        Segment::Owned { bytes: bytes.to_vec(), start: 0 }
    }

    fn one(key: Option<u64>) -> Mark {
        Mark { key, messages: 1 }
    }

    #[test]
    fn what_is_urgent_goes_before_all_that_waits_and_keeps_its_own_order() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"tail"));
        queue.append_urgent(&mut pool, |out| out.extend_from_slice(b"1"));
        queue.append_urgent(&mut pool, |out| out.extend_from_slice(b"2"));
        assert_eq!((queue.queued_bytes(), queue.waiting_bytes(), queue.urgent_bytes()), (6, 6, 2));
        assert_eq!(flat(&queue.take().unwrap()), b"12tail");
        assert!(!queue.has_waiting());
    }

    #[test]
    fn a_keyed_message_takes_the_place_of_the_one_that_waits() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"x"));
        assert_eq!(queue.push_marked(owned(b"a1"), one(Some(1)), &mut pool), 0);
        assert_eq!(queue.push_marked(owned(b"b"), one(Some(2)), &mut pool), 0);
        assert_eq!(queue.push_marked(owned(b"a22"), one(Some(1)), &mut pool), 1);
        assert_eq!(queue.queued_bytes(), 5);
        assert_eq!(flat(&queue.take().unwrap()), b"xa22b");
        // What has been taken is not replaced.
        assert_eq!(queue.push_marked(owned(b"a3"), one(Some(1)), &mut pool), 0);
        assert_eq!(flat(&queue.take().unwrap()), b"a3");
    }

    #[test]
    fn the_oldest_marked_message_is_dropped_and_nothing_else() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        queue.push_marked(owned(b"old"), one(None), &mut pool);
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"control"));
        queue.push_marked(owned(b"newer"), Mark { key: Some(3), messages: 4 }, &mut pool);
        assert_eq!(queue.drop_oldest(&mut pool), Some(1));
        assert_eq!(queue.drop_oldest(&mut pool), Some(4));
        assert_eq!(queue.drop_oldest(&mut pool), None);
        assert_eq!(queue.queued_bytes(), 7);
        let batch = queue.take().unwrap();
        assert_eq!(flat(&batch), b"control");
        assert_eq!(pool.budget.held_bytes(), batch.segments()[0].counted_bytes());
        batch.recycle(&mut pool);
        assert_eq!(pool.budget.held_bytes(), 0);
    }

    #[test]
    fn many_short_messages_hold_about_what_they_are() {
        let (mut pool, mut queue) = (Pool::new(), SendQueue::default());
        for round in 0..10_000u32 {
            queue.append(&mut pool, 20, |out| out.extend_from_slice(&round.to_be_bytes()));
            let mut message = pool.take(20);
            message.extend_from_slice(&[1; 20]);
            let segment = Segment::Owned { bytes: message, start: 0 };
            match round % 3 {
                0 => queue.push(Segment::Shared(Bytes::from_static(b"shared")), &mut pool),
                1 => queue.push(segment, &mut pool),
                _ => assert_eq!(queue.push_marked(segment, one(None), &mut pool), 0),
            }
            assert_eq!(queue.counted_bytes(), pool.budget.held_bytes());
        }
        let surplus = pool.budget.held_bytes() - queue.queued_bytes();
        assert!(surplus < 70_000, "{surplus} bytes more than are queued");
        queue.clear(&mut pool);
        assert_eq!((queue.queued_bytes(), pool.budget.held_bytes()), (0, 0));
    }

    #[test]
    fn a_batch_of_marked_messages_stays_small_so_that_the_rest_can_still_be_dropped() {
        let mut pool = Pool::new();
        let mut queue = SendQueue::default();
        for _ in 0..10 {
            queue.push_marked(owned(&[7; 20_000]), one(None), &mut pool);
        }
        queue.append(&mut pool, 8, |out| out.extend_from_slice(b"tail"));
        assert_eq!(queue.take().unwrap().len(), 80_000);
        assert_eq!(queue.drop_oldest(&mut pool), Some(1));
        assert_eq!(queue.take().unwrap().len(), 80_000);
        assert_eq!(flat(&queue.take().unwrap())[20_000..], *b"tail");
        assert!(queue.take().is_none());
    }

    /// Random use against a plain list of messages, in which a stalled peer takes nothing for long.
    #[test]
    fn dropping_and_replacing_agree_with_a_plain_list() {
        let (mut pool, mut queue) = (Pool::new(), SendQueue::default());
        let mut list: Vec<(Option<u64>, u32)> = Vec::new();
        let mut random = 7u64;
        for number in 0..50_000u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let segment = owned(&number.to_be_bytes());
            match (random >> 33) % 100 {
                0 => {
                    let sent: Vec<u8> = list.drain(..).flat_map(|(_, n)| n.to_be_bytes()).collect();
                    let mut batches = Vec::new();
                    while let Some(batch) = queue.take() {
                        batches.extend(flat(&batch));
                        queue.sent(batch.len());
                        batch.recycle(&mut pool);
                    }
                    assert_eq!(batches, sent);
                    assert_eq!((queue.queued_bytes(), pool.budget.held_bytes()), (0, 0));
                }
                1..30 => {
                    queue.drop_oldest(&mut pool);
                    if let Some(index) = list.iter().position(|(key, _)| *key != Some(u64::MAX)) {
                        list.remove(index);
                    }
                }
                30..40 => {
                    queue.push(segment, &mut pool);
                    list.push((Some(u64::MAX), number));
                }
                _ => {
                    let key = Some((random >> 40) % 200).filter(|key| *key < 50);
                    let replaced = queue.push_marked(segment, one(key), &mut pool);
                    let known = list.iter_mut().find(|(other, _)| key.is_some() && *other == key);
                    assert_eq!(replaced == 1, known.is_some());
                    match known {
                        Some(known) => known.1 = number,
                        None => list.push((key, number)),
                    }
                }
            }
            assert_eq!(queue.queued_bytes(), 4 * list.len());
            assert_eq!(queue.counted_bytes(), pool.budget.held_bytes());
        }
    }
}
