//! The topics of one shard: who is subscribed here, what was published this turn, here and
//! elsewhere, and who gets it. It sends nothing itself.

mod joining;
mod publishing;

pub(crate) use joining::Newcomer;

use std::sync::Arc;

use hashbrown::HashTable;

use super::delivery::{Audience, Delivery};
use super::entry::Entry;
use super::exchange::{Exchange, Parcel};
use super::gaps::{Gap, Gaps};
use super::lag::{LagBounds, Laggards};
use super::matches::Matches;
use super::subscribe::TopicName;
use super::subscriptions::Subscriptions;
use super::topic::Topic;
use crate::protocol::deflate::Compressor;

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
    /// By slot.
    subscribers: Vec<Subscriptions>,
    matches: Matches,
    /// Made when the first batch needs it.
    compressor: Option<Box<Compressor>>,
    laggards: Laggards,
    /// Messages that filters have kept from subscribers, so far.
    filtered: u64,
    /// Whom to tell that messages were missed.
    gaps: Gaps,
    /// Bytes of what is published here and awaits the end of the turn, to be received here.
    waiting_bytes: usize,
    /// A list to take parcels into.
    parcels: Vec<Parcel>,
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
            matches: Matches::default(),
            compressor: None,
            laggards: Laggards::default(),
            filtered: 0,
            gaps: Gaps::default(),
            waiting_bytes: 0,
            parcels: Vec::new(),
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

    /// Deliveries that subscribers missed because they read too slowly, those that a later message
    /// replaced, and those that filters kept from them.
    pub(crate) fn lost(&self) -> [u64; 3] {
        [self.laggards.dropped, self.laggards.replaced, self.filtered]
    }

    /// Bytes in memory that the shard holds for many of its connections together.
    #[must_use]
    pub(crate) fn shared_bytes(&self) -> usize {
        self.exchange.shared_bytes(self.shard)
    }

    /// Which slots to tell that messages were missed.
    pub(crate) fn take_gaps(&mut self) -> Vec<(u32, Gap)> {
        self.gaps.take()
    }

    fn find(&self, hash: u64, name: TopicName<'_>) -> Option<u32> {
        let same = |&number: &u32| self.topics[number as usize].has_name(name);
        self.names.find(hash, same).copied()
    }

    /// The number that the next new topic gets.
    fn vacancy(&mut self) -> u32 {
        if self.free.is_empty() {
            self.free.push(self.topics.len() as u32);
            self.topics.push(Topic::default());
        }
        self.free[self.free.len() - 1]
    }

    /// Gives a topic that is not there a number, [`vacancy`](Self::vacancy).
    fn insert(&mut self, entry: Arc<Entry>) -> u32 {
        let number = self.vacancy();
        self.free.pop();
        let hash = entry.hash;
        self.topics[number as usize].entry = Some(entry);
        let topics = &self.topics;
        self.names.insert_unique(hash, number, |&number| topics[number as usize].hash());
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
        if let Ok(found) = self.names.find_entry(topic.hash(), |&other| other == number) {
            found.remove();
        }
        self.free.push(number);
    }

    /// Takes in what other shards and threads have published.
    pub(crate) fn collect(&mut self) {
        let mut parcels = std::mem::take(&mut self.parcels);
        self.exchange.inlet(self.shard).take(&mut parcels);
        self.take_in(parcels);
    }

    fn take_in(&mut self, mut parcels: Vec<Parcel>) {
        for parcel in parcels.drain(..) {
            if parcel.entry.subscribers(self.shard) == 0 {
                // They have left since, and with them whoever has missed something.
                parcel.entry.take_missed(self.shard);
                continue;
            }
            let number = parcel.entry.place(self.shard);
            self.report_missed(number, &parcel.entry);
            let Some(batch) = parcel.batch else { continue };
            self.topics[number as usize].turn.take_in(batch);
            self.touch(number);
        }
        self.parcels = parcels;
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
        self.waiting_bytes = 0;
        for number in std::mem::take(&mut self.touched) {
            let topic = &mut self.topics[number as usize];
            Delivery {
                exchange: &self.exchange,
                shard: self.shard,
                number,
                bounds,
                laggards: &mut self.laggards,
                filtered: &mut self.filtered,
            }
            .run(topic, audience);
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
        self.exchange.tell_interests();
        self.names.clear();
        self.free.clear();
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
                Some(frame) => _ = audience.send_alone(slot, frame, 1),
                None => return self.laggards.release(slot, queued, &mut self.gaps),
            }
        }
        // It receives nothing more.
        self.laggards.forget(slot);
        false
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
pub(super) mod tests;
