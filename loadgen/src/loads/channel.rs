//! The messages of a fan-out run that are under way, shared by all shards: when each was published
//! and who has not yet received it. It knows no connections but those of the publishers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ringsock::{Message, Peer, RemotePeer};

use crate::composer::Composer;
use crate::content::Content;

/// Bits of a message's number that count a publisher's messages; the publisher is above them.
const SEQUENCE_BITS: u32 = 48;

/// The messages of all publishers.
#[derive(Debug)]
pub(crate) struct Channel {
    content: Content,
    lanes: Box<[Lane]>,
}

/// The messages of one publisher.
#[derive(Debug)]
struct Lane {
    slots: Box<[Slot]>,
    /// Shards that have subscribers.
    shards: AtomicUsize,
    /// The next sequence number.
    next: AtomicU64,
    /// Held while it publishes.
    publisher: Mutex<Option<RemotePeer>>,
}

/// One message under way.
#[derive(Debug, Default)]
struct Slot {
    sequence: AtomicU64,
    due_ns: AtomicU64,
    published_ns: AtomicU64,
    /// Shards with a subscriber that has not received it.
    shards_left: AtomicUsize,
}

/// A message by its publisher and its place among that one's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageName {
    pub(crate) publisher: usize,
    pub(crate) sequence: u64,
}

impl MessageName {
    fn stamp(self) -> u64 {
        (self.publisher as u64) << SEQUENCE_BITS | self.sequence
    }

    fn of_stamp(stamp: u64) -> Self {
        let sequence = stamp & ((1 << SEQUENCE_BITS) - 1);
        Self { publisher: (stamp >> SEQUENCE_BITS) as usize, sequence }
    }
}

/// When a message was to be published, and when it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    pub(crate) due_ns: u64,
    pub(crate) published_ns: u64,
}

impl Channel {
    /// A channel for so many publishers that remembers the last `slots` messages of each. Without
    /// stamps in the payloads there is one publisher, whose messages are taken to come in order.
    pub(crate) fn new(content: Content, publishers: usize, slots: usize) -> Self {
        let lane = |_| Lane {
            slots: (0..slots).map(|_| Slot::default()).collect(),
            shards: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            publisher: Mutex::default(),
        };
        Self { content, lanes: (0..publishers).map(lane).collect() }
    }

    /// Adds a shard that has subscribers of this publisher; before anything is published.
    pub(crate) fn join(&self, publisher: usize) {
        self.lanes[publisher].shards.fetch_add(1, Ordering::Relaxed);
    }

    /// What is published.
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// How many publishers there are.
    pub(crate) fn publishers(&self) -> usize {
        self.lanes.len()
    }

    /// Messages of a publisher that are remembered.
    pub(crate) fn slots(&self) -> usize {
        self.lanes[0].slots.len()
    }

    /// Names the connection of a publisher.
    pub(crate) fn set_publisher(&self, publisher: usize, peer: RemotePeer) {
        *self.publisher(publisher) = Some(peer);
    }

    fn publisher(&self, publisher: usize) -> MutexGuard<'_, Option<RemotePeer>> {
        self.lanes[publisher].publisher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the next message of a publisher, from any shard.
    pub(crate) fn publish(&self, publisher: usize, times: Published, composer: &mut Composer) {
        let guard = self.publisher(publisher);
        let Some(peer) = &*guard else { return };
        let stamp = self.announce(publisher, times);
        // A publisher that has gone is reported by its end.
        let _ = peer.send(composer.letter(&self.content.pattern, publisher as u32, stamp));
    }

    /// Publishes the next message of a publisher of this shard.
    pub(crate) fn publish_near(
        &self,
        (publisher, peer): (usize, Peer),
        times: Published,
        composer: &mut Composer,
    ) {
        let _guard = self.publisher(publisher);
        let stamp = self.announce(publisher, times);
        let _ = peer.send(composer.letter(&self.content.pattern, publisher as u32, stamp));
    }

    /// Notes that the next message of a publisher is under way; what it carries as its number. The
    /// publisher's lock is held meanwhile.
    fn announce(&self, publisher: usize, times: Published) -> u64 {
        let lane = &self.lanes[publisher];
        let sequence = lane.next.load(Ordering::Relaxed);
        let name = MessageName { publisher, sequence };
        let slot = self.slot(name);
        slot.sequence.store(sequence, Ordering::Release);
        slot.shards_left.store(lane.shards.load(Ordering::Relaxed), Ordering::Release);
        slot.due_ns.store(times.due_ns, Ordering::Release);
        slot.published_ns.store(times.published_ns, Ordering::Release);
        lane.next.store(sequence + 1, Ordering::Release);
        name.stamp()
    }

