//! Hubs of several shards on one thread, against plain expectations.

mod bounds;
mod compressed;
mod histories;
mod publishing;
mod slow;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::*;
use crate::limits::Limits;
use crate::protocol::MessageKind;
use crate::pubsub::frames;
use crate::pubsub::subscribe::TopicName::{Exact, Pattern};
use crate::pubsub::topic::Member;
use crate::pubsub::{Bell, Rules, SlowPolicy, TopicOptions};
use crate::pubsub::{
    Content, Position, Publish, Reached, Savings, Subscribe, SubscribeError, Taken,
};

struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

pub(in crate::pubsub) fn hubs(shards: usize, limits: &Limits) -> Vec<Hub> {
    hubs_with(shards, limits, Rules::default())
}

pub(in crate::pubsub) fn hubs_with(shards: usize, limits: &Limits, rules: Rules) -> Vec<Hub> {
    let bells = (0..shards).map(|_| Arc::new(Silent) as Arc<dyn Bell>);
    let exchange = Arc::new(Exchange::new(bells, rules, limits));
    (0..shards).map(|shard| Hub::new(Arc::clone(&exchange), shard)).collect()
}

pub(in crate::pubsub) const ALL: Subscribe = Subscribe { filter: u64::MAX, from: None };

pub(in crate::pubsub) fn at(slot: u32) -> Newcomer {
    Newcomer { slot, window_bits: None }
}

pub(in crate::pubsub) fn content(payload: &[u8]) -> Content<'_> {
    Content { kind: MessageKind::Text, payload, framed: None, compress: None }
}

/// What each slot has received, message by message.
#[derive(Default)]
pub(in crate::pubsub) struct Inbox {
    pub(in crate::pubsub) received: BTreeMap<u32, Vec<String>>,
    /// Bytes that wait for those who do not read.
    queued: BTreeMap<u32, usize>,
    lagging: BTreeSet<u32>,
    /// Bytes that were not shared.
    copied: usize,
    /// Most bytes in memory for many together.
    shared: usize,
}

impl Audience for Inbox {
    fn send(&mut self, slot: u32, frames: Bytes, messages: u32) -> Taken {
        assert!(messages > 0, "nobody is sent nothing");
        let mut start = 0;
        let mut count = 0;
        for end in frames::ends(&frames) {
            let frame = &frames[start..end];
            let header = [2, 4, 10][(frame[1] as usize).saturating_sub(125)];
            let text = String::from_utf8(frame[header..].to_vec()).unwrap();
            self.received.entry(slot).or_default().push(text);
            (start, count) = (end, count + 1);
        }
        assert_eq!(count, messages, "the messages are counted");
        if let Some(queued) = self.queued.get_mut(&slot) {
            *queued += frames.len();
        }
        Taken::Queued
    }

    fn send_alone(&mut self, slot: u32, frames: Vec<u8>, messages: u32) -> Taken {
        self.copied += frames.len();
        self.send(slot, frames.into(), messages)
    }

    fn send_compressed(&mut self, _: u32, _: Bytes, _: u32, _: Savings) -> Taken {
        unreachable!("nobody here has agreed on compression")
    }

    fn window_bits(&mut self, _slot: u32) -> Option<u8> {
        None
    }

    fn note_shared(&mut self, bytes: usize) {
        self.shared = self.shared.max(bytes);
    }

    fn queued_bytes(&mut self, slot: u32) -> Option<usize> {
        Some(self.queued.get(&slot).copied().unwrap_or(0))
    }

    fn set_lagging(&mut self, slot: u32) {
        self.lagging.insert(slot);
    }
}

impl Inbox {
    /// A slot reads nothing from now on.
    pub(in crate::pubsub) fn stall(&mut self, slot: u32) {
        self.queued.entry(slot).or_default();
    }

    /// A slot reads all that waits, and goes on reading.
    pub(in crate::pubsub) fn read(&mut self, slot: u32) {
        self.queued.remove(&slot);
    }

    fn take(&mut self, slot: u32) -> Vec<String> {
        self.received.remove(&slot).unwrap_or_default()
    }
}

pub(in crate::pubsub) fn publish(hub: &mut Hub, name: &str, text: &str) -> Reached {
    hub.publish(name, content(text.as_bytes()), None, Publish::default())
}

fn join(hub: &mut Hub, name: &str, slot: u32) {
    hub.subscribe(Exact(name), at(slot), ALL, &Limits::default()).unwrap();
}

/// Ends a turn of a shard.
pub(in crate::pubsub) fn turn(hub: &mut Hub) -> Inbox {
    let mut inbox = Inbox::default();
    hub.collect();
    hub.deliver(LagBounds::of(&Limits::default()), &mut inbox);
    inbox
}

pub(in crate::pubsub) fn reached(queued: usize) -> Reached {
    Reached { queued, dropped: 0 }
}

pub(in crate::pubsub) fn rules(options: TopicOptions) -> Rules {
    let mut rules = Rules::default();
    rules.add("t", options);
    rules
}

/// Delivers to an inbox in which one subscriber reads nothing.
fn turn_with(hub: &mut Hub, inbox: &mut Inbox, bounds: LagBounds) {
    hub.collect();
    hub.deliver(bounds, inbox);
}

fn slow(policy: SlowPolicy) -> TopicOptions {
    TopicOptions { slow: policy, backlog_bytes: 10, ..TopicOptions::default() }
}
