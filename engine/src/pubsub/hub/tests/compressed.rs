//! Messages that are compressed once for all who have agreed on the same window.

use super::*;
use crate::protocol::FramedMessage;
use crate::protocol::deflate::{Deflate, Inflater};

/// Subscribers by slot, each with the window it has agreed on.
#[derive(Default)]
struct Windows {
    inbox: Inbox,
    bits: BTreeMap<u32, u8>,
    /// What came compressed: the addresses of the bytes and how many messages they are.
    shared: BTreeMap<u32, Vec<(usize, u64)>>,
}

impl Audience for Windows {
    fn send(&mut self, slot: u32, frames: Bytes, messages: u32) -> Taken {
        self.inbox.send(slot, frames, messages)
    }

    fn send_compressed(
        &mut self,
        slot: u32,
        frames: Bytes,
        messages: u32,
        savings: Savings,
    ) -> Taken {
        let mut plain = Vec::new();
        let (mut start, mut counted) = (0, Savings::default());
        for end in frames::ends(&frames) {
            let frame = &frames[start..end];
            let payload = &frame[frame.len() - frames::payload_bytes(frame)..];
            if frame[0] & 0x40 == 0 {
                plain.extend_from_slice(frame);
            } else {
                assert_eq!(frame[0], 0xc1);
                let mut text = Vec::new();
                let kind = MessageKind::Text;
                Inflater::default().inflate(kind, payload, None, 1 << 20, &mut text).unwrap();
                frames::append(&mut plain, kind, &text);
                counted.messages += 1;
                counted.from_bytes += text.len() as u64;
                counted.to_bytes += payload.len() as u64;
            }
            start = end;
        }
        assert_eq!(savings, counted, "what was saved is counted");
        self.shared.entry(slot).or_default().push((frames.as_ptr().addr(), counted.messages));
        self.inbox.send(slot, plain.into(), messages)
    }

    fn window_bits(&mut self, slot: u32) -> Option<u8> {
        self.bits.get(&slot).copied()
    }

    fn send_alone(&mut self, slot: u32, frames: Vec<u8>, messages: u32) -> Taken {
        self.inbox.send_alone(slot, frames, messages)
    }

    fn note_shared(&mut self, bytes: usize) {
        self.inbox.note_shared(bytes);
    }

    fn queued_bytes(&mut self, slot: u32) -> Option<usize> {
        self.inbox.queued_bytes(slot)
    }

    fn set_lagging(&mut self, slot: u32) {
        self.inbox.set_lagging(slot);
    }
}

fn compressing(shards: usize, rules: Rules) -> Vec<Hub> {
    let bells = (0..shards).map(|_| Arc::new(Silent) as Arc<dyn Bell>);
    let exchange = Arc::new(Exchange::new(bells, rules, &Limits::default()));
    exchange.set_compression(&Deflate::default());
    (0..shards).map(|shard| Hub::new(Arc::clone(&exchange), shard)).collect()
}

fn enter(hub: &mut Hub, windows: &mut Windows, slot: u32, window_bits: Option<u8>, filter: u64) {
    let who = Newcomer { slot, window_bits };
    windows.bits.extend(window_bits.map(|bits| (slot, bits)));
    let how = Subscribe { filter, ..ALL };
    hub.subscribe(Exact("t"), who, how, &Limits::default()).unwrap();
}

fn deliver(hub: &mut Hub, windows: &mut Windows) {
    hub.collect();
    hub.deliver(LagBounds::of(&Limits::default()), windows);
}

