//! Subscribers who come and go in the midst of turns, inlets that are full and readers that stall:
//! each subscriber gets what every publisher says from one moment on, in order and once, or is told
//! how much of it is missing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::hub::Hub;
use super::hub::tests::{Inbox, at, content, hubs_with, rules};
use super::lag::LagBounds;
use super::model_tests::Random;
use super::subscribe::TopicName::Exact;
use super::{Publish, SlowPolicy, Subscribe, TopicOptions};
use crate::limits::Limits;

const SLOTS: usize = 4;
const TOPIC: &str = "t";

/// One message as it was published.
struct Said {
    tags: u64,
    /// Shard and slot of a sender who does not get it.
    except: Option<(usize, u32)>,
}

/// A subscription from its beginning to its end.
struct Subscriber {
    shard: usize,
    slot: u32,
    filter: u64,
    /// Of each publisher, where it may begin: after what was under way, or with it.
    begins: Vec<Range<usize>>,
    heard: Vec<Vec<usize>>,
    told: u64,
}

/// Some shards with one topic. Publishers are the shards, and a thread that is none.
struct Town {
    hubs: Vec<Hub>,
    inboxes: Vec<Inbox>,
    limits: Limits,
    said: Vec<Vec<Said>>,
    /// What of each publisher had left its shard at its last end of a turn.
    sealed: Vec<usize>,
    subscribers: BTreeMap<(usize, u32), Subscriber>,
    /// Whether somebody may miss something.
    is_lossy: bool,
    seed: u64,
}

impl Town {
    fn new(shards: usize, is_lossy: bool, options: TopicOptions, seed: u64) -> Self {
        let mut limits = Limits::default();
        if is_lossy {
            limits = Limits { inlet_batches_max: 2, inlet_bytes_max: 60, ..limits };
            limits = Limits { lag_bytes_max: 400, lag_total_bytes_max: 900, ..limits };
        }
        Self {
            hubs: hubs_with(shards, &limits, rules(options)),
            inboxes: (0..shards).map(|_| Inbox::default()).collect(),
            limits,
            said: (0..=shards).map(|_| Vec::new()).collect(),
            sealed: vec![0; shards + 1],
            subscribers: BTreeMap::new(),
            is_lossy,
            seed,
        }
    }

    fn publish(&mut self, publisher: usize, random: &mut Random) {
        let number = self.said[publisher].len();
        let text = format!("{publisher} {number}");
        let mut said = Said { tags: u64::MAX, except: None };
        let how = |said: &Said| Publish {
            tags: said.tags,
            except_sender: said.except.is_some(),
            ..Publish::default()
        };
        // What is kept from somebody on purpose counts as missed where an inlet is full.
        if !self.is_lossy && random.below(3) == 0 {
            said.tags = 1 << random.below(2);
        }
        match self.hubs.get_mut(publisher) {
            Some(hub) => {
                let sender = random.below(SLOTS) as u32;
                if !self.is_lossy && random.below(3) == 0 {
                    said.except = Some((publisher, sender));
                }
                hub.publish(TOPIC, content(text.as_bytes()), Some(sender), how(&said));
            }
            None => {
                let exchange = Arc::clone(self.hubs[0].exchange());
                exchange.publish(TOPIC, content(text.as_bytes()), how(&said));
                self.sealed[publisher] = number + 1;
            }
        }
        self.said[publisher].push(said);
    }

    fn join(&mut self, shard: usize, slot: u32, random: &mut Random) {
        if self.subscribers.contains_key(&(shard, slot)) {
            return;
        }
        let filter = match self.is_lossy {
            true => u64::MAX,
            false => [u64::MAX, 1, 2][random.below(3)],
        };
        let how = Subscribe { filter, from: None };
        self.hubs[shard].subscribe(Exact(TOPIC), at(slot), how, &self.limits).unwrap();
        let begins = self.said.iter().enumerate().map(|(publisher, said)| {
            let earliest = if publisher == shard { said.len() } else { self.sealed[publisher] };
            earliest..said.len()
        });
        let subscriber = Subscriber {
            shard,
            slot,
            filter,
            begins: begins.collect(),
            heard: vec![Vec::new(); self.said.len()],
            told: 0,
        };
        self.subscribers.insert((shard, slot), subscriber);
    }

    fn leave(&mut self, shard: usize, slot: u32, all: bool) {
        match all {
            true => self.hubs[shard].leave(slot),
            false => self.hubs[shard].unsubscribe(Exact(TOPIC), slot),
        }
        self.inboxes[shard].read(slot);
        if let Some(subscriber) = self.subscribers.remove(&(shard, slot)) {
            self.check(&subscriber, false);
        }
    }

    /// Ends a turn of a shard.
    fn turn(&mut self, shard: usize) {
        let (hub, inbox) = (&mut self.hubs[shard], &mut self.inboxes[shard]);
        hub.collect();
        hub.deliver(LagBounds::of(&self.limits), inbox);
        self.sealed[shard] = self.said[shard].len();
        self.receive(shard);
    }

