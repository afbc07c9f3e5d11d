//! Who comes and goes on one shard. Publishing and delivering are elsewhere.

use std::sync::Arc;

use super::{Hub, Subscribe};
use crate::limits::Limits;
use crate::pubsub::entry::Entry;
use crate::pubsub::log::Recovered;
use crate::pubsub::pattern::{self, SubscribeError};
use crate::pubsub::subscriptions::Place;
use crate::pubsub::topic::Member;

impl Hub {
    /// Subscribes the connection in a slot to a name; a second time is the same as once. It gets
    /// what is published from here on and passes its filter, and before that what is returned.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub(crate) fn subscribe(
        &mut self,
        name: &str,
        slot: u32,
        how: Subscribe,
        limits: &Limits,
    ) -> Result<Recovered, SubscribeError> {
        let without_history = Recovered::without_history(how.from);
        let hash = self.exchange.hash(name);
        if !self.admit(hash, name, false, slot, limits)? {
            return Ok(without_history);
        }
        // What waits was published before.
        self.collect();
        if self.exchange.keeps_history(name) {
            return self.subscribe_to_history(hash, name, slot, how);
        }
        let topic = self.has_members(hash, name, false).unwrap_or_else(|number| {
            let entry = self.exchange.join(self.shard, hash, name, number);
            self.adopt(number, entry)
        });
        self.enter(topic, slot, how.filter);
        Ok(without_history)
    }

    /// While the history is locked nothing is added to it. What was added before is taken from the
    /// inlet meanwhile, so that the newcomer does not get it twice.
    fn subscribe_to_history(
        &mut self,
        hash: u64,
        name: &str,
        slot: u32,
        how: Subscribe,
    ) -> Result<Recovered, SubscribeError> {
        if let Some(known) = self.find(hash, name, false) {
            self.seal(known);
        }
        loop {
            let found = self.exchange.find_history(hash, name);
            let entry = found.ok_or(SubscribeError::TooManyHistories)?;
            let log = entry.lock_log();
            let topic = match self.has_members(hash, name, false) {
                Ok(topic) => topic,
                Err(number) if self.exchange.join_history(self.shard, &entry, number) => {
                    self.adopt(number, Arc::clone(&entry))
                }
                Err(_) => continue,
            };
            let mut parcels = std::mem::take(&mut self.parcels);
            self.exchange.inlet(self.shard).take(&mut parcels);
            let recovered = match (&log, how.from) {
                (None, from) => Recovered::without_history(from),
                (Some(log), Some(from)) => log.since(from, how.filter),
                (Some(log), None) => log.last(entry.options.retain, how.filter),
            };
            drop(log);
            self.take_in(parcels);
            self.enter(topic, slot, how.filter);
            return Ok(recovered);
        }
    }

    /// Subscribes to all names that match a pattern.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub(crate) fn subscribe_matching(
        &mut self,
        pattern: &str,
        slot: u32,
        filter: u64,
        limits: &Limits,
    ) -> Result<(), SubscribeError> {
        pattern::check(pattern, limits.topic_levels_max)?;
        let hash = self.exchange.hash(pattern);
        if !self.admit(hash, pattern, true, slot, limits)? {
            return Ok(());
        }
        self.collect();
        let topic = match self.has_members(hash, pattern, true) {
            Ok(topic) => topic,
            Err(number) => {
                let entry = self.exchange.join_pattern(self.shard, hash, pattern, number)?;
                self.adopt(number, entry)
            }
        };
        self.enter(topic, slot, filter);
        Ok(())
    }

    /// Whether a slot may subscribe; `false` if it is subscribed already.
    fn admit(
        &mut self,
        hash: u64,
        name: &str,
        is_pattern: bool,
        slot: u32,
        limits: &Limits,
    ) -> Result<bool, SubscribeError> {
        if !self.exchange.takes_name(name) {
            return Err(SubscribeError::NameTooLong);
        }
        let Some(Some(subscriptions)) = self.subscribers.get(slot as usize) else {
            return Ok(true);
        };
        let known = self.find(hash, name, is_pattern);
        if known.is_some_and(|topic| subscriptions.position(topic).is_some()) {
            return Ok(false);
        }
        match subscriptions.len() < limits.subscriptions_max {
            true => Ok(true),
            false => Err(SubscribeError::TooMany),
        }
    }

    /// The number of a topic that has members here, or the one that it gets with its first.
    fn has_members(&mut self, hash: u64, name: &str, is_pattern: bool) -> Result<u32, u32> {
        match self.find(hash, name, is_pattern) {
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
    fn enter(&mut self, topic: u32, slot: u32, filter: u64) {
        let index = slot as usize;
        if self.subscribers.len() <= index {
            self.subscribers.resize_with(index + 1, || None);
        }
        let subscriptions = self.subscribers[index].get_or_insert_default();
        let entered = &mut self.topics[topic as usize];
        let place = Place { topic, index: entered.members.len() as u32 };
        let position = subscriptions.add(place);
        entered.add(Member { slot, position }, filter);
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

    /// Ends a subscription; what was published this turn and not delivered is not received.
    pub(crate) fn unsubscribe(&mut self, name: &str, is_pattern: bool, slot: u32) {
        let Some(Some(subscriptions)) = self.subscribers.get(slot as usize) else { return };
        let hash = self.exchange.hash(name);
        let position =
            self.find(hash, name, is_pattern).and_then(|topic| subscriptions.position(topic));
        let Some(position) = position else { return };
        self.remove(slot, position);
        if self.subscribers[slot as usize].as_ref().is_some_and(|all| all.len() == 0) {
            self.subscribers[slot as usize] = None;
        }
    }

    /// Ends all subscriptions of the connection in a slot.
    #[inline]
    pub(crate) fn leave(&mut self, slot: u32) {
        self.laggards.forget(slot);
        self.gaps.forget(slot);
        if let Some(Some(_)) = self.subscribers.get(slot as usize) {
            self.leave_all(slot);
        }
    }

    fn leave_all(&mut self, slot: u32) {
        while let Some(last) =
            self.subscribers[slot as usize].as_ref().and_then(|all| all.len().checked_sub(1))
        {
            self.remove(slot, last as u32);
        }
        self.subscribers[slot as usize] = None;
    }

    fn remove(&mut self, slot: u32, position: u32) {
        let Some(subscriptions) = &mut self.subscribers[slot as usize] else { return };
        let (place, moved) = subscriptions.remove(position);
        self.laggards.forget_topic(slot, place.topic);
        if let Some(moved) = moved {
            let members = &mut self.topics[moved.topic as usize].members;
            members[moved.index as usize].position = position;
        }
        let topic = &mut self.topics[place.topic as usize];
        if let Some(entry) = &topic.entry {
            self.gaps.forget_topic(slot, entry);
        }
        if let Some(moved) = topic.remove(place.index)
            && let Some(subscriptions) = &mut self.subscribers[moved.slot as usize]
        {
            subscriptions.follow(moved.position, place.index);
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
