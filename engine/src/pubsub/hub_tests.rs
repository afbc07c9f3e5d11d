//! Hubs of several shards on one thread, against plain expectations and a simple model.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::*;
use crate::limits::Limits;
use crate::protocol::MessageKind;
use crate::pubsub::frames;
use crate::pubsub::pattern::SubscribeError;
use crate::pubsub::topic::Member;
use crate::pubsub::{Bell, Rules, SlowPolicy, TopicOptions};
use crate::pubsub::{Publish, Reached, Taken};

struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

pub(in crate::pubsub) fn hubs(shards: usize, limits: &Limits) -> Vec<Hub> {
    hubs_with(shards, limits, Rules::default())
}

fn hubs_with(shards: usize, limits: &Limits, rules: Rules) -> Vec<Hub> {
    let bells = (0..shards).map(|_| Arc::new(Silent) as Arc<dyn Bell>);
    let exchange = Arc::new(Exchange::new(bells, rules, limits));
    (0..shards).map(|shard| Hub::new(Arc::clone(&exchange), shard)).collect()
}

pub(in crate::pubsub) const ALL: Subscribe = Subscribe { filter: u64::MAX, from: None };

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
    fn take(&mut self, slot: u32) -> Vec<String> {
        self.received.remove(&slot).unwrap_or_default()
    }
}

pub(in crate::pubsub) fn publish(hub: &mut Hub, name: &str, text: &str) -> Reached {
    hub.publish(name, MessageKind::Text, text.as_bytes(), None, Publish::default())
}

