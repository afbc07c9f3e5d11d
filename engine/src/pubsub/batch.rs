//! Messages of one topic as they travel: framed, one behind the other, with what must be known of
//! each only where something must be. It decides for nobody whether they are received.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::forms::{Form, Windows};
use super::frames;
use super::options::TopicOptions;
use super::tally::Tally;
use crate::protocol::deflate::Compressor;
use crate::protocol::{FramedMessage, MessageKind};

/// How a message is published, beyond its topic.
///
/// ```
/// use ringsock::topics::Publish;
/// let to_others = Publish { except_sender: true, ..Publish::default() };
/// assert_eq!(to_others.tags, u64::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Received by those whose filter has a bit in common with this. Default: all bits.
    pub tags: u64,
    /// Of messages with the same key only the latest is kept for a subscriber that reads too
    /// slowly, where the topic says [`SlowPolicy::Latest`](crate::topics::SlowPolicy). Default 0:
    /// one key for the whole topic.
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

/// A message framed beforehand becomes a batch of its own from this size on, instead of being
/// copied into one with others.
const WHOLE_BYTES_MIN: usize = 16 * 1024;

/// What is published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'a> {
    pub(crate) kind: MessageKind,
    pub(crate) payload: &'a [u8],
    /// The same message, if it was framed beforehand.
    pub(crate) framed: Option<&'a FramedMessage>,
    /// Whether it is compressed where that was agreed on; `None` leaves it to the server.
    pub(crate) compress: Option<bool>,
}

/// A message on its way into a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) content: Content<'a>,
    /// Whether it is compressed where that was agreed on.
    pub(super) compress: bool,
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

    pub(super) fn framed_bytes(&self) -> usize {
        frames::framed_bytes(self.content.payload.len())
    }

    /// Its frame, if that is to be a batch of its own.
    pub(super) fn whole(&self) -> Option<&FramedMessage> {
        self.content.framed.filter(|framed| framed.plain().len() >= WHOLE_BYTES_MIN)
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
    /// In place of bytes, the only message.
    whole: Option<FramedMessage>,
    messages: u32,
    /// One for each message, as soon as one of them needs it.
    marks: Vec<Mark>,
    /// Whether each message is to be compressed, as soon as one of them is.
    compress: Vec<bool>,
    options: TopicOptions,
}

impl OpenBatch {
    pub(super) fn len(&self) -> usize {
        self.whole.as_ref().map_or(self.bytes.len(), |whole| whole.plain().len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Whether a message can be part of it.
    pub(super) fn suits(&self, message: &Outgoing<'_>) -> bool {
        let alike = self.options == message.options;
        self.is_empty() || alike && self.whole.is_none() && message.whole().is_none()
    }

    /// Frames a message into the batch.
    pub(super) fn push(&mut self, message: &Outgoing<'_>) {
        if !message.is_plain() && self.marks.is_empty() {
            self.marks = frames::ends(&self.bytes).map(Mark::plain).collect();
        }
        let content = &message.content;
        match (message.whole(), content.framed) {
            (Some(whole), _) => self.whole = Some(whole.clone()),
            (None, Some(framed)) => self.bytes.extend_from_slice(framed.plain()),
            (None, None) => frames::append(&mut self.bytes, content.kind, content.payload),
        }
        if message.compress || !self.compress.is_empty() {
            self.compress.resize(self.messages as usize, false);
            self.compress.push(message.compress);
        }
        self.messages += 1;
        self.options = message.options;
        if !message.is_plain() || !self.marks.is_empty() {
            let Outgoing { tags, key, except, .. } = *message;
            self.marks.push(Mark { end: self.len(), tags, key, except });
        }
    }

    /// Ends it.
    pub(super) fn seal(&mut self, shard: usize) -> Sealed {
        let (marks, whole) = (std::mem::take(&mut self.marks), self.whole.take());
        let bytes = std::mem::take(&mut self.bytes);
        let batch = Batch {
            frames: whole.as_ref().map_or_else(|| bytes.into(), |whole| whole.plain().clone()),
            messages: std::mem::take(&mut self.messages),
            options: self.options,
            marks: (!marks.is_empty()).then(|| Arc::new(Marks::new(marks, shard))),
            forms: None,
            is_counted: false,
        };
        Sealed { batch, compress: std::mem::take(&mut self.compress), whole }
    }
}

/// A batch that has ended and is not compressed yet.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) batch: Batch,
    /// Whether each message is to be compressed; empty when none is.
    pub(super) compress: Vec<bool>,
    /// The only message, where it was framed beforehand.
    pub(super) whole: Option<FramedMessage>,
}

impl Sealed {
    /// The batch, with a compressed form for each of these windows.
    pub(super) fn compressed(mut self, windows: Windows, compressor: &mut Compressor) -> Batch {
        let forms = Form::all(&self, windows, compressor);
        self.batch.forms = (!forms.is_empty()).then_some(forms);
        self.batch
    }

    /// Whether some of it is to be compressed.
    pub(super) fn is_to_be_compressed(&self) -> bool {
        !self.compress.is_empty()
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
    forms: Option<Arc<[Form]>>,
    /// Whether its bytes are in the tally of the shard that it is for.
    is_counted: bool,
}

impl Batch {
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
        let counted =
            |forms: &Arc<[Form]>| forms.iter().map(|form| form.for_shard(tally)).collect();
        let forms = self.forms.as_ref().map(counted);
        Self { frames, marks, forms, is_counted: true, ..*self }
    }

    /// The whole batch for the only one who gets it, unless its bytes are shared already.
    pub(super) fn into_alone(self) -> Result<Vec<u8>, Self> {
        match self.is_alike_for_all() && !self.is_counted && self.frames.is_unique() {
            true => Ok(self.frames.into()),
            false => Err(self),
        }
    }

    /// Whether its bytes are in the tally of the shard that it is for.
    pub(super) fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// Whether every subscriber without a filter receives the whole batch, as it is.
    pub(super) fn is_alike_for_all(&self) -> bool {
        self.marks.is_none() && self.forms.is_none()
    }

    /// Whether there are compressed forms of it.
    pub(super) fn has_forms(&self) -> bool {
        self.forms.is_some()
    }

    /// The form for a window, if there is one.
    pub(super) fn form(&self, window_bits: u8) -> Option<&Form> {
        self.forms.as_ref()?.iter().find(|form| form.is_for(window_bits))
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
