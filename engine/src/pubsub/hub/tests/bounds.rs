//! Full inlets, limits, and what is counted in memory.

use super::*;

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
    let send = |name| exchange.publish(name, content(b"x"), Publish::default());
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
fn a_place_is_given_back_with_the_bytes_it_took_though_its_subscribers_have_left() {
    let mut hubs = hubs(2, &Limits::default());
    join(&mut hubs[1], "t", 1);
    join(&mut hubs[0], "t", 1);
    assert_eq!(publish(&mut hubs[0], "t", "a"), reached(2));
    hubs[1].leave(1);
    assert_eq!(publish(&mut hubs[0], "t", "b"), reached(1));
    turn(&mut hubs[0]);
    assert!(hubs[0].exchange().inlet(1).is_at_rest());
    join(&mut hubs[1], "t", 1);
    assert_eq!(publish(&mut hubs[0], "t", "c"), reached(2));
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
            hubs[1].unsubscribe(Exact("t"), 4);
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
fn limits_of_subscriptions_hold() {
    let limits = Limits { subscriptions_max: 2, topic_bytes_max: 3, ..Limits::default() };
    let mut hub = hubs(1, &limits).remove(0);
    let mut enter = |name: &str| hub.subscribe(Exact(name), at(7), ALL, &limits).map(drop);
    assert_eq!(enter("abcd"), Err(SubscribeError::NameTooLong));
    assert_eq!((enter("a"), enter("b"), enter("b")), (Ok(()), Ok(()), Ok(())));
    assert_eq!(enter("c"), Err(SubscribeError::TooMany));
    hub.unsubscribe(Exact("a"), 7);
    assert_eq!(hub.subscribe(Exact("c"), at(7), ALL, &limits).map(drop), Ok(()));
}

#[test]
fn a_subscription_costs_at_most_32_bytes_beside_its_topic_however_many_a_connection_has() {
    let limits = Limits { subscriptions_max: 10_000, ..Limits::default() };
    for topics in (1..70).chain([113, 200, 1_100]) {
        let mut hub = hubs(1, &limits).remove(0);
        let connections = 100;
        for topic in 0..topics {
            for slot in 0..connections {
                hub.subscribe(Exact(&format!("t{topic}")), at(slot), ALL, &limits).unwrap();
            }
        }
        let members: usize =
            hub.topics.iter().map(|topic| topic.members.capacity() * size_of::<Member>()).sum();
        let slots = hub.subscribers.capacity() * size_of::<Subscriptions>();
        let places: usize = hub.subscribers.iter().map(Subscriptions::heap_bytes).sum();
        let all = members + slots + places;
        let subscriptions = connections as usize * topics;
        assert!(all <= 32 * subscriptions, "{topics} each: {} bytes", all / subscriptions);
    }
}

#[test]
fn a_topic_may_have_hundreds_of_thousands_of_subscribers_who_come_and_go_in_any_order() {
    let limits = Limits::default();
    let mut hub = hubs(1, &limits).remove(0);
    let subscribers = 300_000u32;
    // Every slot once, in an order that jumps about.
    let slots = (0..subscribers).map(|number| (number as u64 * 77_777 % 300_000) as u32);
    for slot in slots.clone() {
        join(&mut hub, "t", slot);
        if slot % 3 == 0 {
            join(&mut hub, "third", slot);
        }
    }
    assert_eq!(publish(&mut hub, "t", "all"), reached(300_000));
    let mut inbox = turn(&mut hub);
    assert!((0..subscribers).all(|slot| inbox.take(slot) == ["all"]));
    for slot in slots.filter(|slot| slot % 2 == 1) {
        hub.leave(slot);
    }
    assert_eq!(publish(&mut hub, "t", "half"), reached(150_000));
    assert_eq!(publish(&mut hub, "third", "sixth"), reached(50_000));
    let mut inbox = turn(&mut hub);
    for slot in 0..subscribers {
        let expected: &[&str] = match slot % 6 {
            0 => &["half", "sixth"],
            2 | 4 => &["half"],
            _ => &[],
        };
        assert_eq!(inbox.take(slot), expected);
    }
    (0..subscribers).for_each(|slot| hub.leave(slot));
    assert!(hub.is_empty());
}

#[test]
fn a_small_share_of_a_large_batch_is_copied() {
    let mut hub = hubs(1, &Limits::default()).remove(0);
    let limits = Limits::default();
    for (slot, filter) in [(1, 0b001), (2, 0b010), (3, 0b111)] {
        hub.subscribe(Exact("t"), at(slot), Subscribe { filter, from: None }, &limits).unwrap();
    }
    for (tags, length) in [(0b001, 1_000), (0b010, 50_000), (0b100, 50_000)] {
        let how = Publish { tags, ..Publish::default() };
        hub.publish("t", content("x".repeat(length).as_bytes()), None, how);
    }
    let mut inbox = turn(&mut hub);
    assert_eq!([1, 2, 3].map(|slot| inbox.take(slot).len()), [1, 1, 3]);
    assert_eq!(inbox.copied, 1_004, "the smallest, and nothing else");
    assert_eq!(hub.lost(), [0, 0, 4], "what was filtered is counted");
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
    let from = hubs[0].subscribe(Exact("t"), at(1), ALL, &limits).unwrap().position;
    (0..2).for_each(|_| keep(&mut hubs[0]));
    let queued =
        hubs[0].subscribe(Exact("t"), at(2), Subscribe { from, ..ALL }, &limits).unwrap().frames;
    assert_eq!((queued.len(), shared(&hubs)), (2, [0, 0]));
    keep(&mut hubs[0]);
    assert_eq!(shared(&hubs), [548, 548]);
    drop(queued);
    assert_eq!(shared(&hubs), [0, 0]);
}