fn join(hub: &mut Hub, name: &str, slot: u32) {
    hub.subscribe(name, slot, ALL, &Limits::default()).unwrap();
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

#[test]
fn a_subscriber_receives_what_is_published_after_it_joined() {
    let mut hub = hubs(1, &Limits::default()).remove(0);
    join(&mut hub, "t", 1);
    assert_eq!(publish(&mut hub, "t", "abc"), reached(1));
    join(&mut hub, "t", 2);
    join(&mut hub, "t", 2);
    assert_eq!(publish(&mut hub, "t", "de"), reached(2));
    let mut inbox = turn(&mut hub);
    assert_eq!(
        (inbox.take(1), inbox.take(2)),
        (vec!["abc".into(), "de".into()], vec!["de".into()])
    );
    assert!(turn(&mut hub).received.is_empty());
    hub.unsubscribe("t", false, 1);
    hub.leave(2);
    assert_eq!(publish(&mut hub, "t", "nobody"), reached(0));
    assert!(turn(&mut hub).received.is_empty());
    assert!(hub.names.is_empty() && hub.free.len() == hub.topics.len());
}

#[test]
fn a_publish_reaches_the_subscribers_of_other_shards_in_order() {
    let mut hubs = hubs(3, &Limits::default());
    for (shard, hub) in hubs.iter_mut().enumerate().skip(1) {
        (0..shard as u32).for_each(|slot| join(hub, "t", slot));
    }
    for text in ["a", "b"] {
        assert_eq!(publish(&mut hubs[0], "t", text), reached(3));
    }
    assert!(turn(&mut hubs[0]).received.is_empty());
    assert_eq!(publish(&mut hubs[0], "t", "c"), reached(3));
    turn(&mut hubs[0]);
    assert_eq!(
        hubs[0].exchange.publish("t", MessageKind::Text, b"d", Publish::default()),
        reached(3)
    );
    for (shard, hub) in hubs.iter_mut().enumerate().skip(1) {
        let mut inbox = turn(hub);
        for slot in 0..shard as u32 {
            assert_eq!(inbox.take(slot), ["a", "b", "c", "d"]);
        }
    }
    drop(hubs.pop());
    assert_eq!(publish(&mut hubs[0], "t", "e"), reached(1), "a shard that ended has nobody");
}

#[test]
fn what_a_shard_publishes_before_it_ends_reaches_the_others_and_takes_no_place_for_ever() {
    let limits = Limits { inlet_batches_max: 1, ..Limits::default() };
    let mut hubs = hubs(2, &limits);
    join(&mut hubs[0], "t", 7);
    join(&mut hubs[1], "t", 1);
    assert_eq!(publish(&mut hubs[0], "t", "farewell"), reached(2));
    hubs[0].end();
    hubs[0].leave(7);
    assert!(hubs[0].has_ended() && !hubs[0].has_deliveries());
    assert_eq!(turn(&mut hubs[1]).take(1), ["farewell"]);
    let exchange = Arc::clone(hubs[1].exchange());
    assert_eq!(exchange.publish("t", MessageKind::Text, b"and on", Publish::default()), reached(1));
    assert_eq!(turn(&mut hubs[1]).take(1), ["and on"]);
}

#[test]
fn a_full_inlet_drops_for_its_shard_alone_and_says_so() {
    let limits = Limits { inlet_batches_max: 1, ..Limits::default() };
    let mut hubs = hubs(3, &limits);
    join(&mut hubs[1], "t", 1);
    join(&mut hubs[2], "t", 1);
    join(&mut hubs[2], "t", 2);
    assert_eq!(publish(&mut hubs[0], "t", "a"), reached(3));
    assert_eq!(publish(&mut hubs[0], "t", "b"), reached(3), "the same batch, the same place");
    turn(&mut hubs[0]);
    assert_eq!(turn(&mut hubs[1]).take(1), ["a", "b"]);
    assert_eq!(publish(&mut hubs[0], "t", "c"), Reached { queued: 1, dropped: 2 });
    turn(&mut hubs[0]);
    assert_eq!((hubs[1].refused(), hubs[2].refused()), (0, 2));
    assert_eq!(turn(&mut hubs[2]).take(2), ["a", "b"]);
    assert_eq!(turn(&mut hubs[1]).take(1), ["c"]);
    assert_eq!(publish(&mut hubs[0], "t", "d"), reached(3), "there is room again");
}

#[test]
fn bytes_that_other_shards_and_this_one_are_about_to_get_are_bounded() {
    let limits = Limits { inlet_bytes_max: 100_000, ..Limits::default() };
    let mut hubs = hubs(2, &limits);
    join(&mut hubs[1], "there", 1);
    join(&mut hubs[0], "here", 1);
    let text = "x".repeat(996);
    for name in ["there", "here"] {
        for number in 0..300 {
            let expected = match number < 100 {
                true => reached(1),
                false => Reached { queued: 0, dropped: 1 },
            };
            assert_eq!(publish(&mut hubs[0], name, &text), expected, "{name}: {number}");
        }
    }
    // Another thread finds no room either.
    let exchange = Arc::clone(hubs[0].exchange());
    let send = |name| exchange.publish(name, MessageKind::Text, b"x", Publish::default());
    assert_eq!(send("there"), Reached { queued: 0, dropped: 1 });
    assert_eq!(turn(&mut hubs[0]).take(1).len(), 100);
    assert_eq!(turn(&mut hubs[1]).take(1).len(), 100);
    let gap = |hub: &mut Hub| hub.take_gaps()[0].1.messages;
    hubs[0].collect();
    assert_eq!((gap(&mut hubs[0]), gap(&mut hubs[1])), (200, 201));
    assert_eq!((hubs[0].refused(), hubs[1].refused()), (200, 201));
    assert_eq!((send("there"), publish(&mut hubs[0], "here", "x")), (reached(1), reached(1)));
}

#[test]
fn only_what_was_published_to_somebody_is_counted_as_missed() {
    let limits = Limits { inlet_batches_max: 1, ..Limits::default() };
    let mut hubs = hubs(2, &limits);
    join(&mut hubs[0], "t", 9);
    join(&mut hubs[1], "other", 3);
    assert_eq!(publish(&mut hubs[0], "other", "takes the only place"), reached(1));
    for _ in 0..5 {
        assert_eq!(publish(&mut hubs[0], "t", "to nobody there"), reached(1));
    }
    join(&mut hubs[1], "t", 1);
    for _ in 0..2 {
        assert_eq!(publish(&mut hubs[0], "t", "missed"), Reached { queued: 1, dropped: 1 });
    }
    join(&mut hubs[1], "t", 2);
    turn(&mut hubs[0]);
    turn(&mut hubs[1]);
    assert_eq!(hubs[1].refused(), 2);
    let told: Vec<_> = hubs[1].take_gaps().iter().map(|(_, gap)| gap.messages).collect();
    assert!(told.iter().all(|&messages| messages <= 2), "{told:?}");
}

#[test]
fn publishing_to_nobody_leaves_nothing_behind_and_patterns_are_looked_for_once() {
    let limits = Limits::default();
    let mut hubs = hubs(2, &limits);
    hubs[1].subscribe_matching("room/*", 1, u64::MAX, &limits).unwrap();
    for round in 0..3 {
        for number in 10..3_000 {
            assert_eq!(publish(&mut hubs[0], &format!("price/{number}"), "x"), reached(0));
        }
        assert!(!hubs[0].has_deliveries() && hubs[0].is_empty());
        assert_eq!(publish(&mut hubs[0], "room/1", "x"), reached(1));
        assert_eq!(publish(&mut hubs[0], "price/1", "x"), reached(usize::from(round == 2)));
        turn(&mut hubs[0]);
        assert_eq!(turn(&mut hubs[1]).take(1).len(), if round == 2 { 2 } else { 1 });
        if round == 1 {
            // What is remembered of names holds until patterns change.
            hubs[1].subscribe_matching("*/1", 1, u64::MAX, &limits).unwrap();
            hubs[1].unsubscribe("room/*", true, 1);
            assert_eq!(publish(&mut hubs[0], "price/1", "x"), reached(1));
            assert_eq!(publish(&mut hubs[0], "room/2", "x"), reached(0));
            hubs[1].subscribe_matching("room/*", 1, u64::MAX, &limits).unwrap();
            hubs[1].unsubscribe("*/1", true, 1);
            hubs[1].subscribe_matching("price/1", 1, u64::MAX, &limits).unwrap();
            turn(&mut hubs[0]);
            turn(&mut hubs[1]);
        }
    }
}

#[test]
fn a_small_share_of_a_large_batch_is_copied() {
    let mut hub = hubs(1, &Limits::default()).remove(0);
    let limits = Limits::default();
    for (slot, filter) in [(1, 0b001), (2, 0b010), (3, 0b111)] {
        hub.subscribe("t", slot, Subscribe { filter, from: None }, &limits).unwrap();
    }
    for (tags, length) in [(0b001, 1_000), (0b010, 50_000), (0b100, 50_000)] {
        let how = Publish { tags, ..Publish::default() };
        hub.publish("t", MessageKind::Text, "x".repeat(length).as_bytes(), None, how);
    }
    let mut inbox = turn(&mut hub);
    assert_eq!([1, 2, 3].map(|slot| inbox.take(slot).len()), [1, 1, 3]);
    assert_eq!(inbox.copied, 1_004, "the smallest, and nothing else");
    assert_eq!(hub.lost(), [0, 0, 4], "what was filtered is counted");
}

#[test]
fn patterns_match_across_shards_and_each_subscription_counts() {
    let limits = Limits { patterns_max: 2, topic_levels_max: 3, ..Limits::default() };
    let mut hubs = hubs(2, &limits);
    join(&mut hubs[0], "a/b", 1);
    for (shard, pattern) in [(0, "a/*"), (1, "a/**"), (1, "a/*")] {
        hubs[shard].subscribe_matching(pattern, 1, u64::MAX, &limits).unwrap();
    }
    let refused = |hub: &mut Hub, pattern| hub.subscribe_matching(pattern, 2, u64::MAX, &limits);
    assert_eq!(refused(&mut hubs[0], "b/*"), Err(SubscribeError::TooManyPatterns));
    assert_eq!(refused(&mut hubs[0], "a/b/c/d"), Err(SubscribeError::TooDeep));
    assert_eq!(publish(&mut hubs[0], "a/b", "x"), reached(4));
    assert_eq!(publish(&mut hubs[0], "a/b/c", "y"), reached(1));
    assert_eq!(publish(&mut hubs[0], "b", "z"), reached(0));
    assert_eq!(turn(&mut hubs[0]).take(1), ["x", "x"]);
    let mut inbox = turn(&mut hubs[1]).take(1);
    inbox.sort_unstable();
    assert_eq!(inbox, ["x", "x", "y"]);
    hubs[1].leave(1);
    hubs[0].unsubscribe("a/*", true, 1);
    assert_eq!(publish(&mut hubs[0], "a/b", "w"), reached(1));
    assert_eq!(turn(&mut hubs[0]).take(1), ["w"]);
    refused(&mut hubs[0], "b/*").expect("there is room for a pattern again");
    assert_eq!(publish(&mut hubs[0], "b/1", "v"), reached(1));
}

#[test]
fn the_sender_can_be_left_out_and_filters_hold() {
    let mut hubs = hubs(2, &Limits::default());
    for hub in &mut hubs {
        for (slot, filter) in [(1, 0b01), (2, 0b10), (3, u64::MAX)] {
            hub.subscribe("t", slot, Subscribe { filter, from: None }, &Limits::default()).unwrap();
        }
    }
    let hub = &mut hubs[0];
    publish(hub, "t", "all");
    let mut to = |text: &str, tags, except_sender| {
        let how = Publish { tags, except_sender, ..Publish::default() };
        hub.publish("t", MessageKind::Text, text.as_bytes(), Some(3), how)
    };
    assert_eq!(to("others", u64::MAX, true), reached(5));
    assert_eq!(to("one", 0b01, false), reached(6), "filters are not looked at");
    to("two", 0b10, true);
    to("none", 0, false);
    let mut inbox = turn(&mut hubs[0]);
    assert_eq!(inbox.take(1), ["all", "others", "one"]);
    assert_eq!(inbox.take(2), ["all", "others", "two"]);
    assert_eq!(inbox.take(3), ["all", "one"]);
    let mut inbox = turn(&mut hubs[1]);
    assert_eq!(inbox.take(1), ["all", "others", "one"]);
    assert_eq!(inbox.take(3), ["all", "others", "one", "two"]);
}

#[test]
fn limits_of_subscriptions_hold() {
    let limits = Limits { subscriptions_max: 2, topic_bytes_max: 3, ..Limits::default() };
    let mut hub = hubs(1, &limits).remove(0);
    let mut enter = |name: &str| hub.subscribe(name, 7, ALL, &limits).map(drop);
    assert_eq!(enter("abcd"), Err(SubscribeError::NameTooLong));
    assert_eq!((enter("a"), enter("b"), enter("b")), (Ok(()), Ok(()), Ok(())));
    assert_eq!(enter("c"), Err(SubscribeError::TooMany));
    hub.unsubscribe("a", false, 7);
    assert_eq!(hub.subscribe("c", 7, ALL, &limits).map(drop), Ok(()));
}

#[test]
fn batches_are_cut_and_still_arrive_whole_and_in_order() {
    let mut hubs = hubs(2, &Limits::default());
    join(&mut hubs[0], "t", 1);
    join(&mut hubs[1], "t", 1);
    let text = "x".repeat(50_000);
    for number in 0..20 {
        if number == 10 {
            join(&mut hubs[0], "t", 2);
        }
        publish(&mut hubs[0], "t", &format!("{number} {text}"));
    }
    let numbers = |received: Vec<String>| -> Vec<usize> {
        received.iter().map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect()
    };
    let mut inbox = turn(&mut hubs[0]);
    assert_eq!(numbers(inbox.take(1)), (0..20).collect::<Vec<_>>());
    assert_eq!(numbers(inbox.take(2)), (10..20).collect::<Vec<_>>());
    assert_eq!(numbers(turn(&mut hubs[1]).take(1)), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_subscription_costs_at_most_32_bytes_beside_its_topic() {
    let mut hub = hubs(1, &Limits::default()).remove(0);
    let limits = Limits { subscriptions_max: 10_000, ..Limits::default() };
    let (connections, topics) = (100, 1_100);
    for topic in 0..topics {
        for slot in 0..connections {
            hub.subscribe(&format!("t{topic}"), slot, ALL, &limits).unwrap();
        }
    }
    let members: usize =
        hub.topics.iter().map(|topic| topic.members.capacity() * size_of::<Member>()).sum();
    let places: usize = hub.subscribers.iter().flatten().map(|all| all.heap_bytes()).sum();
    let each = (members + places) / (connections as usize * topics);
    assert!(each <= 32, "{each} bytes");
}

fn rules(options: TopicOptions) -> Rules {
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

/// What a subscriber with the policy gets of ten messages of 4 bytes that are published while it
/// reads nothing, first what is sent at once and then when it reads again, and how many it is told
/// to have missed. A second subscriber reads all the time and gets everything.
fn stall(policy: SlowPolicy, limits: &Limits, keys: u64) -> (Vec<String>, Vec<String>, u64) {
    let mut hub = hubs_with(1, limits, rules(slow(policy))).remove(0);
    join(&mut hub, "t", 1);
    join(&mut hub, "t", 2);
    let mut inbox = Inbox::default();
    inbox.queued.insert(1, 0);
    for number in 0..10u64 {
        let how = Publish { key: number % keys, ..Publish::default() };
        let text = format!("{number:02}");
        hub.publish("t", MessageKind::Text, text.as_bytes(), None, how);
        turn_with(&mut hub, &mut inbox, LagBounds::of(limits));
    }
    assert_eq!(inbox.take(2).len(), 10, "one that reads is not delayed");
    let at_once = inbox.take(1);
    let mut later = Vec::new();
    for _ in 0..20 {
        if inbox.lagging.contains(&1) {
            // All that was queued has been sent.
            inbox.queued.insert(1, 0);
            hub.resume(1, &mut inbox);
        }
        later.extend(inbox.take(1));
    }
    let gaps = hub.take_gaps();
    let missed = gaps.iter().map(|(slot, gap)| {
        assert_eq!((*slot, gap.topic()), (1, "t"));
        gap.messages
    });
    let missed = missed.sum();
    assert!(!lags(&hub, 1, "t"));
    publish(&mut hub, "t", "and on");
    assert_eq!(turn(&mut hub).take(1), ["and on"]);
    (at_once, later, missed)
}

#[test]
fn each_policy_does_with_a_slow_subscriber_what_it_says() {
    // Room for three.
    let limits = Limits { lag_bytes_max: 3 * 100, ..Limits::default() };
    let numbers = |numbers: std::ops::Range<u64>| -> Vec<String> {
        numbers.map(|number| format!("{number:02}")).collect()
    };
    let none = Vec::<String>::new();
    // Ten bytes wait after three messages of four.
    assert_eq!(stall(SlowPolicy::Close, &limits, 1), (numbers(0..10), none.clone(), 0));
    assert_eq!(stall(SlowPolicy::DropNewest, &limits, 1), (numbers(0..3), none, 7));
    assert_eq!(stall(SlowPolicy::DropOldest, &limits, 1), (numbers(0..3), numbers(7..10), 4));
    assert_eq!(stall(SlowPolicy::Latest, &limits, 1), (numbers(0..3), numbers(9..10), 0));
    let (_, mut later, missed) = stall(SlowPolicy::Latest, &limits, 2);
    later.sort_unstable();
    assert_eq!((later, missed), (numbers(8..10), 0), "the latest of each key");
    let nothing = Limits { lag_total_bytes_max: 3, ..Limits::default() };
    let (_, later, missed) = stall(SlowPolicy::DropOldest, &nothing, 1);
    assert_eq!((later.len(), missed), (0, 7), "the bound of all subscribers together");
}

#[test]
fn what_was_kept_aside_ends_with_the_subscription() {
    let limits = Limits::default();
    for policy in [SlowPolicy::Latest, SlowPolicy::DropNewest] {
        let mut hub = hubs_with(1, &limits, rules(slow(policy))).remove(0);
        let mut inbox = Inbox::default();
        inbox.queued.insert(1, 100);
        for leave in [true, false] {
            join(&mut hub, "t", 1);
            publish(&mut hub, "t", "x");
            turn_with(&mut hub, &mut inbox, LagBounds::of(&limits));
            assert!(lags(&hub, 1, "t"));
            if leave {
                hub.leave(1);
            } else {
                hub.unsubscribe("t", false, 1);
                // The last one: nothing is left for the end of the connection to forget.
                hub.leave(1);
            }
            assert!(!hub.laggards.include(1, 0));
            inbox.queued.insert(1, 0);
            hub.resume(1, &mut inbox);
            assert!(hub.take_gaps().is_empty(), "its slot has another owner now");
            inbox.queued.insert(1, 100);
        }
    }
}

#[test]
fn whoever_is_subscribed_to_a_pattern_gets_each_topic_as_its_own_options_say() {
    let limits = Limits::default();
    let mut rules = Rules::default();
    rules.add("state/*", slow(SlowPolicy::Latest));
    rules.add("news/*", slow(SlowPolicy::DropNewest));
    let mut hub = hubs_with(1, &limits, rules).remove(0);
    hub.subscribe_matching("**", 1, u64::MAX, &limits).unwrap();
    let mut inbox = Inbox::default();
    inbox.queued.insert(1, 100);
    for round in 0..3 {
        for name in ["state/a", "news/a", "state/b", "talk/a"] {
            assert_eq!(publish(&mut hub, name, &format!("{name} {round}")), reached(1));
        }
        turn_with(&mut hub, &mut inbox, LagBounds::of(&limits));
    }
    // What must not be missed is sent at once, of states the latest of each is kept.
    assert_eq!(inbox.take(1), ["talk/a 0", "talk/a 1", "talk/a 2"]);
    inbox.queued.insert(1, 0);
    while hub.resume(1, &mut inbox) {
        inbox.queued.insert(1, 0);
    }
    assert_eq!(inbox.take(1), ["state/a 2", "state/b 2"]);
    let told = hub.take_gaps();
    assert_eq!((told.len(), told[0].1.topic(), told[0].1.messages), (1, "**", 3));
    // The same by way of other threads.
    inbox.queued.insert(1, 100);
    let exchange = Arc::clone(hub.exchange());
    for name in ["state/a", "state/b", "state/a", "talk/a"] {
        exchange.publish(name, MessageKind::Text, name.as_bytes(), Publish::default());
        turn_with(&mut hub, &mut inbox, LagBounds::of(&limits));
    }
    assert_eq!(inbox.take(1), ["talk/a"]);
    inbox.queued.insert(1, 0);
    while hub.resume(1, &mut inbox) {
        inbox.queued.insert(1, 0);
    }
    assert_eq!(inbox.take(1), ["state/a", "state/b"]);
}

/// Whether a topic's subscriber has not caught up.
fn lags(hub: &Hub, slot: u32, name: &str) -> bool {
    let topic = hub.find(hub.exchange.hash(name), name, false).unwrap();
    hub.laggards.include(slot, topic)
}

#[test]
fn whoever_misses_new_messages_misses_all_until_half_of_what_may_wait_is_sent() {
    let limits = Limits::default();
    let options = TopicOptions { backlog_bytes: 100, ..slow(SlowPolicy::DropNewest) };
    let mut hub = hubs_with(1, &limits, rules(options)).remove(0);
    join(&mut hub, "t", 1);
    let mut inbox = Inbox::default();
    for (queued, received, gaps) in
        [(0, 1, 0), (100, 0, 0), (99, 0, 0), (50, 0, 0), (49, 0, 1), (49, 1, 0)]
    {
        inbox.queued.insert(1, queued);
        hub.resume(1, &mut inbox);
        let told: Vec<_> = hub.take_gaps();
        assert_eq!(told.len(), gaps, "with {queued} waiting");
        told.iter().for_each(|(_, gap)| assert_eq!(gap.messages, 3));
        if gaps == 0 {
            publish(&mut hub, "t", "x");
            turn_with(&mut hub, &mut inbox, LagBounds::of(&limits));
        }
        assert_eq!(inbox.take(1).len(), received, "with {queued} waiting");
    }
}

#[test]
fn whoever_leaves_is_told_of_nothing_and_neither_is_whoever_comes_after() {
    let limits = Limits { inlet_batches_max: 1, ..Limits::default() };
    let mut hubs = hubs(2, &limits);
    let told = |hub: &mut Hub| {
        let told = hub.take_gaps();
        told.iter().map(|(slot, gap)| (*slot, gap.messages)).collect::<Vec<_>>()
    };
    // Another shard's subscriber keeps the topic alive.
    join(&mut hubs[0], "t", 9);
    for leaves_before_the_shard_looks in [true, false] {
        join(&mut hubs[1], "t", 4);
        for text in ["a", "b", "c"] {
            publish(&mut hubs[0], "t", text);
            turn(&mut hubs[0]);
        }
        if leaves_before_the_shard_looks {
            hubs[1].unsubscribe("t", false, 4);
            hubs[1].collect();
        } else {
            hubs[1].collect();
            hubs[1].leave(4);
        }
        join(&mut hubs[1], "t", 4);
        turn(&mut hubs[1]);
        assert_eq!(told(&mut hubs[1]), []);
        // A real one is told.
        for text in ["d", "e"] {
            publish(&mut hubs[0], "t", text);
            turn(&mut hubs[0]);
        }
        assert_eq!(turn(&mut hubs[1]).take(4), ["d"]);
        assert_eq!(told(&mut hubs[1]), [(4, 1)]);
        hubs[1].leave(4);
    }
}

#[test]
fn options_that_cannot_work_are_named_with_their_pattern() {
    let mut good = rules(slow(SlowPolicy::Latest));
    assert_eq!(good.validate(), Ok(()));
    good.add("a/**", TopicOptions { backlog_bytes: 0, ..TopicOptions::default() });
    let reason = good.validate().unwrap_err();
    assert!(reason.contains("\"a/**\"") && reason.contains("backlog_bytes is 0"), "{reason}");
    let mut misplaced = Rules::default();
    misplaced.add("a/**/b", TopicOptions::default());
    assert!(misplaced.validate().unwrap_err().contains("last level"));
}

#[test]
fn subscribers_are_told_what_their_full_inlet_refused() {
    let limits = Limits { inlet_batches_max: 1, ..Limits::default() };
    let mut hubs = hubs(2, &limits);
    join(&mut hubs[1], "t", 4);
    for text in ["a", "b", "c"] {
        publish(&mut hubs[0], "t", text);
        turn(&mut hubs[0]);
    }
    assert_eq!(turn(&mut hubs[1]).take(4), ["a"]);
    let gaps: Vec<_> = hubs[1].take_gaps().iter().map(|(to, gap)| (*to, gap.messages)).collect();
    assert_eq!(gaps, [(4, 2)]);
    hubs[0].exchange.miss_everywhere("t", 5);
    hubs[1].collect();
    assert_eq!(hubs[1].take_gaps()[0].1.messages, 5);
}

fn texts(frames: &[Bytes]) -> Vec<String> {
    frames.iter().map(|frame| String::from_utf8(frame[2..].to_vec()).unwrap()).collect()
}

#[test]
fn a_history_is_one_for_all_shards_and_recovers_what_was_missed() {
    let limits = Limits::default();
    let options = TopicOptions { history_messages: 4, ..TopicOptions::default() };
    let mut hubs = hubs_with(2, &limits, rules(options));
    let from = |from| Subscribe { filter: u64::MAX, from };
    let start = hubs[1].subscribe("t", 1, from(None), &limits).unwrap();
    let position = start.position.unwrap();
    assert_eq!((position.offset, start.complete, start.frames.len()), (0, true, 0));
    publish(&mut hubs[0], "t", "1");
    publish(&mut hubs[1], "t", "2");
    // In the order in which the turns of the shards end.
    let [first, second] = &mut hubs[..] else { unreachable!() };
    assert!(turn(first).received.is_empty());
    assert_eq!(turn(second).take(1), ["1", "2"]);
    publish(second, "t", "3");
    // Someone new on the shard on which "3" is not yet sealed gets it from the history alone.
    let back = second.subscribe("t", 2, from(Some(position)), &limits).unwrap();
    assert_eq!(
        (texts(&back.frames), back.complete),
        (vec!["1".into(), "2".into(), "3".into()], true)
    );
    publish(first, "t", "4");
    turn(first);
    let mut inbox = turn(second);
    assert_eq!((inbox.take(1), inbox.take(2)), (vec!["3".into(), "4".into()], vec!["4".into()]));
    publish(first, "t", "5");
    turn(first);
    // Two known, three to come; the oldest of five has gone.
    let known = Position { offset: 2, ..position };
    let back = first.subscribe("t", 9, from(Some(known)), &limits).unwrap();
    assert_eq!(
        (texts(&back.frames), back.position.unwrap().offset),
        (vec!["3".into(), "4".into(), "5".into()], 5)
    );
    let lost = first.subscribe("t", 8, from(Some(position)), &limits).unwrap();
    assert_eq!((lost.complete, lost.frames.len()), (false, 0));
    let other = Position { epoch: position.epoch ^ 1, offset: 5 };
    assert!(!first.subscribe("t", 7, from(Some(other)), &limits).unwrap().complete);
}

fn kept(limits: &Limits, options: TopicOptions) -> Hub {
    let mut rules = Rules::default();
    rules.add("kept/*", options);
    rules.add("plain/*", TopicOptions::default());
    hubs_with(1, limits, rules).remove(0)
}

#[test]
fn what_is_shared_counts_once_on_each_shard_for_as_long_as_it_is_in_memory() {
    let limits = Limits::default();
    let options = TopicOptions { history_messages: 2, ..TopicOptions::default() };
    let mut hubs = hubs_with(2, &limits, rules(options));
    for hub in &mut hubs {
        (0..50).for_each(|slot| join(hub, "plain", slot));
    }
    publish(&mut hubs[0], "plain", &"x".repeat(996));
    assert_eq!(turn(&mut hubs[0]).shared, 1_000);
    let shared = |hubs: &[Hub]| [hubs[0].shared_bytes(), hubs[1].shared_bytes()];
    assert_eq!(shared(&hubs), [0, 1_000], "the other shard has not looked yet");
    assert_eq!(turn(&mut hubs[1]).shared, 1_000);
    assert_eq!(shared(&hubs), [0, 0]);
    join(&mut hubs[0], "alone", 1);
    publish(&mut hubs[0], "alone", "x");
    let mut inbox = turn(&mut hubs[0]);
    assert_eq!((inbox.take(1).len(), inbox.shared, inbox.copied), (1, 0, 3), "nothing is shared");
    // What a history keeps is not counted here, what only a queue still has is, in halves.
    let keep = |hub: &mut Hub| {
        publish(hub, "t", &"x".repeat(996));
        turn(hub);
    };
    keep(&mut hubs[0]);
    let from = hubs[0].subscribe("t", 1, ALL, &limits).unwrap().position;
    (0..2).for_each(|_| keep(&mut hubs[0]));
    let queued = hubs[0].subscribe("t", 2, Subscribe { from, ..ALL }, &limits).unwrap().frames;
    assert_eq!((queued.len(), shared(&hubs)), (2, [0, 0]));
    keep(&mut hubs[0]);
    assert_eq!(shared(&hubs), [548, 548]);
    drop(queued);
    assert_eq!(shared(&hubs), [0, 0]);
}

#[test]
fn a_retained_message_awaits_the_first_subscriber_and_histories_are_bounded() {
    let limits = Limits { histories_max: 2, ..Limits::default() };
    let mut hub = kept(&limits, TopicOptions { retain: true, ..TopicOptions::default() });
    for name in ["kept/a", "kept/b"] {
        assert_eq!(publish(&mut hub, name, name), reached(0));
        publish(&mut hub, name, "last");
        turn(&mut hub);
    }
    let join = |hub: &mut Hub, name: &str, slot| {
        hub.subscribe(name, slot, ALL, &limits).map(|recovered| texts(&recovered.frames))
    };
    assert_eq!(join(&mut hub, "kept/b", 1).unwrap(), ["last"]);
    // A third one makes the server forget the first, which nobody is subscribed to.
    assert!(join(&mut hub, "kept/c", 1).unwrap().is_empty());
    assert_eq!(join(&mut hub, "kept/a", 1), Err(SubscribeError::TooManyHistories));
    assert_eq!(publish(&mut hub, "kept/a", "not kept"), reached(0));
    assert_eq!(join(&mut hub, "plain/a", 1), Ok(vec![]), "others need no place");
    assert_eq!(join(&mut hub, "kept/b", 2).unwrap(), ["last"]);
    // One that is left can be forgotten for it, not one that is left and joined again.
    hub.leave(1);
    join(&mut hub, "kept/c", 3).unwrap();
    hub.leave(3);
    assert!(join(&mut hub, "kept/a", 4).unwrap().is_empty());
    assert_eq!(join(&mut hub, "kept/c", 4), Err(SubscribeError::TooManyHistories));
    assert_eq!(join(&mut hub, "kept/b", 4).unwrap(), ["last"]);
    assert_eq!(hub.exchange.histories().topics(), 2);
    assert!(turn(&mut hub).received.is_empty());
}

#[test]
fn histories_come_and_go_and_their_number_and_bytes_stay_bounded() {
    let limits = Limits {
        histories_max: 8,
        history_bytes_max: 2_000,
        history_total_bytes_max: 5_000,
        ..Limits::default()
    };
    let mut hub =
        kept(&limits, TopicOptions { history_messages: 1_000, ..TopicOptions::default() });
    let mut random = 1u64;
    for step in 0..5_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let name = format!("kept/{}", (random >> 33) % 20);
        let slot = (random >> 43) as u32 % 10;
        match (random >> 53) % 4 {
            0 => _ = hub.subscribe(&name, slot, ALL, &limits),
            1 => hub.unsubscribe(&name, false, slot),
            2 if (random >> 56) % 8 == 0 => hub.leave(slot),
            _ => _ = publish(&mut hub, &name, &"x".repeat((random >> 57) as usize)),
        }
        turn(&mut hub);
        let histories = hub.exchange.histories();
        assert!(histories.topics() <= 8 && histories.bytes.held() <= 5_000, "step {step}");
    }
    (0..10).for_each(|slot| hub.leave(slot));
    // All can be forgotten for others now.
    for number in 100..108 {
        hub.subscribe(&format!("kept/{number}"), 1, ALL, &limits).unwrap();
    }
    assert_eq!(hub.exchange.histories().bytes.held(), 0);
}

#[test]
fn a_subscription_that_is_refused_leaves_nothing_behind() {
    let limits = Limits { subscriptions_max: 1, topic_bytes_max: 10, ..Limits::default() };
    let mut hub = kept(&limits, TopicOptions { retain: true, ..TopicOptions::default() });
    hub.subscribe("plain/a", 1, ALL, &limits).unwrap();
    let refused = |hub: &mut Hub, name: &str| hub.subscribe(name, 1, ALL, &limits).unwrap_err();
    for number in 0..100 {
        assert_eq!(refused(&mut hub, &format!("kept/{number}")), SubscribeError::TooMany);
        let long = format!("kept/{number}/{}", "x".repeat(1_000));
        assert_eq!(refused(&mut hub, &long), SubscribeError::NameTooLong);
        assert_eq!(publish(&mut hub, &long, "x"), reached(0));
        hub.exchange.publish(&long, MessageKind::Text, b"x", Publish::default());
    }
    turn(&mut hub);
    assert_eq!(hub.exchange.histories().topics(), 0);
    assert_eq!(hub.topics.len() - hub.free.len(), 1);
}

#[test]
fn subscribing_again_changes_nothing_and_repeats_nothing() {
    let limits = Limits::default();
    let mut hub = kept(&limits, TopicOptions { history_messages: 9, ..TopicOptions::default() });
    let first = hub.subscribe("kept/a", 1, ALL, &limits).unwrap();
    let from = first.position;
    publish(&mut hub, "kept/a", "1");
    assert_eq!(turn(&mut hub).take(1), ["1"]);
    publish(&mut hub, "kept/a", "2");
    let again = Subscribe { from, ..ALL };
    let again = hub.subscribe("kept/a", 1, again, &limits).unwrap();
    assert_eq!((again.position, again.complete, again.frames.len()), (None, false, 0));
    assert_eq!(turn(&mut hub).take(1), ["2"]);
}

#[test]
fn what_waits_in_the_inlet_was_published_before_whoever_joins_now() {
    let mut hubs = hubs(2, &Limits::default());
    join(&mut hubs[1], "t", 1);
    publish(&mut hubs[0], "t", "before");
    turn(&mut hubs[0]);
    join(&mut hubs[1], "t", 2);
    hubs[1].subscribe_matching("*", 3, u64::MAX, &Limits::default()).unwrap();
    publish(&mut hubs[0], "t", "after");
    turn(&mut hubs[0]);
    let mut inbox = turn(&mut hubs[1]);
    assert_eq!(inbox.take(1), ["before", "after"]);
    assert_eq!((inbox.take(2), inbox.take(3)), (vec!["after".into()], vec!["after".into()]));
}
