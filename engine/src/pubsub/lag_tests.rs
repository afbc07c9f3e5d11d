//! What is kept aside, by itself.

use super::*;
use crate::pubsub::SlowPolicy;
use crate::pubsub::gaps::Gap;

fn topic(name: &str, backlog_bytes: usize) -> Arc<Entry> {
    let options = TopicOptions { slow: SlowPolicy::Latest, backlog_bytes, ..Default::default() };
    Arc::new(Entry::new(name, 0, false, options, None, 1))
}

fn bounds(each_bytes_max: usize, all_bytes_max: usize) -> LagBounds {
    LagBounds { each_bytes_max, all_bytes_max }
}

/// Takes all that a slot is owed once nothing waits for it.
fn drain(laggards: &mut Laggards, slot: u32) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| laggards.next(slot, 0)).collect()
}

/// Name and number of what a slot has missed.
fn missed(laggards: &mut Laggards, slot: u32) -> Vec<(String, u64)> {
    let mut gaps = Gaps::default();
    assert!(!laggards.release(slot, 0, &mut gaps), "it has caught up");
    let named = |(of, gap): (u32, Gap)| {
        assert_eq!(of, slot);
        (gap.topic().to_owned(), gap.messages)
    };
    let mut missed: Vec<_> = gaps.take().into_iter().map(named).collect();
    missed.sort();
    missed
}

#[test]
fn the_bounds_hold_however_often_messages_replace_each_other_and_grow() {
    let (mut laggards, entry) = (Laggards::default(), topic("t", 10));
    let bounds = bounds(100_000, 250_000);
    for length in [1, 10, 4_000, 1] {
        for slot in 0..4 {
            for key in 0..2_000 {
                laggards.keep(
                    slot,
                    (0, &entry),
                    &entry.options,
                    Some(key),
                    &vec![7; length],
                    bounds,
                );
                let each = laggards.by_slot[&slot].bytes;
                assert!(each <= 100_000 && laggards.bytes <= 250_000, "{each}, {length}");
            }
        }
    }
    // What is counted is what is there, for the smallest messages too.
    for slot in 0..4 {
        let lag = &laggards.by_slot[&slot];
        let kept = &lag.topics[0];
        assert_eq!(kept.bytes(), lag.bytes);
        let places = kept.waiting.capacity() * size_of::<Kept>() + kept.latest.capacity() * 17;
        let content: usize = kept.waiting.iter().map(|kept| kept.frame.capacity()).sum();
        assert!(places + content <= 2 * lag.bytes, "{places} and {content} for {}", lag.bytes);
        laggards.forget(slot);
    }
    assert_eq!(laggards.bytes, 0);
}

#[test]
fn the_latest_of_each_key_is_kept_in_the_place_of_the_first() {
    let (mut laggards, entry) = (Laggards::default(), topic("t", 10));
    let bounds = bounds(1_000, 1_000);
    for (key, frame) in [(1, "a1"), (2, "b"), (1, "a2, longer"), (3, "c"), (1, "a3")] {
        laggards.keep(5, (0, &entry), &entry.options, Some(key), frame.as_bytes(), bounds);
    }
    let expected: [&[u8]; 3] = [b"a3", b"b", b"c"];
    assert_eq!(drain(&mut laggards, 5), expected);
    assert_eq!((laggards.replaced, laggards.dropped, laggards.bytes), (2, 0, 0));
    assert_eq!(missed(&mut laggards, 5), []);
    assert!(laggards.by_slot.is_empty());
}

#[test]
fn where_there_is_no_room_the_oldest_go_first_and_what_is_too_long_goes_at_once() {
    let (mut laggards, entry) = (Laggards::default(), topic("t", 10));
    let bounds = bounds(3 * (PLACE_BYTES + 10), 1 << 20);
    for number in 0..5u8 {
        laggards.keep(1, (0, &entry), &entry.options, None, &[number; 10], bounds);
    }
    laggards.keep(1, (0, &entry), &entry.options, None, &[9; 2_000], bounds);
    assert_eq!(drain(&mut laggards, 1), [[2; 10], [3; 10], [4; 10]]);
    assert_eq!(missed(&mut laggards, 1), [("t".to_owned(), 3)]);
    // The place of another with the same key is no room for one that is longer.
    for (key, length) in [(1, 100), (2, 10), (1, 150)] {
        laggards.keep(1, (0, &entry), &entry.options, Some(key), &vec![key as u8; length], bounds);
    }
    assert_eq!(drain(&mut laggards, 1), [vec![1; 150]]);
    assert_eq!(missed(&mut laggards, 1), [("t".to_owned(), 2)]);
}

#[test]
fn topics_take_turns_each_at_its_own_mark_and_one_in_need_takes_from_others() {
    let mut laggards = Laggards::default();
    let (small, large) = (topic("small", 100), topic("large", 10_000));
    let wide = bounds(1 << 20, 1 << 20);
    for number in 0..3u8 {
        laggards.keep(1, (0, &small), &small.options, None, &[b's', number], wide);
        laggards.keep(1, (1, &large), &large.options, None, &[b'l', number], wide);
    }
    assert_eq!(laggards.next(1, 60), Some(vec![b'l', 0]), "too much waits for the other");
    assert_eq!(laggards.next(1, 49), Some(vec![b's', 0]));
    assert_eq!(laggards.next(1, 49), Some(vec![b'l', 1]));
    assert_eq!(laggards.next(1, 5_000), None);
    let third = topic("third", 10);
    let left = 3 * (PLACE_BYTES + 2);
    assert_eq!(laggards.bytes, left);
    laggards.keep(1, (2, &third), &third.options, None, b"xy", bounds(left, 1 << 20));
    assert_eq!(laggards.bytes, left);
    laggards.forget_topic(1, 1);
    let mut rest = drain(&mut laggards, 1);
    rest.sort();
    assert!(rest.contains(&b"xy".to_vec()) && rest.len() < 4, "{rest:?}");
    assert!(laggards.include(1, 0) && !laggards.include(1, 1) && laggards.include(1, 2));
    missed(&mut laggards, 1);
    assert_eq!(laggards.bytes, 0);
}

#[test]
fn nobody_is_told_before_less_than_half_waits() {
    let (mut laggards, entry) = (Laggards::default(), topic("t", 100));
    let mut gaps = Gaps::default();
    laggards.miss(3, (0, &entry), &entry.options, 16);
    for queued in [1_000, 99, 50] {
        assert!(laggards.release(3, queued, &mut gaps) && gaps.is_empty(), "{queued}");
        assert!(laggards.include(3, 0), "it misses what comes until then");
    }
    assert!(!laggards.release(3, 49, &mut gaps));
    assert_eq!(gaps.take()[0].1.messages, 16);
    assert!(!laggards.include(3, 0));
}

/// Hours, if ending a subscription looked at what is kept of the others.
#[test]
fn a_subscriber_of_many_topics_who_reads_nothing_leaves_as_quickly_as_any() {
    let mut laggards = Laggards::default();
    let wide = bounds(1 << 30, 1 << 30);
    let entries: Vec<_> = (0..2_000).map(|number| topic(&number.to_string(), 10)).collect();
    for (number, entry) in (0..).zip(&entries) {
        for key in 0..100 {
            laggards.keep(1, (number, entry), &entry.options, Some(key), b"x", wide);
        }
    }
    for number in 0..1_000 {
        laggards.forget_topic(1, number);
    }
    assert_eq!(laggards.bytes, 1_000 * 100 * (PLACE_BYTES + 1));
    laggards.forget(1);
    assert_eq!(laggards.bytes, 0);
}