    /// A reader that stalls goes on.
    fn read(&mut self, shard: usize, slot: u32) {
        let (hub, inbox) = (&mut self.hubs[shard], &mut self.inboxes[shard]);
        inbox.read(slot);
        hub.resume(slot, inbox);
        self.receive(shard);
    }

    fn receive(&mut self, shard: usize) {
        let received = std::mem::take(&mut self.inboxes[shard].received);
        for (slot, texts) in received {
            let subscriber = self.subscribers.get_mut(&(shard, slot));
            let subscriber = subscriber.expect("who has left gets nothing");
            for text in texts {
                let (publisher, number) = text.split_once(' ').unwrap();
                let publisher: usize = publisher.parse().unwrap();
                subscriber.heard[publisher].push(number.parse().unwrap());
            }
        }
        for (slot, gap) in self.hubs[shard].take_gaps() {
            let subscriber = self.subscribers.get_mut(&(shard, slot));
            subscriber.expect("who has left is told nothing").told += gap.messages;
        }
    }

    /// What a subscriber has heard, against what was said to it.
    fn check(&self, subscriber: &Subscriber, to_the_end: bool) {
        let Subscriber { shard, slot, filter, begins, heard, told } = subscriber;
        let who = format!("seed {}, shard {shard}, slot {slot}", self.seed);
        let (mut least, mut most) = (0, 0);
        for (publisher, heard) in heard.iter().enumerate() {
            let said = &self.said[publisher];
            let is_due = |number: &usize| {
                let Said { tags, except } = &said[*number];
                tags & filter != 0 && *except != Some((*shard, *slot))
            };
            let begins = &begins[publisher];
            assert!(heard.is_sorted_by(|one, next| one < next), "{who}: {publisher} {heard:?}");
            assert!(heard.first().is_none_or(|&first| first >= begins.start), "{who}: {heard:?}");
            assert!(heard.iter().all(is_due), "{who}: {publisher} {heard:?}");
            if !self.is_lossy {
                let first = heard.first().copied().unwrap_or(said.len()).min(begins.end);
                let end = match to_the_end {
                    true => said.len(),
                    false => heard.last().map_or(first, |&last| last + 1),
                };
                let due: Vec<usize> = (first..end).filter(is_due).collect();
                assert_eq!(*heard, due, "{who}: of publisher {publisher}, {begins:?}");
            }
            least += said.len() - begins.end;
            most += said.len() - begins.start;
        }
        if self.is_lossy {
            let all = heard.iter().map(Vec::len).sum::<usize>() + *told as usize;
            assert!(all <= most, "{who}: {all} heard or told of {most}");
            assert!(!to_the_end || all >= least, "{who}: {all} heard or told of {least}");
        } else {
            assert_eq!(*told, 0, "{who}");
        }
    }

    /// Lets everything arrive; how many messages somebody was told to have missed.
    fn end(mut self) -> u64 {
        for _ in 0..3 {
            for shard in 0..self.hubs.len() {
                self.turn(shard);
                (0..SLOTS as u32).for_each(|slot| self.read(shard, slot));
            }
        }
        let exchange = self.hubs[0].exchange();
        let at_rest = (0..self.hubs.len()).all(|shard| exchange.inlet(shard).is_at_rest());
        assert!(at_rest, "seed {}: every place was given back as it was taken", self.seed);
        let subscribers = std::mem::take(&mut self.subscribers);
        subscribers.values().for_each(|subscriber| self.check(subscriber, true));
        subscribers.values().map(|subscriber| subscriber.told).sum()
    }
}

/// How many messages were missed by those who stayed to the end.
fn run(shards: usize, is_lossy: bool, options: TopicOptions, seed: u64) -> u64 {
    let mut random = Random(seed);
    let mut town = Town::new(shards, is_lossy, options, seed);
    for _ in 0..600 {
        let (shard, slot) = (random.below(shards), random.below(SLOTS) as u32);
        match random.below(20) {
            0..8 => town.publish(random.below(shards + 1), &mut random),
            8..11 => town.join(shard, slot, &mut random),
            11 => town.leave(shard, slot, random.below(2) == 0),
            12 if is_lossy => town.inboxes[shard].stall(slot),
            13..15 => town.read(shard, slot),
            _ => town.turn(shard),
        }
    }
    town.end()
}

#[test]
fn whoever_comes_in_the_midst_gets_each_publisher_whole_from_then_on() {
    for shards in [1, 2, 4] {
        for (seed, history_messages) in (1..400).zip([0, 5].into_iter().cycle()) {
            run(shards, false, TopicOptions { history_messages, ..Default::default() }, seed);
        }
    }
}

#[test]
fn whoever_misses_messages_is_told_how_many() {
    for slow in [SlowPolicy::Close, SlowPolicy::DropNewest, SlowPolicy::DropOldest] {
        let mut missed = 0;
        for shards in [1, 2, 4] {
            for (seed, history_messages) in (1..400).zip([0, 5].into_iter().cycle()) {
                let options =
                    TopicOptions { slow, backlog_bytes: 30, history_messages, retain: false };
                missed += run(shards, true, options, seed);
            }
        }
        assert!(missed > 1_000, "{slow:?}: only {missed} were missed");
    }
}
