//! The messages of a fan-out run that are under way, shared by all shards: when each was published
//! and who has not yet received it. It knows no connection but the publisher's.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ringsock::protocol::MessageKind;
use ringsock::{Binary, Message, RemotePeer, Text};

use crate::pattern::{Pattern, Verify};

/// Bytes at the front of a payload that hold the sequence number as hexadecimal digits, which are
/// as good in text as in binary messages.
const SEQUENCE_BYTES: usize = 16;

/// Messages published and not yet received by everybody.
#[derive(Debug)]
pub(crate) struct Channel {
    pattern: Pattern,
    verify: Verify,
    slots: Box<[Slot]>,
    /// Shards that have subscribers.
    shards: AtomicUsize,
    publisher: Mutex<Publisher>,
}

/// One message under way.
#[derive(Debug, Default)]
struct Slot {
    published_ns: AtomicU64,
    /// Shards with a subscriber that has not received it.
    shards_left: AtomicUsize,
}

#[derive(Debug, Default)]
struct Publisher {
    peer: Option<RemotePeer>,
    /// The next sequence number.
    next: u64,
    payload: Vec<u8>,
}

impl Channel {
    /// A channel with `pipeline` messages under way and no subscribers.
    pub(crate) fn new(pattern: Pattern, verify: Verify, pipeline: usize) -> Self {
        let slots = (0..pipeline).map(|_| Slot::default()).collect();
        let (shards, publisher) = (AtomicUsize::new(0), Mutex::default());
        Self { pattern, verify, slots, shards, publisher }
    }

    /// Adds a shard that has subscribers; before anything is published.
    pub(crate) fn join(&self) {
        self.shards.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages under way.
    pub(crate) fn pipeline(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of payload in each message.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.pattern.payload_bytes()
    }

    /// Names the connection that publishes.
    pub(crate) fn set_publisher(&self, peer: RemotePeer) {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner).peer = Some(peer);
    }

    /// Publishes the next message. Called for the first ones and then for each that everybody has
    /// received, so there is always a slot that is free.
    pub(crate) fn publish(&self, now_ns: u64) {
        let mut guard = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        let Publisher { peer, next, payload } = &mut *guard;
        let Some(peer) = peer else { return };
        let slot = self.slot(*next);
        slot.shards_left.store(self.shards.load(Ordering::Relaxed), Ordering::Release);
        slot.published_ns.store(now_ns, Ordering::Release);
        write_payload(&self.pattern, *next, payload);
        *next += 1;
        // A publisher that has gone is reported by its end.
        let _ = match (self.pattern.kind(), std::str::from_utf8(payload)) {
            (MessageKind::Text, Ok(text)) => peer.send(Text(text)),
            _ => peer.send(Binary(&payload)),
        };
    }

    /// Messages published so far.
    pub(crate) fn published(&self) -> u64 {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner).next
    }

    /// When a message that is under way was published.
    pub(crate) fn published_ns(&self, sequence: u64) -> u64 {
        self.slot(sequence).published_ns.load(Ordering::Acquire)
    }

    /// All subscribers of a shard have received this message; whether that was the last shard.
    pub(crate) fn leave(&self, sequence: u64) -> bool {
        self.slot(sequence).shards_left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Judges what came to a subscriber that is due message `sequence`: whether every byte was
    /// compared, or what is wrong.
    pub(crate) fn judge(
        &self,
        number: u32,
        sequence: u64,
        message: &Message<'_>,
    ) -> Result<bool, String> {
        let (bytes, due) = (message.bytes(), self.payload_bytes());
        if bytes.len() != due {
            return Err(format!("a message of {due} bytes came as {} bytes", bytes.len()));
        }
        if self.verify == Verify::None || due < SEQUENCE_BYTES {
            return Ok(false);
        }
        let (head, body) = bytes.split_at(SEQUENCE_BYTES);
        let text = std::str::from_utf8(head).ok();
        match text.and_then(|text| u64::from_str_radix(text, 16).ok()) {
            Some(came) if came == sequence => {}
            Some(came) => return Err(format!("message {came} came where {sequence} was due")),
            None => return Err("a message came that was never published".to_owned()),
        }
        if !self.verify.wants(number, sequence) {
            return Ok(false);
        }
        let right = message.kind() == self.pattern.kind()
            && body == &self.pattern.payload(0, sequence)[SEQUENCE_BYTES..];
        if right { Ok(true) } else { Err(format!("message {sequence} came with other bytes")) }
    }

    fn slot(&self, sequence: u64) -> &Slot {
        &self.slots[(sequence % self.slots.len() as u64) as usize]
    }
}

/// The pattern's bytes, with the sequence number in front if there is room for it.
fn write_payload(pattern: &Pattern, sequence: u64, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(pattern.payload(0, sequence));
    if let Some(front) = out.get_mut(..SEQUENCE_BYTES) {
        front.copy_from_slice(format!("{sequence:016x}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringsock::buffer::Payload;

    fn channel(payload_bytes: usize) -> Channel {
        Channel::new(Pattern::new(MessageKind::Text, payload_bytes), Verify::All, 4)
    }

    fn judge(channel: &Channel, due: u64, came: u64, flaw: Option<usize>) -> Result<bool, String> {
        let mut bytes = Vec::new();
        write_payload(&channel.pattern, came, &mut bytes);
        if let Some(at) = flaw {
            bytes[at] ^= 1;
        }
        let message = Message::new(MessageKind::Text, Payload::from(&mut bytes[..]));
        channel.judge(5, due, &message)
    }

    #[test]
    fn the_message_that_is_due_is_right_and_every_other_is_named() {
        let channel = channel(100);
        assert_eq!(judge(&channel, 7, 7, None), Ok(true));
        assert!(judge(&channel, 7, 8, None).unwrap_err().contains("message 8 came where 7"));
        assert!(judge(&channel, 7, 6, None).unwrap_err().contains("message 6 came where 7"));
        assert!(judge(&channel, 7, 7, Some(99)).unwrap_err().contains("other bytes"));
        assert!(judge(&channel, 7, 7, Some(16)).unwrap_err().contains("other bytes"));
    }

    #[test]
    fn payloads_without_room_for_a_number_are_only_counted() {
        let channel = channel(15);
        assert_eq!(judge(&channel, 1, 2, None), Ok(false));
    }

    #[test]
    fn the_last_shard_is_told_from_the_others() {
        let channel = channel(20);
        channel.join();
        channel.join();
        let shards = channel.shards.load(Ordering::Relaxed);
        channel.slot(9).shards_left.store(shards, Ordering::Relaxed);
        assert!(!channel.leave(9));
        assert!(channel.leave(9));
    }
}