#[test]
fn each_window_is_compressed_for_once_and_everybody_reads_the_same() {
    let mut hubs = compressing(2, Rules::default());
    let mut windows = [Windows::default(), Windows::default()];
    for (hub, windows) in hubs.iter_mut().zip(&mut windows) {
        for (slot, bits) in [None, Some(15), Some(15), Some(8), None].into_iter().enumerate() {
            enter(hub, windows, slot as u32, bits, u64::MAX);
        }
    }
    let long = "a long message that says the same again and again ".repeat(20);
    let texts = [long.as_str(), "short", &long, "xyz", &long];
    let wishes = [None, None, Some(false), Some(true), Some(true)];
    for (text, compress) in texts.into_iter().zip(wishes) {
        let content = Content { compress, ..content(text.as_bytes()) };
        hubs[0].publish("t", content, None, Publish::default());
    }
    for (hub, windows) in hubs.iter_mut().zip(&mut windows) {
        deliver(hub, windows);
        for slot in 0..5 {
            assert_eq!(windows.inbox.take(slot), texts);
        }
        // Two of five: the others are too short, or are not to be.
        let shared = std::mem::take(&mut windows.shared);
        assert_eq!(shared.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!((shared[&1][0].1, shared[&3][0].1), (2, 2));
        assert!(shared[&1] == shared[&2] && shared[&1] != shared[&3], "{shared:?}");
    }
    // By another thread.
    let exchange = Arc::clone(hubs[0].exchange());
    exchange.publish("t", content(long.as_bytes()), Publish::default());
    for (hub, windows) in hubs.iter_mut().zip(&mut windows) {
        deliver(hub, windows);
        assert!((0..5).all(|slot| windows.inbox.take(slot) == [long.as_str()]));
        assert_eq!(windows.shared.len(), 3);
        assert_eq!(hub.shared_bytes(), 0);
    }
}

#[test]
fn filters_newcomers_and_senders_get_their_part_in_compressed_form() {
    let mut hub = compressing(1, Rules::default()).remove(0);
    let mut windows = Windows::default();
    for (slot, bits) in [(0, None), (1, Some(15))] {
        enter(&mut hub, &mut windows, slot, bits, u64::MAX);
    }
    enter(&mut hub, &mut windows, 2, Some(15), 0b10);
    let text = |number: usize| format!("{number} {}", "and again ".repeat(30));
    for number in 0..6 {
        if number == 3 {
            enter(&mut hub, &mut windows, 3, Some(15), u64::MAX);
        }
        let how = Publish { tags: number as u64 % 4, except_sender: number == 5, key: 0 };
        hub.publish("t", content(text(number).as_bytes()), Some(1), how);
    }
    deliver(&mut hub, &mut windows);
    let numbers = |numbers: &[usize]| numbers.iter().map(|&n| text(n)).collect::<Vec<_>>();
    // Tags 0 reach nobody.
    assert_eq!(windows.inbox.take(0), numbers(&[1, 2, 3, 5]));
    assert_eq!(windows.inbox.take(1), numbers(&[1, 2, 3]));
    assert_eq!(windows.inbox.take(2), numbers(&[2, 3]));
    assert_eq!(windows.inbox.take(3), numbers(&[3, 5]));
    let compressed: u64 = windows.shared.values().flatten().map(|&(_, messages)| messages).sum();
    assert_eq!(compressed, 3 + 2 + 2);
}

#[test]
fn nothing_is_compressed_for_nobody_and_what_is_kept_aside_is_not_either() {
    let mut hub = compressing(1, rules(slow(SlowPolicy::Latest))).remove(0);
    let mut windows = Windows::default();
    let long = "and again ".repeat(30);
    enter(&mut hub, &mut windows, 0, None, u64::MAX);
    publish(&mut hub, "t", &long);
    deliver(&mut hub, &mut windows);
    assert!(hub.compressor.is_none());
    enter(&mut hub, &mut windows, 1, Some(12), u64::MAX);
    windows.inbox.queued.insert(1, 100);
    publish(&mut hub, "t", &long);
    deliver(&mut hub, &mut windows);
    for _ in 0..2 {
        windows.inbox.queued.insert(1, 0);
        hub.resume(1, &mut windows);
    }
    assert_eq!((windows.inbox.take(1), windows.shared.len()), (vec![long], 0));
}

#[test]
fn a_large_message_framed_beforehand_is_not_copied() {
    let mut hub = compressing(1, Rules::default()).remove(0);
    let mut windows = Windows::default();
    for (slot, bits) in [(0, None), (1, None), (2, Some(15))] {
        enter(&mut hub, &mut windows, slot, bits, u64::MAX);
    }
    let large = "0123456789".repeat(2_000);
    let framed = FramedMessage::new(MessageKind::Text, large.as_bytes());
    let small = FramedMessage::new(MessageKind::Text, b"small");
    for round in 0..2 {
        publish(&mut hub, "t", "before");
        for framed in [&framed, &small] {
            let content = Content { framed: Some(framed), ..content(framed.payload()) };
            hub.publish("t", content, None, Publish::default());
        }
        deliver(&mut hub, &mut windows);
        for slot in 0..3 {
            assert_eq!(windows.inbox.take(slot), ["before", &large, "small"]);
        }
        let (address, messages) = windows.shared[&2][round];
        let mut compressor = Compressor::new();
        let known = framed.compressed(15, &mut compressor).unwrap();
        assert_eq!((address, messages), (known.as_ptr().addr(), 1), "compressed once for ever");
    }
}
