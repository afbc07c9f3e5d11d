//! The end of a turn for one topic: who gets which part of what was published. Connections are
//! whoever stands behind the audience.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::{Batch, Except};
use super::entry::Entry;
use super::lag::{LagBounds, Laggards};
use super::options::{SlowPolicy, TopicOptions};
use super::topic::Topic;

/// Whoever gives the subscribers of a shard what was published.
pub(crate) trait Audience {
    /// Queues framed messages for the connection in a slot.
    fn send(&mut self, slot: u32, frames: Bytes, messages: u32);

    /// Queues a framed message that nobody else gets.
    fn send_alone(&mut self, slot: u32, frame: Vec<u8>);

    /// Bytes that wait for the connection in a slot; `None` when it receives nothing more.
    fn queued_bytes(&mut self, slot: u32) -> Option<usize>;

    /// Asks for [`Hub::resume`] whenever bytes of the connection in a slot have been sent.
    fn set_lagging(&mut self, slot: u32);
}

/// Hands out what was published to one topic.
pub(super) struct Delivery<'a> {
    pub(super) shard: u32,
    /// The topic's number on the shard.
    pub(super) number: u32,
    pub(super) bounds: LagBounds,
    pub(super) laggards: &'a mut Laggards,
}

impl Delivery<'_> {
    pub(super) fn run(&mut self, topic: &mut Topic, audience: &mut impl Audience) {
        topic.turn.sort_newcomers();
        let ready = std::mem::take(&mut topic.turn.ready);
        topic.turn.ready_bytes = 0;
        let Some(entry) = &topic.entry else { return };
        let sends_all = entry.options.slow == SlowPolicy::Close && topic.filters.is_empty();
        let mut before = 0;
        for batch in ready {
            if batch.is_plain() && sends_all && topic.turn.newcomers.is_empty() {
                for member in &topic.members {
                    audience.send(member.slot, batch.frames.clone(), batch.messages);
                }
            } else {
                self.share_out(topic, entry, &batch, before, audience);
            }
            before += batch.frames.len();
        }
        topic.turn.newcomers = Vec::new();
    }

    /// The general case: filters, newcomers, slow subscribers.
    fn share_out(
        &mut self,
        topic: &Topic,
        entry: &Arc<Entry>,
        batch: &Batch,
        before: usize,
        audience: &mut impl Audience,
    ) {
        for (index, member) in topic.members.iter().enumerate() {
            let slot = member.slot;
            let skipped = topic.turn.skipped(slot).saturating_sub(before);
            let except = Except { shard: self.shard, slot };
            if self.is_slow(slot, &entry.options, audience) {
                batch.shares(except, topic.filter(index), skipped, |run, messages| {
                    self.hold_back(slot, entry, batch, &run, messages);
                });
                audience.set_lagging(slot);
            } else {
                batch.shares(except, topic.filter(index), skipped, |run, messages| {
                    audience.send(slot, run, messages);
                });
            }
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
    fn hold_back(
        &mut self,
        slot: u32,
        entry: &Arc<Entry>,
        batch: &Batch,
        run: &Bytes,
        messages: u32,
    ) {
        let (slow, topic) = (entry.options.slow, (self.number, entry));
        if slow == SlowPolicy::DropNewest {
            return self.laggards.miss(slot, topic, messages);
        }
        batch.split(run, |frame, key| {
            let key = (slow == SlowPolicy::Latest).then_some(key);
            self.laggards.keep(slot, topic, key, frame, self.bounds);
        });
    }
}
