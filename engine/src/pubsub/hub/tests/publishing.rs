//! What is published reaches whom it should.

use super::*;

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
    hub.unsubscribe(Exact("t"), 1);
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
    assert_eq!(hubs[0].exchange.publish("t", content(b"d"), Publish::default()), reached(3));
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
    assert_eq!(exchange.publish("t", content(b"and on"), Publish::default()), reached(1));
    assert_eq!(turn(&mut hubs[1]).take(1), ["and on"]);
}

#[test]
fn what_waits_in_the_inlet_was_published_before_whoever_joins_now() {
    let mut hubs = hubs(2, &Limits::default());
    join(&mut hubs[1], "t", 1);
    publish(&mut hubs[0], "t", "before");
    turn(&mut hubs[0]);
    join(&mut hubs[1], "t", 2);
    hubs[1].subscribe(Pattern("*"), at(3), ALL, &Limits::default()).unwrap();
    publish(&mut hubs[0], "t", "after");
    turn(&mut hubs[0]);
    let mut inbox = turn(&mut hubs[1]);
    assert_eq!(inbox.take(1), ["before", "after"]);
    assert_eq!((inbox.take(2), inbox.take(3)), (vec!["after".into()], vec!["after".into()]));
}

#[test]
fn patterns_match_across_shards_and_each_subscription_counts() {
    let limits = Limits { patterns_max: 2, topic_levels_max: 3, ..Limits::default() };
    let mut hubs = hubs(2, &limits);
    join(&mut hubs[0], "a/b", 1);
    for (shard, pattern) in [(0, "a/*"), (1, "a/**"), (1, "a/*")] {
        hubs[shard].subscribe(Pattern(pattern), at(1), ALL, &limits).unwrap();
    }
    let refused = |hub: &mut Hub, pattern| hub.subscribe(Pattern(pattern), at(2), ALL, &limits);
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
    hubs[0].unsubscribe(Pattern("a/*"), 1);
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
            hub.subscribe(
                Exact("t"),
                at(slot),
                Subscribe { filter, from: None },
                &Limits::default(),
            )
            .unwrap();
        }
    }
    let hub = &mut hubs[0];
    publish(hub, "t", "all");
    let mut to = |text: &str, tags, except_sender| {
        let how = Publish { tags, except_sender, ..Publish::default() };
        hub.publish("t", content(text.as_bytes()), Some(3), how)
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
fn publishing_to_nobody_leaves_nothing_behind_and_patterns_are_looked_for_once() {
    let limits = Limits::default();
    let mut hubs = hubs(2, &limits);
    hubs[1].subscribe(Pattern("room/*"), at(1), ALL, &limits).unwrap();
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
            hubs[1].subscribe(Pattern("*/1"), at(1), ALL, &limits).unwrap();
            hubs[1].unsubscribe(Pattern("room/*"), 1);
            assert_eq!(publish(&mut hubs[0], "price/1", "x"), reached(1));
            assert_eq!(publish(&mut hubs[0], "room/2", "x"), reached(0));
            hubs[1].subscribe(Pattern("room/*"), at(1), ALL, &limits).unwrap();
            hubs[1].unsubscribe(Pattern("*/1"), 1);
            hubs[1].subscribe(Pattern("price/1"), at(1), ALL, &limits).unwrap();
            turn(&mut hubs[0]);
            turn(&mut hubs[1]);
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
    hub.subscribe(Pattern("**"), at(1), ALL, &limits).unwrap();
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
        exchange.publish(name, content(name.as_bytes()), Publish::default());
        turn_with(&mut hub, &mut inbox, LagBounds::of(&limits));
    }
    assert_eq!(inbox.take(1), ["talk/a"]);
    inbox.queued.insert(1, 0);
    while hub.resume(1, &mut inbox) {
        inbox.queued.insert(1, 0);
    }
    assert_eq!(inbox.take(1), ["state/a", "state/b"]);
}

#[test]
fn whoever_joins_misses_nothing_for_what_was_published_here_to_others_before() {
    let mut hubs = hubs(2, &Limits::default());
    join(&mut hubs[0], "t", 1);
    assert_eq!(publish(&mut hubs[1], "t", "a"), reached(1));
    join(&mut hubs[1], "t", 5);
    let exchange = Arc::clone(hubs[0].exchange());
    assert_eq!(exchange.publish("t", content(b"b"), Publish::default()), reached(2));
    assert_eq!(turn(&mut hubs[1]).take(5), ["b"]);
    assert_eq!(turn(&mut hubs[0]).take(1), ["a", "b"]);
}

#[test]
fn what_was_published_to_those_who_have_left_does_not_reach_those_who_come_after() {
    let mut hubs = hubs(2, &Limits::default());
    for topic in [Exact("t"), Pattern("*")] {
        hubs[1].subscribe(topic, at(1), ALL, &Limits::default()).unwrap();
        assert_eq!(publish(&mut hubs[0], "t", "a"), reached(1));
        hubs[1].leave(1);
        assert_eq!(publish(&mut hubs[0], "t", "b"), reached(0));
        hubs[1].subscribe(topic, at(2), ALL, &Limits::default()).unwrap();
        assert_eq!(publish(&mut hubs[0], "t", "c"), reached(1));
        turn(&mut hubs[0]);
        assert_eq!(turn(&mut hubs[1]).take(2), ["c"], "{topic:?}");
        hubs[1].leave(2);
    }
}
