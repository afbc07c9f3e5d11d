//! What is published on one shard: framed into the batch of its topic, for which places in the
//! inlets of the other shards are reserved at once. Delivering is elsewhere.

use std::sync::Arc;

use super::Hub;
use crate::pubsub::batch::{Content, Outgoing, Publish};
use crate::pubsub::entry::Entry;
use crate::pubsub::forms::Windows;
use crate::pubsub::matches::Match;
use crate::pubsub::options::{SlowPolicy, TopicOptions};
use crate::pubsub::subscribe::TopicName;
use crate::pubsub::topic::Topic;
use crate::pubsub::{Reached, numbers};

/// Bytes after which a batch is closed and another begun, so that what is shared and handed over
/// as one stays moderate.
const BATCH_BYTES: usize = 256 * 1024;

impl Hub {
    /// Publishes to the subscribers of a topic, and of the patterns that match it, on all shards;
    /// `sender` is the slot it comes from.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        name: &str,
        content: Content<'_>,
        sender: Option<u32>,
        how: Publish,
    ) -> Reached {
        if !self.exchange.takes_name(name) {
            return Reached::default();
        }
        let hash = self.exchange.hash(name);
        if self.exchange.send_away(self.shard, (hash, name), content, how) {
            return Reached::default();
        }
        let except = sender.filter(|_| how.except_sender);
        let Publish { tags, key, .. } = how;
        let compress = self.exchange.compresses(&content);
        let mut reached = Reached::default();
        if let Some((topic, options)) = self.route(hash, name) {
            let message = Outgoing { content, compress, tags, key, except, options };
            reached = self.append(topic, &message);
        }
        if self.exchange.has_patterns() {
            let version = self.exchange.patterns_version();
            if !self.matches.is_none(hash, name, version) {
                let options = Default::default();
                let message = Outgoing { content, compress, tags, key, except, options };
                self.publish_to_patterns((hash, name, version), message, &mut reached);
            }
        }
        reached
    }

    /// The topic to publish to, if anybody anywhere is subscribed to this very name. One that has
    /// no members here gets a number for this turn.
    #[inline]
    fn route(&mut self, hash: u64, name: &str) -> Option<(u32, TopicOptions)> {
        if let Some(number) = self.find(hash, TopicName::Exact(name)) {
            let topic = &self.topics[number as usize];
            if topic.members.is_empty() && !topic.entry.as_ref().is_some_and(|e| e.is_listed()) {
                let entry = self.exchange.find_to_publish(hash, name)?;
                self.renew(number, entry);
            }
            return Some((number, self.topics[number as usize].entry.as_ref()?.options));
        }
        let entry = self.exchange.find_to_publish(hash, name)?;
        let options = entry.options;
        let number = self.insert(entry);
        self.touch(number);
        Some((number, options))
    }

    #[inline(never)]
    fn publish_to_patterns(
        &mut self,
        (hash, name, version): (u64, &str, u64),
        message: Outgoing<'_>,
        reached: &mut Reached,
    ) {
        let known = self.matches.take(hash, name, version);
        let known = known.unwrap_or_else(|| {
            let (patterns, options) = self.exchange.matching(name);
            Match::new(hash, name, version, patterns, options)
        });
        // Of messages of different topics none replaces another.
        let latest = known.options.slow == SlowPolicy::Latest;
        let key = if latest { numbers::mix(hash, message.key) } else { message.key };
        let message = Outgoing { key, options: known.options, ..message };
        for entry in &known.patterns {
            let topic = self.number_of_pattern(entry);
            let also = self.append(topic, &message);
            reached.queued += also.queued;
            reached.dropped += also.dropped;
        }
        self.matches.put(known);
    }

    fn number_of_pattern(&mut self, entry: &Arc<Entry>) -> u32 {
        if let Some(number) = self.find(entry.hash, TopicName::Pattern(&entry.name)) {
            if self.topics[number as usize].members.is_empty() {
                self.renew(number, Arc::clone(entry));
            }
            return number;
        }
        let number = self.insert(Arc::clone(entry));
        self.touch(number);
        number
    }

    /// Gives a topic without members here the entry that counts its subscribers now. What is framed
    /// goes to those of the one before, who have all left: others came since, perhaps after more
    /// was published to nobody.
    fn renew(&mut self, number: u32, entry: Arc<Entry>) {
        let known = self.topics[number as usize].entry.as_ref();
        if !known.is_some_and(|known| Arc::ptr_eq(known, &entry)) {
            self.seal(number);
            self.topics[number as usize].entry = Some(entry);
        }
    }

    /// Frames a message into a topic's batch.
    fn append(&mut self, number: u32, message: &Outgoing<'_>) -> Reached {
        let open = &self.topics[number as usize].turn.open;
        if open.len() > BATCH_BYTES || !open.suits(message) || self.is_full(number) {
            self.seal(number);
        }
        let is_member = |slot: u32| {
            let subscriptions = self.subscribers.get(slot as usize);
            subscriptions.is_some_and(|all| all.position(number).is_some())
        };
        let not_sender = usize::from(message.except.is_some_and(is_member));
        let topic = &mut self.topics[number as usize];
        let (Some(entry), turn) = (&topic.entry, &mut topic.turn) else {
            return Reached::default();
        };
        // With a history, this shard gets it by its inlet, too.
        let kept = entry.log.is_some();
        let bytes = message.framed_bytes();
        let all_bytes = turn.open.len() + bytes;
        for shard in turn.reserved.iter() {
            // Even where nobody is left: a place is given back with the bytes of the whole batch.
            match shard == self.shard && !kept {
                true => self.waiting_bytes += bytes,
                false => self.exchange.inlet(shard).extend(bytes),
            }
        }
        let mut reached = Reached::default();
        for shard in entry.interested().iter() {
            let here = shard == self.shard;
            let subscribers = entry.subscribers(shard) - if here { not_sender } else { 0 };
            let taken = if turn.reserved.has(shard) {
                true
            } else if turn.refused.has(shard) {
                false
            } else if here && !kept {
                let taken = self.waiting_bytes < self.exchange.inlet_bytes_max();
                self.waiting_bytes += if taken { all_bytes } else { 0 };
                taken
            } else {
                self.exchange.inlet(shard).reserve(all_bytes)
            };
            if taken {
                turn.reserved.add(shard);
                reached.queued += subscribers;
            } else {
                turn.refused.add(shard);
                reached.dropped += subscribers;
                if !kept {
                    self.exchange.refuse(entry, shard, 1, subscribers);
                }
            }
        }
        if !turn.reserved.is_empty() || kept {
            turn.open.push(message);
            self.touch(number);
        }
        reached
    }

    /// Whether any shard that gets the open batch takes no more.
    fn is_full(&self, number: u32) -> bool {
        let Topic { turn, entry, .. } = &self.topics[number as usize];
        let kept = entry.as_ref().is_some_and(|entry| entry.log.is_some());
        let is_full = |shard| match shard == self.shard && !kept {
            true => self.waiting_bytes >= self.exchange.inlet_bytes_max(),
            false => !self.exchange.inlet(shard).takes_bytes(),
        };
        turn.reserved.iter().any(is_full)
    }

    /// Closes a topic's batch: the other shards get theirs now, this one's waits for the end of the
    /// turn.
    pub(super) fn seal(&mut self, number: u32) {
        let topic = &mut self.topics[number as usize];
        let mut reserved = std::mem::take(&mut topic.turn.reserved);
        let refused = std::mem::take(&mut topic.turn.refused);
        let Some(entry) = topic.entry.as_ref().filter(|_| !topic.turn.open.is_empty()) else {
            return;
        };
        let sealed = topic.turn.open.seal(self.shard);
        let windows = if sealed.is_to_be_compressed() { entry.windows() } else { Windows(0) };
        let batch = match windows.is_empty() {
            true => sealed.batch,
            false => {
                let exchange = &self.exchange;
                let compressor = self.compressor.get_or_insert_with(|| exchange.new_compressor());
                sealed.compressed(windows, compressor)
            }
        };
        let here = entry.log.is_none() && reserved.take(self.shard);
        self.exchange.ship(entry, &batch, self.shard, reserved, refused);
        if here && !topic.members.is_empty() {
            topic.turn.take_in(batch);
        }
    }
}