    /// Messages published so far.
    pub(crate) fn published(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.next.load(Ordering::Acquire)).sum()
    }

    /// When a message was published, if it is remembered.
    pub(crate) fn times(&self, name: MessageName) -> Option<Published> {
        let slot = self.slot(name);
        (slot.sequence.load(Ordering::Acquire) == name.sequence).then(|| Published {
            due_ns: slot.due_ns.load(Ordering::Acquire),
            published_ns: slot.published_ns.load(Ordering::Acquire),
        })
    }

    /// All subscribers of a shard have received this message; whether that was the last shard.
    pub(crate) fn leave(&self, name: MessageName) -> bool {
        let slot = self.slot(name);
        slot.sequence.load(Ordering::Acquire) == name.sequence
            && slot.shards_left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Which message this is, for a subscriber that is due `next` of the first publisher. `None`
    /// when it was never published.
    pub(crate) fn name(&self, message: &Message<'_>, next: u64) -> Option<MessageName> {
        let name = match self.content.pattern.is_numbered() {
            true => MessageName::of_stamp(self.content.pattern.number_in(message.bytes(), next)?),
            false => MessageName { publisher: 0, sequence: next },
        };
        let lane = self.lanes.get(name.publisher)?;
        (name.sequence < lane.next.load(Ordering::Acquire)).then_some(name)
    }

    /// Judges the bytes of a message for a subscriber: whether all were compared, or what is wrong.
    pub(crate) fn judge(
        &self,
        number: u32,
        name: MessageName,
        message: &Message<'_>,
    ) -> Result<bool, String> {
        let (bytes, due) = (message.bytes(), self.content.pattern.bytes_of(name.stamp()));
        if bytes.len() != due {
            return Err(format!("a message of {due} bytes came as {} bytes", bytes.len()));
        }
        if !self.content.verify.wants(number, name.sequence) {
            return Ok(false);
        }
        let pattern = &self.content.pattern;
        let right = message.kind() == pattern.kind()
            && pattern.is_payload(name.publisher as u32, name.stamp(), bytes);
        match right {
            true => Ok(true),
            false => Err(format!("message {} came with other bytes", name.sequence)),
        }
    }

    fn slot(&self, name: MessageName) -> &Slot {
        let slots = &self.lanes[name.publisher].slots;
        &slots[(name.sequence % slots.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Pattern, Verify};
    use ringsock::Outgoing;
    use ringsock::buffer::Payload;
    use ringsock::protocol::MessageKind;

    const NAME: MessageName = MessageName { publisher: 1, sequence: 7 };

    fn channel(payload_bytes: usize) -> Channel {
        let pattern = Pattern::new(MessageKind::Text, payload_bytes).numbered();
        let content = Content { pattern, verify: Verify::All, answer_timeout: None };
        let channel = Channel::new(content, 2, 4);
        for lane in &channel.lanes {
            lane.next.store(10, Ordering::Relaxed);
        }
        channel
    }

    fn bytes_of(channel: &Channel, number: u32, sequence: u64) -> Vec<u8> {
        let mut composer = channel.content.composer();
        composer.letter(&channel.content.pattern, number, sequence).bytes().to_vec()
    }

    fn judge(channel: &Channel, flaw: Option<usize>) -> Result<bool, String> {
        let mut bytes = bytes_of(channel, 1, NAME.stamp());
        if let Some(at) = flaw {
            bytes[at] ^= 1;
        }
        let message = Message::new(MessageKind::Text, Payload::from(&mut bytes[..]));
        if flaw.is_none_or(|at| at >= 16) {
            assert_eq!(channel.name(&message, 0), Some(NAME));
        }
        channel.judge(5, NAME, &message)
    }

    #[test]
    fn a_message_is_named_by_what_it_carries_and_its_bytes_are_compared() {
        let channel = channel(100);
        assert_eq!(judge(&channel, None), Ok(true));
        assert!(judge(&channel, Some(99)).unwrap_err().contains("other bytes"));
        assert!(judge(&channel, Some(16)).unwrap_err().contains("other bytes"));
    }

    #[test]
    fn what_was_never_published_has_no_name() {
        let channel = channel(100);
        for (publisher, sequence) in [(1, 10), (2, 0), (0, 1 << 40)] {
            let stamp = MessageName { publisher, sequence }.stamp();
            let mut bytes = bytes_of(&channel, 0, stamp);
            let message = Message::new(MessageKind::Text, Payload::from(&mut bytes[..]));
            assert_eq!(channel.name(&message, 0), None, "{publisher} {sequence}");
        }
    }

    #[test]
    fn payloads_without_room_for_a_number_are_taken_in_turn() {
        let channel = channel(15);
        let mut bytes = bytes_of(&channel, 0, 3);
        let message = Message::new(MessageKind::Text, Payload::from(&mut bytes[..]));
        let name = MessageName { publisher: 0, sequence: 3 };
        assert_eq!(channel.name(&message, 3), Some(name));
    }

    #[test]
    fn the_last_shard_is_told_from_the_others() {
        let channel = channel(20);
        channel.slot(NAME).shards_left.store(2, Ordering::Relaxed);
        channel.slot(NAME).sequence.store(NAME.sequence, Ordering::Relaxed);
        assert!(!channel.leave(NAME));
        assert!(channel.leave(NAME));
        let forgotten = MessageName { sequence: 3, ..NAME };
        assert!(!channel.leave(forgotten));
        assert!(channel.times(forgotten).is_none());
    }
}
