//! The topics of one shard: who is subscribed here, what was published this turn, here and
//! elsewhere, and who gets it. It sends nothing itself.

mod joining;

use std::sync::Arc;

use hashbrown::HashTable;

use super::Reached;
use super::batch::{Except, Publish};
use super::delivery::{Audience, Delivery};
use super::entry::Entry;
use super::exchange::{Exchange, Parcel};
use super::gaps::{Gap, Gaps};
use super::lag::{LagBounds, Laggards};
use super::log::Position;
use super::subscriptions::Subscriptions;
use super::topic::{Matches, Topic};
use crate::protocol::MessageKind;

/// Bytes after which a batch is closed and another begun, so that what is shared and handed over
/// as one stays moderate.
const BATCH_BYTES: usize = 256 * 1024;

/// How a connection subscribes, beyond the topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscribe {
    pub(crate) filter: u64,
    pub(crate) from: Option<Position>,
}

/// The topics of one shard.
///
/// Invariants: a topic with members has an entry that counts them; `Place` and `Member` of a
/// subscription name each other; a topic without members is there until the end of the turn.
#[derive(Debug)]
pub(crate) struct Hub {
    shard: usize,
    exchange: Arc<Exchange>,
    names: HashTable<u32>,
    topics: Vec<Topic>,
    free: Vec<u32>,
    /// Topics that the end of the turn looks at: something was published to them, or they may
    /// have nobody left.
    touched: Vec<u32>,
    /// By slot. Nothing but a word for a connection without subscriptions.
    subscribers: Vec<Option<Box<Subscriptions>>>,
    /// Changes whenever a number of a pattern is freed.
    numbering: u64,
    laggards: Laggards,
    /// Whom to tell that messages were missed.
    gaps: Gaps,
    /// The shard has ended.
    ended: bool,
}

impl Hub {
    /// The hub of a shard, without topics.
    #[must_use]
    pub(crate) fn new(exchange: Arc<Exchange>, shard: usize) -> Self {
        Self {
            shard,
            exchange,
            names: HashTable::new(),
            topics: Vec::new(),
            free: Vec::new(),
            touched: Vec::new(),
            subscribers: Vec::new(),
            numbering: 0,
            laggards: Laggards::default(),
            gaps: Gaps::default(),
            ended: false,
        }
    }

