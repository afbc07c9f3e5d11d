//! Who comes and goes on one shard. Publishing and delivering are elsewhere.

use std::sync::Arc;

use super::Hub;
use crate::limits::Limits;
use crate::pubsub::entry::Entry;
use crate::pubsub::forms::Windows;
use crate::pubsub::log::Recovered;
use crate::pubsub::pattern;
use crate::pubsub::subscribe::{Subscribe, SubscribeError, TopicName};
use crate::pubsub::subscriptions::{Place, Subscriptions, reserve_one};
use crate::pubsub::topic::Member;

/// Who subscribes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    /// The connection's slot.
    pub(crate) slot: u32,
    /// The window of 2^`bits` bytes that it has agreed on for compression, if messages that were
    /// compressed for others can be sent to it.
    pub(crate) window_bits: Option<u8>,
}

impl Hub {
    /// Subscribes a connection; a second time is the same as once. It gets what is published from
    /// here on and passes its filter, and before that what is returned.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub(crate) fn subscribe(
        &mut self,
        topic: TopicName<'_>,
        who: Newcomer,
        how: Subscribe,
        limits: &Limits,
    ) -> Result<Recovered, SubscribeError> {
        if let TopicName::Pattern(pattern) = topic {
            pattern::check(pattern, limits.topic_levels_max)?;
        }
        let hash = self.exchange.hash(topic.text());
        if !self.admit(hash, topic, who.slot, limits)? {
            return Ok(Recovered::without_history(how.from));
        }
        // What waits was published before.
        self.collect();
        let recovered = self.subscribe_newly(hash, topic, who, how);
        self.exchange.tell_interests();
        recovered
    }

    fn subscribe_newly(
        &mut self,
        hash: u64,
        topic: TopicName<'_>,
        who: Newcomer,
        how: Subscribe,
    ) -> Result<Recovered, SubscribeError> {
        if let Some(known) = self.find(hash, topic) {
            // What is framed was published before, whether or not this shard is to get it.
            self.seal(known);
        }
        match topic {
            TopicName::Exact(name) if self.exchange.keeps_history(name) => {
                return self.subscribe_to_history(hash, name, who, how);
            }
            _ => {}
        }
        let number = match (self.has_members(hash, topic), topic) {
            (Ok(known), _) => known,
            (Err(number), TopicName::Exact(name)) => {
                let entry = self.exchange.join(self.shard, hash, name, number);
                self.adopt(number, entry)
            }
            (Err(number), TopicName::Pattern(pattern)) => {
                let entry = self.exchange.join_pattern(self.shard, hash, pattern, number)?;
                self.adopt(number, entry)
            }
        };
        self.enter(number, who, how.filter);
        Ok(Recovered::without_history(how.from))
    }

    /// While the history is locked nothing is added to it. What was added before is taken from the
    /// inlet meanwhile, so that the newcomer does not get it twice.
    fn subscribe_to_history(
        &mut self,
        hash: u64,
        name: &str,
        who: Newcomer,
        how: Subscribe,
    ) -> Result<Recovered, SubscribeError> {
        let (number, entry) = self.join_history(hash, TopicName::Exact(name), name)?;
        // Whoever has its history gives it now, or later.
        self.exchange.tell_interests();
        let log = entry.lock_log();
        let mut parcels = std::mem::take(&mut self.parcels);
        self.exchange.inlet(self.shard).take(&mut parcels);
        let recovered = match (&log, how.from) {
            (None, from) => Recovered::without_history(from),
            (Some(log), Some(from)) => log.since(from, how.filter),
            (Some(log), None) => log.last(entry.options.retain, how.filter),
        };
        drop(log);
        self.take_in(parcels);
        self.enter(number, who, how.filter);
        Ok(recovered)
    }

    /// The number and the entry of a topic with a history, which counts this shard among those with
    /// subscribers from now on.
    fn join_history(
        &mut self,
        hash: u64,
        topic: TopicName<'_>,
        name: &str,
    ) -> Result<(u32, Arc<Entry>), SubscribeError> {
        loop {
            let found = self.exchange.find_history(hash, name);
            let entry = found.ok_or(SubscribeError::TooManyHistories)?;
            match self.has_members(hash, topic) {
                Ok(known) => return Ok((known, entry)),
                Err(number) if self.exchange.join_history(self.shard, &entry, number) => {
                    return Ok((self.adopt(number, Arc::clone(&entry)), entry));
                }
                // It was forgotten since it was found.
                Err(_) => {}
            }
        }
    }

    /// Whether a slot may subscribe; `false` if it is subscribed already.
    fn admit(
        &mut self,
        hash: u64,
        topic: TopicName<'_>,
        slot: u32,
        limits: &Limits,
    ) -> Result<bool, SubscribeError> {
        if !self.exchange.takes_name(topic.text()) {
            return Err(SubscribeError::NameTooLong);
        }
        let Some(subscriptions) = self.subscribers.get(slot as usize) else { return Ok(true) };
        let known = self.find(hash, topic);
        if known.is_some_and(|topic| subscriptions.position(topic).is_some()) {
            return Ok(false);
        }
        match subscriptions.len() < limits.subscriptions_max {
            true => Ok(true),
            false => Err(SubscribeError::TooMany),
        }
    }

    /// The number of a topic that has members here, or the one that it gets with its first.
    fn has_members(&mut self, hash: u64, topic: TopicName<'_>) -> Result<u32, u32> {
        match self.find(hash, topic) {
            Some(known) if self.topics[known as usize].members.is_empty() => Err(known),
            Some(known) => Ok(known),
            None => Err(self.vacancy()),
        }
    }

    /// Gives a topic without members here the entry that counts them from now on.
    fn adopt(&mut self, number: u32, entry: Arc<Entry>) -> u32 {
        let topic = &mut self.topics[number as usize];
        match topic.entry {
            Some(_) => topic.entry = Some(entry),
            None => _ = self.insert(entry),
        }
        number
    }

    /// Adds a member that the topic does not have.
    fn enter(&mut self, topic: u32, who: Newcomer, filter: u64) {
        let Newcomer { slot, window_bits } = who;
        let index = slot as usize;
        while self.subscribers.len() <= index {
            reserve_one(&mut self.subscribers);
            self.subscribers.push(Subscriptions::None);
        }
        let subscriptions = &mut self.subscribers[index];
        let entered = &mut self.topics[topic as usize];
        let place = Place { topic, index: entered.members.len() as u32 };
        let position = subscriptions.add(place);
        entered.add(Member { slot, position }, filter);
        if let Some(entry) = &entered.entry {
            entry.add_window(self.shard, Windows::of(window_bits));
        }
        self.count(topic);
    }

    /// Keeps the number of members that other shards see.
    fn count(&self, topic: u32) {
        let topic = &self.topics[topic as usize];
        if let Some(entry) = &topic.entry
            && !topic.members.is_empty()
        {
            entry.set_subscribers(self.shard, topic.members.len());
        }
    }

    /// Where a topic stands among the subscriptions of a slot, if it is one of them.
    fn position(&self, topic: TopicName<'_>, slot: u32) -> Option<u32> {
        let subscriptions = self.subscribers.get(slot as usize)?;
        subscriptions.position(self.find(self.exchange.hash(topic.text()), topic)?)
    }

    /// Whether the connection in a slot is subscribed.
    pub(crate) fn is_subscribed(&self, topic: TopicName<'_>, slot: u32) -> bool {
        self.position(topic, slot).is_some()
    }

    /// The names, or the patterns, that the connection in a slot is subscribed to.
    pub(crate) fn subscriptions(&self, patterns: bool, slot: u32) -> Vec<String> {
        let places = self.subscribers.get(slot as usize).into_iter().flat_map(|all| all.iter());
        let entries = places.filter_map(|place| self.topics[place.topic as usize].entry.as_ref());
        let wanted = entries.filter(|entry| entry.is_pattern == patterns);
        wanted.map(|entry| entry.name.to_string()).collect()
    }

    /// Ends a subscription; what was published this turn and not delivered is not received.
    pub(crate) fn unsubscribe(&mut self, topic: TopicName<'_>, slot: u32) {
        let Some(position) = self.position(topic, slot) else { return };
        self.remove(slot, position);
        self.exchange.tell_interests();
    }

    /// Ends all subscriptions of the connection in a slot.
    #[inline]
    pub(crate) fn leave(&mut self, slot: u32) {
        self.laggards.forget(slot);
        self.gaps.forget(slot);
        if self.subscribers.get(slot as usize).is_some_and(|all| all.len() > 0) {
            self.leave_all(slot);
        }
    }

    fn leave_all(&mut self, slot: u32) {
        while let Some(last) = self.subscribers[slot as usize].len().checked_sub(1) {
            self.remove(slot, last as u32);
        }
        self.exchange.tell_interests();
    }

    fn remove(&mut self, slot: u32, position: u32) {
        let (place, moved) = self.subscribers[slot as usize].remove(position);
        self.laggards.forget_topic(slot, place.topic);
        if let Some(moved) = moved {
            let members = &mut self.topics[moved.topic as usize].members;
            members[moved.index as usize].position = position;
        }
        let topic = &mut self.topics[place.topic as usize];
        if let Some(entry) = &topic.entry {
            self.gaps.forget_topic(slot, entry);
        }
        if let Some(moved) = topic.remove(place.index) {
            self.subscribers[moved.slot as usize].follow(moved.position, place.index);
        }
        self.count(place.topic);
        if self.topics[place.topic as usize].members.is_empty() {
            self.desert(place.topic);
        }
    }

    /// The last member has left.
    fn desert(&mut self, topic: u32) {
        let deserted = &self.topics[topic as usize];
        if let Some(entry) = &deserted.entry {
            self.exchange.leave(self.shard, entry);
        }
        if deserted.turn.listed {
            return;
        }
        self.forget(topic);
    }
}
