//! Messages of one topic as they travel: framed, one behind the other, with what must be known of
//! each only where something must be. It decides for nobody whether they are received.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::frames;
use super::options::TopicOptions;
use super::tally::Tally;
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

/// A message that is not framed yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) kind: MessageKind,
    pub(super) payload: &'a [u8],
    pub(super) tags: u64,
    pub(super) key: u64,
    /// The slot of the subscriber who does not get it, on the shard that it is published on.
    pub(super) except: Option<u32>,
    /// Those of its topic.
    pub(super) options: TopicOptions,
}

impl Outgoing<'_> {
    /// Whether every subscriber without a filter gets it like any other.
    fn is_plain(&self) -> bool {
        self.tags == u64::MAX && self.key == 0 && self.except.is_none()
    }
}

/// What is known of one message of a batch.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Where its frame ends.
    end: usize,
    tags: u64,
    key: u64,
    except: Option<u32>,
}

impl Mark {
    fn plain(end: usize) -> Self {
        Self { end, tags: u64::MAX, key: 0, except: None }
    }

    fn passes(&self, filter: u64) -> bool {
        self.tags & filter != 0
    }
}

/// A batch that still grows.
#[derive(Debug, Default)]
pub(super) struct OpenBatch {
    bytes: Vec<u8>,
    messages: u32,
    /// One for each message, as soon as one of them needs it.
    marks: Vec<Mark>,
    options: TopicOptions,
}

impl OpenBatch {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn messages(&self) -> u32 {
        self.messages
    }

    /// Whether a message of a topic with these options can be part of it.
    pub(super) fn suits(&self, options: &TopicOptions) -> bool {
        self.is_empty() || self.options == *options
    }

    /// Frames a message into the batch.
    pub(super) fn push(&mut self, message: &Outgoing<'_>) {
        if !message.is_plain() && self.marks.is_empty() {
            self.marks = frames::ends(&self.bytes).map(Mark::plain).collect();
        }
        frames::append(&mut self.bytes, message.kind, message.payload);
        self.messages += 1;
        self.options = message.options;
        if !message.is_plain() || !self.marks.is_empty() {
            let Outgoing { tags, key, except, .. } = *message;
            self.marks.push(Mark { end: self.bytes.len(), tags, key, except });
        }
    }

    /// Ends it.
    pub(super) fn seal(&mut self, shard: usize) -> Batch {
        let marks = std::mem::take(&mut self.marks);
        Batch {
            frames: Bytes::from(std::mem::take(&mut self.bytes)),
            messages: std::mem::take(&mut self.messages),
            options: self.options,
            marks: (!marks.is_empty()).then(|| Arc::new(Marks::new(marks, shard))),
            is_counted: false,
        }
    }
}

/// What is known of the messages of a batch.
#[derive(Debug)]
struct Marks {
    each: Vec<Mark>,
    /// Whether each of them passes when nothing is filtered.
    all_pass: bool,
    /// The slots of those who do not get one of them, in order.
    excepted: Vec<u32>,
    /// The shard that these slots are of.
    shard: usize,
}

impl Marks {
    fn new(each: Vec<Mark>, shard: usize) -> Self {
        let all_pass = each.iter().all(|mark| mark.passes(u64::MAX));
        let mut excepted: Vec<u32> = each.iter().filter_map(|mark| mark.except).collect();
        excepted.sort_unstable();
        Self { each, all_pass, excepted, shard }
    }
}

/// Whoever is subscribed to the topic of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber {
    pub(super) slot: u32,
    pub(super) filter: u64,
    /// How many messages of the batch were there before it was subscribed.
    pub(super) skipped: u32,
}

/// Messages of one topic, shared by all who receive them.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) frames: Bytes,
    pub(super) messages: u32,
    /// Those of the topic that all of them were published to.
    pub(super) options: TopicOptions,
    marks: Option<Arc<Marks>>,
    /// Whether its bytes are in the tally of the shard that it is for.
    is_counted: bool,
}

impl Batch {
    /// A batch of one message.
    pub(super) fn of_one(message: &Outgoing<'_>) -> Self {
        let mut open = OpenBatch::default();
        open.push(message);
        open.seal(usize::MAX)
    }

