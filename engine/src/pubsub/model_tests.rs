//! Hubs of several shards against a model that keeps no more than a list of subscriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::limits::Limits;
use crate::pubsub::Publish;
use crate::pubsub::hub::tests::{ALL, at, content, hubs, publish, reached, turn};
use crate::pubsub::pattern;
use crate::pubsub::subscribe::TopicName::{Exact, Pattern};

/// Pseudo-random numbers (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end as u64) as usize
    }
}

const NAMES: [&str; 7] = ["a", "b", "a/a", "a/b", "b/a", "a/b/c", "b/a/c"];
const PATTERNS: [&str; 5] = ["*", "a/*", "**", "a/**", "*/a"];

/// A subscription of the model: who, to what.
type Subscription = (usize, u32, bool, &'static str);

/// Who is subscribed to what, and what each must have got.
#[derive(Default)]
struct Model {
    subscriptions: BTreeSet<Subscription>,
    /// Shard and slot, and the texts owed to it.
    owed: BTreeMap<(usize, u32), Vec<String>>,
}

impl Model {
    fn publish(&mut self, name: &str, text: &str) -> usize {
        let mut count = 0;
        for &(shard, slot, is_pattern, topic) in &self.subscriptions {
            if is_pattern && pattern::matches(topic, name) || !is_pattern && topic == name {
                self.owed.entry((shard, slot)).or_default().push(text.to_owned());
                count += 1;
            }
        }
        count
    }
}

/// Runs random actions and compares. Subscribing and leaving happen between turns of all shards,
/// because only then is it certain what is under way.
fn run_against_model(shards: usize, seed: u64) {
    let mut random = Random(seed);
    let limits = Limits::default();
    let mut hubs = hubs(shards, &limits);
    let mut model = Model::default();
    let mut number = 0;
    for _ in 0..150 {
        for _ in 0..random.below(6) {
            let (shard, slot) = (random.below(shards), random.below(5) as u32);
            let hub = &mut hubs[shard];
            match random.below(10) {
                0..5 => {
                    let name = NAMES[random.below(NAMES.len())];
                    hub.subscribe(Exact(name), at(slot), ALL, &limits).unwrap();
                    model.subscriptions.insert((shard, slot, false, name));
                }
                5..7 => {
                    let pattern = PATTERNS[random.below(PATTERNS.len())];
                    hub.subscribe(Pattern(pattern), at(slot), ALL, &limits).unwrap();
                    model.subscriptions.insert((shard, slot, true, pattern));
                }
                7 => {
                    let name = NAMES[random.below(NAMES.len())];
                    hub.unsubscribe(Exact(name), slot);
                    model.subscriptions.remove(&(shard, slot, false, name));
                }
                8 => {
                    let pattern = PATTERNS[random.below(PATTERNS.len())];
                    hub.unsubscribe(Pattern(pattern), slot);
                    model.subscriptions.remove(&(shard, slot, true, pattern));
                }
                _ => {
                    hub.leave(slot);
                    model.subscriptions.retain(|one| (one.0, one.1) != (shard, slot));
                }
            }
        }
        let mut received: BTreeMap<(usize, u32), Vec<String>> = BTreeMap::new();
        for _ in 0..random.below(12) {
            let from = random.below(shards + 1);
            if random.below(3) == 0 && from < shards {
                let inbox = turn(&mut hubs[from]);
                for (slot, texts) in inbox.received {
                    received.entry((from, slot)).or_default().extend(texts);
                }
            }
            let name = NAMES[random.below(NAMES.len())];
            number += 1;
            let text = format!("{from} {name} {number:06}");
            let expected = reached(model.publish(name, &text));
            let told = match hubs.get_mut(from) {
                Some(hub) => publish(hub, name, &text),
                // From a thread that is no shard's.
                None => {
                    let exchange = Arc::clone(hubs[0].exchange());
                    exchange.publish(name, content(text.as_bytes()), Publish::default())
                }
            };
            assert_eq!(told, expected, "seed {seed}, {text}");
        }
        // Twice: what one shard hands over at its end of turn the others deliver at theirs.
        for _ in 0..2 {
            for (shard, hub) in hubs.iter_mut().enumerate() {
                for (slot, texts) in turn(hub).received {
                    received.entry((shard, slot)).or_default().extend(texts);
                }
            }
        }
        compare(&received, &std::mem::take(&mut model.owed), seed);
    }
    for (shard, hub) in hubs.iter_mut().enumerate() {
        (0..5).for_each(|slot| hub.leave(slot));
        turn(hub);
        assert!(hub.is_empty(), "seed {seed}, shard {shard}");
    }
    assert!(!hubs[0].exchange().has_patterns());
}

/// Everybody got what was owed, and of each publisher and topic in order.
fn compare(
    received: &BTreeMap<(usize, u32), Vec<String>>,
    owed: &BTreeMap<(usize, u32), Vec<String>>,
    seed: u64,
) {
    let sorted = |texts: &Vec<String>| {
        let mut texts = texts.clone();
        texts.sort_unstable();
        texts
    };
    let all: BTreeSet<_> = received.keys().chain(owed.keys()).copied().collect();
    for who in all {
        let (got, due) = (received.get(&who).cloned(), owed.get(&who).cloned());
        let (got, due) = (got.unwrap_or_default(), due.unwrap_or_default());
        assert_eq!(sorted(&got), sorted(&due), "seed {seed}, subscriber {who:?}");
        let mut copies: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
        for text in &got {
            // One publisher and one topic: the text without its number.
            copies.entry(&text[..text.len() - 6]).or_default().push(text);
        }
        for (stream, texts) in copies {
            // Someone with several subscriptions that match gets several interleaved copies.
            let mut firsts: Vec<&String> = Vec::new();
            for text in texts {
                if !firsts.contains(&text) {
                    firsts.push(text);
                }
            }
            assert!(firsts.is_sorted(), "seed {seed}, {who:?}, {stream}: {firsts:?}");
        }
    }
}

#[test]
fn hubs_do_what_a_simple_model_says() {
    for shards in [1, 2, 4] {
        for seed in 1..9 {
            run_against_model(shards, seed);
        }
    }
}
