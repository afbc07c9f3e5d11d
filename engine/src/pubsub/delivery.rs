//! The end of a turn for one topic: who gets which part of what was published. Connections are
//! whoever stands behind the audience.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::{Batch, Subscriber};
use super::entry::Entry;
use super::exchange::Exchange;
use super::forms::Savings;
use super::lag::{LagBounds, Laggards};
use super::options::{SlowPolicy, TopicOptions};
use super::topic::Topic;

/// A share of less than this part of its batch is copied: by reference it would keep the whole
/// batch in memory. What queues hold is so at most four times what they count.
const SHARE_PART_MIN: usize = 4;

/// What became of messages for a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// They wait for it.
    Queued,
    /// It misses them, and goes on.
    Dropped,
    /// It receives nothing more.
    Closing,
}

/// Whoever gives the subscribers of a shard what was published.
pub(crate) trait Audience {
    /// Queues framed messages that others get as well for the connection in a slot.
    fn send(&mut self, slot: u32, frames: Bytes, messages: u32) -> Taken;

    /// Queues framed messages that others get as well, some of them compressed for a window that
    /// the connection has agreed on.
    fn send_compressed(
        &mut self,
        slot: u32,
        frames: Bytes,
        messages: u32,
        savings: Savings,
    ) -> Taken;

    /// The window of 2^`bits` bytes that the connection in a slot has agreed on, if messages that
    /// were compressed for others can be sent to it.
    fn window_bits(&mut self, slot: u32) -> Option<u8>;

    /// Queues framed messages that nobody else gets.
    fn send_alone(&mut self, slot: u32, frames: Vec<u8>, messages: u32) -> Taken;

    /// Notes how many bytes are in memory for many connections together.
    fn note_shared(&mut self, bytes: usize);

    /// Bytes that wait for the connection in a slot; `None` when it receives nothing more.
    fn queued_bytes(&mut self, slot: u32) -> Option<usize>;

    /// Asks for [`Hub::resume`] whenever bytes of the connection in a slot have been sent.
    fn set_lagging(&mut self, slot: u32);
}

/// Hands out what was published to one topic.
pub(super) struct Delivery<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) shard: usize,
    /// The topic's number on the shard.
    pub(super) number: u32,
    pub(super) bounds: LagBounds,
    pub(super) laggards: &'a mut Laggards,
    /// Messages that a filter keeps from a subscriber, so far.
    pub(super) filtered: &'a mut u64,
}

impl Delivery<'_> {
    pub(super) fn run(mut self, topic: &mut Topic, audience: &mut impl Audience) {
        topic.turn.sort_newcomers();
        let ready = topic.turn.take_ready();
        let Some(entry) = &topic.entry else { return };
        let everybody_alike = topic.filters.is_empty() && topic.turn.newcomers.is_empty();
        let mut before = 0;
        for mut batch in ready {
            let (messages, options) = (batch.messages, batch.options);
            let sends_all = everybody_alike && options.slow == SlowPolicy::Close;
            if sends_all && let [member] = topic.members[..] {
                match batch.into_alone() {
                    Ok(frames) => {
                        let taken = audience.send_alone(member.slot, frames, messages);
                        self.note(member.slot, entry, &options, messages, taken, audience);
                        continue;
                    }
                    Err(shared) => batch = shared,
                }
            }
            if !batch.is_counted() {
                batch = self.exchange.batch_for(&batch, self.shard);
            }
            audience.note_shared(self.exchange.shared_bytes(self.shard));
            if sends_all && batch.is_alike_for_all() {
                for member in &topic.members {
                    let taken = audience.send(member.slot, batch.frames.clone(), messages);
                    self.note(member.slot, entry, &options, messages, taken, audience);
                }
            } else {
                self.share_out(topic, entry, &batch, before, audience);
            }
            before += messages;
        }
        topic.turn.newcomers = Vec::new();
    }

    /// The general case: filters, newcomers, slow subscribers.
    fn share_out(
        &mut self,
        topic: &Topic,
        entry: &Arc<Entry>,
        batch: &Batch,
        before: u32,
        audience: &mut impl Audience,
    ) {
        for (index, member) in topic.members.iter().enumerate() {
            let (slot, filter) = (member.slot, topic.filter(index));
            let skipped = topic.turn.skipped(slot).saturating_sub(before);
            let slow = self.is_slow(slot, &batch.options, audience);
            let filtered = batch.shares(self.shard, Subscriber { slot, filter, skipped }, |run| {
                if slow {
                    self.hold_back(slot, entry, batch, run);
                } else {
                    self.hand_over(slot, entry, batch, run, audience);
                }
            });
            *self.filtered += u64::from(filtered);
            if slow {
                audience.set_lagging(slot);
            }
        }
    }

    fn hand_over(
        &mut self,
        slot: u32,
        entry: &Arc<Entry>,
        batch: &Batch,
        run: Range<u32>,
        audience: &mut impl Audience,
    ) {
        let messages = run.len() as u32;
        if batch.has_forms()
            && let Some(form) = audience.window_bits(slot).and_then(|bits| batch.form(bits))
        {
            let (frames, savings) = form.run(run);
            let taken = audience.send_compressed(slot, frames, messages, savings);
            return self.note(slot, entry, &batch.options, messages, taken, audience);
        }
        let frames = batch.run(run);
        let taken = match frames.len() < batch.frames.len() / SHARE_PART_MIN {
            true => audience.send_alone(slot, frames.to_vec(), messages),
            false => audience.send(slot, frames, messages),
        };
        self.note(slot, entry, &batch.options, messages, taken, audience);
    }

    /// A connection may have a policy of its own, by which it missed something.
    #[inline]
    fn note(
        &mut self,
        slot: u32,
        entry: &Arc<Entry>,
        options: &TopicOptions,
        messages: u32,
        taken: Taken,
        audience: &mut impl Audience,
    ) {
        if taken == Taken::Dropped {
            self.laggards.miss(slot, (self.number, entry), options, messages);
            audience.set_lagging(slot);
        }
    }

    fn is_slow(&self, slot: u32, options: &TopicOptions, audience: &mut impl Audience) -> bool {
        if options.slow == SlowPolicy::Close {
            return false;
        }
        let queued = audience.queued_bytes(slot);
        queued.is_some_and(|bytes| {
            bytes >= options.backlog_bytes || self.laggards.include(slot, self.number)
        })
    }

    /// What a slow subscriber gets later, or never.
    fn hold_back(&mut self, slot: u32, entry: &Arc<Entry>, batch: &Batch, run: Range<u32>) {
        let (options, topic) = (&batch.options, (self.number, entry));
        if options.slow == SlowPolicy::DropNewest {
            return self.laggards.miss(slot, topic, options, run.len() as u32);
        }
        batch.each(run, |frame, _, key| {
            let key = (options.slow == SlowPolicy::Latest).then_some(key);
            self.laggards.keep(slot, topic, options, key, frame, self.bounds);
        });
    }
}