    /// The same batch for a shard: who refers to it there is counted by a counter of its own, so
    /// that the shards do not contend for one, its bytes are counted in the shard's tally, and the
    /// exceptions are left out where they are nobody.
    pub(super) fn for_shard(&self, shard: usize, tally: &Arc<Tally>) -> Self {
        let concerns =
            |mark: &Mark| mark.tags != u64::MAX || mark.key != 0 || mark.except.is_some();
        let concerns = |marks: &Arc<Marks>| {
            marks.shard == shard && !marks.excepted.is_empty()
                || marks.each.iter().any(|mark| concerns(&Mark { except: None, ..*mark }))
        };
        let marks = self.marks.as_ref().filter(|marks| concerns(marks)).cloned();
        let frames = tally.count(self.frames.clone(), 0);
        Self { frames, marks, is_counted: true, ..*self }
    }

    /// The whole batch for the only one who gets it, unless its bytes are shared already.
    pub(super) fn into_alone(self) -> Result<Vec<u8>, Self> {
        match self.is_plain() && !self.is_counted && self.frames.is_unique() {
            true => Ok(self.frames.into()),
            false => Err(self),
        }
    }

    /// Whether its bytes are in the tally of the shard that it is for.
    pub(super) fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// Whether every subscriber without a filter receives the whole batch.
    pub(super) fn is_plain(&self) -> bool {
        self.marks.is_none()
    }

    /// Where each message of a run ends.
    fn ends(&self, run: Range<u32>) -> impl Iterator<Item = usize> + '_ {
        let marked = self.marks.iter().flat_map(|marks| &marks.each).map(|mark| mark.end);
        let walked = self.marks.is_none().then(|| frames::ends(&self.frames));
        let ends = marked.chain(walked.into_iter().flatten());
        ends.skip(run.start as usize).take(run.len())
    }

    /// Where a message begins, or the batch ends.
    fn start(&self, message: u32) -> usize {
        match message {
            0 => 0,
            all if all == self.messages => self.frames.len(),
            _ => self.ends(message - 1..message).next().unwrap_or(self.frames.len()),
        }
    }

    /// The frames of a run of messages.
    pub(super) fn run(&self, run: Range<u32>) -> Bytes {
        self.frames.slice(self.start(run.start)..self.start(run.end))
    }

    /// Calls `message` for each message of a run: its frame, tags and key.
    pub(super) fn each(&self, run: Range<u32>, mut message: impl FnMut(&[u8], u64, u64)) {
        let mut start = self.start(run.start);
        let marks = self.marks.iter().flat_map(|marks| &marks.each).skip(run.start as usize);
        let mut known = marks.map(|mark| (mark.tags, mark.key));
        for end in self.ends(run) {
            let (tags, key) = known.next().unwrap_or((u64::MAX, 0));
            message(&self.frames[start..end], tags, key);
            start = end;
        }
    }

    /// All messages.
    pub(super) fn all(&self) -> Range<u32> {
        0..self.messages
    }

    /// Calls `share` for each run of messages that a subscriber on a shard gets, and counts those
    /// that its filter keeps from it.
    pub(super) fn shares(
        &self,
        shard: usize,
        subscriber: Subscriber,
        mut share: impl FnMut(Range<u32>),
    ) -> u32 {
        let Subscriber { slot, filter, skipped } = subscriber;
        let rest = skipped.min(self.messages)..self.messages;
        let (passes, excepted) = match &self.marks {
            None => (filter != 0, false),
            Some(marks) => (
                filter == u64::MAX && marks.all_pass,
                marks.shard == shard && marks.excepted.binary_search(&slot).is_ok(),
            ),
        };
        match &self.marks {
            None if !passes => rest.len() as u32,
            Some(marks) if !passes || excepted => {
                let except = excepted.then_some(slot);
                share_marked(&marks.each, rest, filter, except, share)
            }
            _ => {
                if !rest.is_empty() {
                    share(rest);
                }
                0
            }
        }
    }
}

/// The runs of what passes a filter and was not published by `except`.
fn share_marked(
    marks: &[Mark],
    rest: Range<u32>,
    filter: u64,
    except: Option<u32>,
    mut share: impl FnMut(Range<u32>),
) -> u32 {
    let mut run = rest.start..rest.start;
    let mut filtered = 0;
    for message in rest {
        let mark = &marks[message as usize];
        let is_own = mark.except.is_some() && mark.except == except;
        filtered += u32::from(!is_own && !mark.passes(filter));
        if !is_own && mark.passes(filter) {
            run.end = message + 1;
        } else {
            if !run.is_empty() {
                share(run.clone());
            }
            run = message + 1..message + 1;
        }
    }
    if !run.is_empty() {
        share(run);
    }
    filtered
}
