//! Subscribers that read too slowly.

use super::*;

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
        hub.publish("t", content(text.as_bytes()), None, how);
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
                hub.unsubscribe(Exact("t"), 1);
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

/// Whether a topic's subscriber has not caught up.
fn lags(hub: &Hub, slot: u32, name: &str) -> bool {
    let topic = hub.find(hub.exchange.hash(name), Exact(name)).unwrap();
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
