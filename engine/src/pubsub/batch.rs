//! Messages of one topic as they travel: framed, one behind the other, with what must be known of
//! each only where something must be. It decides for nobody whether they are received.

use std::sync::Arc;

use bytes::Bytes;

use super::frames;
use crate::protocol::MessageKind;

/// How a message is published, beyond its topic.
///
/// ```
/// use ringsock::Publish;
/// let to_others = Publish { except_sender: true, ..Publish::default() };
/// assert_eq!(to_others.tags, u64::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Received by those whose filter has a bit in common with this. Default: all bits.
    pub tags: u64,
    /// Of messages with the same key only the latest is kept for a subscriber that reads too
    /// slowly, where the topic says [`SlowPolicy::Latest`](crate::SlowPolicy). Default 0: one key
    /// for the whole topic.
    pub key: u64,
    /// Whether the connection that publishes does not get the message though it is subscribed.
    /// Means nothing elsewhere than in [`Conn::publish_with`](crate::Conn::publish_with).
    /// Default: no.
    pub except_sender: bool,
}

impl Default for Publish {
    fn default() -> Self {
        Self { tags: u64::MAX, key: 0, except_sender: false }
    }
}

/// A subscriber that does not get a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Except {
    pub(super) shard: u32,
    pub(super) slot: u32,
}

/// What is known of one message of a batch.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Where its frame ends.
    end: usize,
    tags: u64,
    key: u64,
    except: Option<Except>,
}

/// A batch that still grows.
#[derive(Debug, Default)]
pub(super) struct OpenBatch {
    bytes: Vec<u8>,
    messages: u32,
    /// One for each message, as soon as one of them needs it.
    marks: Vec<Mark>,
}

impl OpenBatch {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Frames a message into the batch.
    pub(super) fn push(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        (tags, key): (u64, u64),
        except: Option<Except>,
    ) {
        let is_plain = tags == u64::MAX && key == 0 && except.is_none();
        if !is_plain && self.marks.is_empty() {
            let plain = |end| Mark { end, tags: u64::MAX, key: 0, except: None };
            self.marks = frames::ends(&self.bytes).map(plain).collect();
        }
        frames::append(&mut self.bytes, kind, payload);
        self.messages += 1;
        if !is_plain || !self.marks.is_empty() {
            self.marks.push(Mark { end: self.bytes.len(), tags, key, except });
        }
    }

    /// Ends it.
    pub(super) fn seal(&mut self) -> Batch {
        let marks = std::mem::take(&mut self.marks);
        Batch {
            frames: Bytes::from(std::mem::take(&mut self.bytes)),
            messages: std::mem::take(&mut self.messages),
            marks: (!marks.is_empty()).then(|| marks.into()),
        }
    }
}

/// Messages of one topic, shared by all who receive them.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) frames: Bytes,
    pub(super) messages: u32,
    marks: Option<Arc<[Mark]>>,
}

impl Batch {
    /// A batch of one message.
    pub(super) fn of_one(kind: MessageKind, payload: &[u8], how: Publish) -> Self {
        let mut open = OpenBatch::default();
        open.push(kind, payload, (how.tags, how.key), None);
        open.seal()
    }

    /// The same batch for another shard: counted there by a counter of its own, so that the
    /// shards do not contend for one, and without the exceptions, which are nobody there.
    pub(super) fn for_shard(&self, shard: usize) -> Self {
        let concerns = |mark: &Mark| {
            mark.tags != u64::MAX
                || mark.key != 0
                || mark.except.is_some_and(|e| e.shard as usize == shard)
        };
        let marks = self.marks.as_ref().filter(|marks| marks.iter().any(concerns));
        Self {
            frames: Bytes::from_owner(self.frames.clone()),
            messages: self.messages,
            marks: marks.cloned(),
        }
    }

    /// Whether every subscriber without a filter receives the whole batch.
    pub(super) fn is_plain(&self) -> bool {
        self.marks.is_none()
    }

    /// Calls `message` for each frame, with its tags.
    pub(super) fn each(&self, mut message: impl FnMut(&[u8], u64)) {
        let mut start = 0;
        let mut marks = self.marks.iter().flat_map(|marks| marks.iter());
        for end in frames::ends(&self.frames) {
            message(&self.frames[start..end], marks.next().map_or(u64::MAX, |mark| mark.tags));
            start = end;
        }
    }

    /// Calls `share` with each frame of a run that [`shares`](Self::shares) found, and its key.
    pub(super) fn split(&self, run: &Bytes, mut share: impl FnMut(&[u8], u64)) {
        let first = run.as_ptr().addr() - self.frames.as_ptr().addr();
        let marks = self.marks.as_deref().unwrap_or_default();
        let mut mark = marks.partition_point(|mark| mark.end <= first);
        let mut start = 0;
        for end in frames::ends(run) {
            share(&run[start..end], marks.get(mark).map_or(0, |mark| mark.key));
            (start, mark) = (end, mark + 1);
        }
    }

    /// Calls `share` for each run of whole messages that the subscriber gets: those behind the
    /// first `skipped` bytes that pass its filter.
    pub(super) fn shares(
        &self,
        subscriber: Except,
        filter: u64,
        skipped: usize,
        mut share: impl FnMut(Bytes, u32),
    ) {
        let Some(marks) = &self.marks else {
            if filter != 0 && skipped < self.frames.len() {
                let messages = match skipped {
                    0 => self.messages,
                    _ => frames::ends(&self.frames[skipped..]).count() as u32,
                };
                share(self.frames.slice(skipped..), messages);
            }
            return;
        };
        let (mut start, mut end, mut messages) = (0, 0, 0);
        for mark in marks.iter() {
            let from = end;
            end = mark.end;
            let passes = mark.tags & filter != 0 && mark.except != Some(subscriber);
            if passes && from >= skipped {
                if messages == 0 {
                    start = from;
                }
                messages += 1;
            } else if messages > 0 {
                share(self.frames.slice(start..from), std::mem::take(&mut messages));
            }
        }
        if messages > 0 {
            share(self.frames.slice(start..end), messages);
        }
    }
}