    /// What it shares with other shards.
    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.topics.len()
    }

    /// Deliveries to this shard's subscribers that were given up because its inlet was full.
    pub(crate) fn refused(&self) -> u64 {
        self.exchange.inlet(self.shard).refused()
    }

    /// Deliveries that subscribers missed because they read too slowly, and those that a later
    /// message replaced.
    pub(crate) fn lost(&self) -> (u64, u64) {
        (self.laggards.dropped, self.laggards.replaced)
    }

    /// Which slots to tell that messages were missed.
    pub(crate) fn take_gaps(&mut self) -> Vec<(u32, Gap)> {
        self.gaps.take()
    }

    fn find(&self, hash: u64, name: &str, is_pattern: bool) -> Option<u32> {
        let same = |&number: &u32| {
            let topic = &self.topics[number as usize];
            topic.is_pattern == is_pattern && *topic.name == *name
        };
        self.names.find(hash, same).copied()
    }

    fn insert(&mut self, hash: u64, name: &str, is_pattern: bool) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.topics.push(Topic::default());
            self.topics.len() as u32 - 1
        });
        let topic = &mut self.topics[number as usize];
        (topic.hash, topic.name, topic.is_pattern) = (hash, name.into(), is_pattern);
        let topics = &self.topics;
        self.names.insert_unique(hash, number, |&number| topics[number as usize].hash);
        number
    }

    /// Has the end of the turn look at a topic.
    fn touch(&mut self, topic: u32) {
        let turn = &mut self.topics[topic as usize].turn;
        if !std::mem::replace(&mut turn.listed, true) {
            self.touched.push(topic);
        }
    }

    fn forget(&mut self, number: u32) {
        let topic = std::mem::take(&mut self.topics[number as usize]);
        if let Ok(found) = self.names.find_entry(topic.hash, |&other| other == number) {
            found.remove();
        }
        self.numbering += u64::from(topic.is_pattern);
        self.free.push(number);
    }

    /// Publishes to the subscribers of a topic, and of the patterns that match it, on all shards;
    /// `sender` is the slot it comes from.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        name: &str,
        kind: MessageKind,
        payload: &[u8],
        sender: Option<u32>,
        how: Publish,
    ) -> Reached {
        if !self.exchange.takes_name(name) {
            return Reached::default();
        }
        self.exchange.send_away(name, kind, payload, how);
        let hash = self.exchange.hash(name);
        let Some(topic) = self.route(hash, name) else { return Reached::default() };
        let sender = sender.filter(|_| how.except_sender);
        let message = Outgoing { kind, payload, sender, how };
        let mut reached = self.append(topic, &message);
        if self.exchange.has_patterns() {
            let matches = self.take_matches(topic);
            for &matching in &matches.topics {
                let also = self.append(matching, &message);
                reached.queued += also.queued;
                reached.dropped += also.dropped;
            }
            self.topics[topic as usize].matches = Some(matches);
        }
        reached
    }

    /// The number of the topic to publish to, if anybody anywhere may be interested in it. One that
    /// has no members here gets a number for this turn.
    #[inline]
    fn route(&mut self, hash: u64, name: &str) -> Option<u32> {
        if let Some(number) = self.find(hash, name, false) {
            let topic = &mut self.topics[number as usize];
            if topic.members.is_empty() && !topic.entry.as_ref().is_some_and(|e| e.is_listed()) {
                topic.entry = self.exchange.find_to_publish(hash, name);
            }
            return Some(number);
        }
        let entry = self.exchange.find_to_publish(hash, name);
        if entry.is_none() && !self.exchange.has_patterns() {
            return None;
        }
        let number = self.insert(hash, name, false);
        self.topics[number as usize].entry = entry;
        self.touch(number);
        Some(number)
    }

    /// The patterns that match a topic, found again if patterns have come or gone.
    fn take_matches(&mut self, topic: u32) -> Box<Matches> {
        let mut matches = self.topics[topic as usize].matches.take().unwrap_or_default();
        let version = self.exchange.patterns_version();
        if matches.version == version && matches.numbering == self.numbering {
            return matches;
        }
        let found = self.exchange.matching(&self.topics[topic as usize].name);
        matches.topics.clear();
        matches.topics.extend(found.into_iter().map(|entry| self.number_of_pattern(entry)));
        (matches.version, matches.numbering) = (version, self.numbering);
        matches
    }

    fn number_of_pattern(&mut self, entry: Arc<Entry>) -> u32 {
        if let Some(number) = self.find(entry.hash, &entry.name, true) {
            let topic = &mut self.topics[number as usize];
            if topic.members.is_empty() {
                topic.entry = Some(entry);
            }
            return number;
        }
        let number = self.insert(entry.hash, &entry.name, true);
        self.topics[number as usize].entry = Some(entry);
        self.touch(number);
        number
    }

    /// Frames a message into a topic's batch.
    fn append(&mut self, number: u32, message: &Outgoing<'_>) -> Reached {
        let topic = &mut self.topics[number as usize];
        let Some(entry) = &topic.entry else { return Reached::default() };
        if topic.turn.open.len() > BATCH_BYTES {
            self.seal(number);
            return self.append(number, message);
        }
        let turn = &mut topic.turn;
        // With a history, this shard gets it by its inlet, too.
        let kept = entry.log.is_some();
        let here = if kept { 0 } else { topic.members.len() };
        let mut reached = Reached { queued: here, dropped: 0 };
        for shard in (0..self.exchange.shards()).filter(|&shard| shard != self.shard || kept) {
            let subscribers = entry.subscribers(shard);
            if subscribers == 0 {
                continue;
            }
            if turn.reserved.has(shard) {
                reached.queued += subscribers;
            } else if !turn.refused.has(shard) && self.exchange.inlet(shard).reserve() {
                turn.reserved.add(shard);
                reached.queued += subscribers;
            } else {
                turn.refused.add(shard);
                reached.dropped += subscribers;
            }
        }
        if reached == Reached::default() && !kept {
            return reached;
        }
        let except = message.sender.map(|slot| Except { shard: self.shard as u32, slot });
        if let Some(slot) = message.sender
            && let Some(Some(subscriptions)) = self.subscribers.get(slot as usize)
            && subscriptions.position(number).is_some()
        {
            reached.queued = reached.queued.saturating_sub(1);
        }
        let (tags, key) = (message.how.tags, message.how.key);
        turn.open.push(message.kind, message.payload, (tags, key), except);
        self.touch(number);
        reached
    }

    /// Closes a topic's batch: the other shards get theirs now, this one's waits for the end of the
    /// turn.
    fn seal(&mut self, number: u32) {
        let topic = &mut self.topics[number as usize];
        if topic.turn.open.is_empty() {
            return;
        }
        let batch = topic.turn.open.seal();
        let reserved = std::mem::take(&mut topic.turn.reserved);
        let refused = std::mem::take(&mut topic.turn.refused);
        if let Some(entry) = &topic.entry {
            self.exchange.ship(entry, &batch, self.shard, reserved, refused);
        }
        let kept = topic.entry.as_ref().is_some_and(|entry| entry.log.is_some());
        if !topic.members.is_empty() && !kept {
            topic.turn.take_in(batch);
        }
    }

    /// Takes in what other shards and threads have published.
    pub(crate) fn collect(&mut self) {
        let parcels = self.exchange.inlet(self.shard).take();
        self.take_in(parcels);
    }

    fn take_in(&mut self, parcels: Vec<Parcel>) {
        for parcel in parcels {
            if parcel.entry.subscribers(self.shard) == 0 {
                // They have left since, and with them whoever has missed something.
                parcel.entry.take_missed(self.shard);
                continue;
            }
            let number = parcel.entry.place(self.shard);
            self.report_missed(number, &parcel.entry);
            let Some(batch) = parcel.batch else { continue };
            let turn = &self.topics[number as usize].turn;
            if !turn.newcomers.is_empty() && parcel.entry.log.is_none() {
                // Who has joined since the open batch began is held to its bytes.
                self.seal(number);
            }
            self.topics[number as usize].turn.take_in(batch);
            self.touch(number);
        }
    }

    /// Notes for all subscribers of a topic what the inlet had no place for.
    fn report_missed(&mut self, number: u32, entry: &Arc<Entry>) {
        let missed = entry.take_missed(self.shard);
        if missed > 0 {
            for member in &self.topics[number as usize].members {
                self.gaps.add(member.slot, entry, missed.into());
            }
        }
    }

    /// Whether anything awaits the end of the turn.
    #[inline]
    #[must_use]
    pub(crate) fn has_deliveries(&self) -> bool {
        !self.touched.is_empty() || !self.gaps.is_empty()
    }

    /// Ends the turn: hands each subscriber its share of what was published.
    pub(crate) fn deliver(&mut self, bounds: LagBounds, audience: &mut impl Audience) {
        let mut in_inlet = false;
        for index in 0..self.touched.len() {
            let number = self.touched[index];
            self.seal(number);
            let entry = &self.topics[number as usize].entry;
            in_inlet |= entry.as_ref().is_some_and(|entry| entry.log.is_some());
        }
        if in_inlet {
            self.collect();
        }
        for number in std::mem::take(&mut self.touched) {
            let topic = &mut self.topics[number as usize];
            let laggards = &mut self.laggards;
            Delivery { shard: self.shard as u32, number, bounds, laggards }.run(topic, audience);
            topic.turn.listed = false;
            if topic.members.is_empty() {
                self.forget(number);
            }
        }
    }

    /// Hands the other shards what was published last, and is handed nothing more.
    pub(crate) fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        for number in std::mem::take(&mut self.touched) {
            self.seal(number);
        }
        self.exchange.inlet(self.shard).stop();
        for topic in self.topics.drain(..).filter(|topic| !topic.members.is_empty()) {
            if let Some(entry) = &topic.entry {
                self.exchange.leave(self.shard, entry);
            }
        }
        self.names.clear();
        self.subscribers.clear();
    }

    /// Whether nothing is published through it any more.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Gives a slow subscriber what was kept aside for it, as far as it has caught up; whether it
    /// still lags behind.
    pub(crate) fn resume(&mut self, slot: u32, audience: &mut impl Audience) -> bool {
        while let Some(queued) = audience.queued_bytes(slot) {
            match self.laggards.next(slot, queued) {
                Some(frame) => audience.send_alone(slot, frame),
                None => return self.laggards.release(slot, queued, &mut self.gaps),
            }
        }
        // It receives nothing more.
        self.laggards.forget(slot);
        false
    }
}

/// A message to be framed.
struct Outgoing<'a> {
    kind: MessageKind,
    payload: &'a [u8],
    /// The slot of the subscriber who does not get it.
    sender: Option<u32>,
    how: Publish,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
pub(super) mod tests;
