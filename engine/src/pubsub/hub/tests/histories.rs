//! Topics that keep messages, and those who come back.

use super::*;

fn texts(frames: &[Bytes]) -> Vec<String> {
    frames.iter().map(|frame| String::from_utf8(frame[2..].to_vec()).unwrap()).collect()
}

#[test]
fn a_history_is_one_for_all_shards_and_recovers_what_was_missed() {
    let limits = Limits::default();
    let options = TopicOptions { history_messages: 4, ..TopicOptions::default() };
    let mut hubs = hubs_with(2, &limits, rules(options));
    let from = |from| Subscribe { filter: u64::MAX, from };
    let start = hubs[1].subscribe(Exact("t"), at(1), from(None), &limits).unwrap();
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
    let back = second.subscribe(Exact("t"), at(2), from(Some(position)), &limits).unwrap();
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
    let back = first.subscribe(Exact("t"), at(9), from(Some(known)), &limits).unwrap();
    assert_eq!(
        (texts(&back.frames), back.position.unwrap().offset),
        (vec!["3".into(), "4".into(), "5".into()], 5)
    );
    let lost = first.subscribe(Exact("t"), at(8), from(Some(position)), &limits).unwrap();
    assert_eq!((lost.complete, lost.frames.len()), (false, 0));
    let other = Position { epoch: position.epoch ^ 1, offset: 5 };
    assert!(!first.subscribe(Exact("t"), at(7), from(Some(other)), &limits).unwrap().complete);
}

fn kept(limits: &Limits, options: TopicOptions) -> Hub {
    let mut rules = Rules::default();
    rules.add("kept/*", options);
    rules.add("plain/*", TopicOptions::default());
    hubs_with(1, limits, rules).remove(0)
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
        hub.subscribe(Exact(name), at(slot), ALL, &limits).map(|recovered| texts(&recovered.frames))
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
            0 => _ = hub.subscribe(Exact(&name), at(slot), ALL, &limits),
            1 => hub.unsubscribe(Exact(&name), slot),
            2 if (random >> 56).is_multiple_of(8) => hub.leave(slot),
            _ => _ = publish(&mut hub, &name, &"x".repeat((random >> 57) as usize)),
        }
        turn(&mut hub);
        let histories = hub.exchange.histories();
        assert!(histories.topics() <= 8 && histories.bytes.held() <= 5_000, "step {step}");
    }
    (0..10).for_each(|slot| hub.leave(slot));
    // All can be forgotten for others now.
    for number in 100..108 {
        hub.subscribe(Exact(&format!("kept/{number}")), at(1), ALL, &limits).unwrap();
    }
    assert_eq!(hub.exchange.histories().bytes.held(), 0);
}

#[test]
fn a_subscription_that_is_refused_leaves_nothing_behind() {
    let limits = Limits { subscriptions_max: 1, topic_bytes_max: 10, ..Limits::default() };
    let mut hub = kept(&limits, TopicOptions { retain: true, ..TopicOptions::default() });
    hub.subscribe(Exact("plain/a"), at(1), ALL, &limits).unwrap();
    let refused =
        |hub: &mut Hub, name: &str| hub.subscribe(Exact(name), at(1), ALL, &limits).unwrap_err();
    for number in 0..100 {
        assert_eq!(refused(&mut hub, &format!("kept/{number}")), SubscribeError::TooMany);
        let long = format!("kept/{number}/{}", "x".repeat(1_000));
        assert_eq!(refused(&mut hub, &long), SubscribeError::NameTooLong);
        assert_eq!(publish(&mut hub, &long, "x"), reached(0));
        hub.exchange.publish(&long, content(b"x"), Publish::default());
    }
    turn(&mut hub);
    assert_eq!(hub.exchange.histories().topics(), 0);
    assert_eq!(hub.topics.len() - hub.free.len(), 1);
}

#[test]
fn subscribing_again_changes_nothing_and_repeats_nothing() {
    let limits = Limits::default();
    let mut hub = kept(&limits, TopicOptions { history_messages: 9, ..TopicOptions::default() });
    let first = hub.subscribe(Exact("kept/a"), at(1), ALL, &limits).unwrap();
    let from = first.position;
    publish(&mut hub, "kept/a", "1");
    assert_eq!(turn(&mut hub).take(1), ["1"]);
    publish(&mut hub, "kept/a", "2");
    let again = Subscribe { from, ..ALL };
    let again = hub.subscribe(Exact("kept/a"), at(1), again, &limits).unwrap();
    assert_eq!((again.position, again.complete, again.frames.len()), (None, false, 0));
    assert_eq!(turn(&mut hub).take(1), ["2"]);
}
