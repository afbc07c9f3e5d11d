//! The messages of a fan-out run that are under way, shared by all shards: when each was published
//! and which shards have it. It knows no connections but those of the publishers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ringsock::protocol::HEADER_BYTES_MAX;
use ringsock::{MIB, Message, Outgoing, Peer, RemotePeer};

use super::pending::{PENDING_MAX, Pending};
use crate::composer::Composer;
use crate::content::Content;
use crate::readings::Readings;
use crate::scoreboard::Scoreboard;

/// Bits of a message's number that count a publisher's messages; the publisher is above them.
const SEQUENCE_BITS: u32 = 48;
/// Bytes that may wait in the queues of all publishers together.
const QUEUE_BYTES_MAX: usize = 1024 * MIB;
/// Messages that may always wait in the queue of a publisher.
const QUEUE_MESSAGES_MIN: u64 = 16;

/// The messages of all publishers.
#[derive(Debug)]
pub(crate) struct Channel {
    content: Content,
    /// Messages of one publisher that nobody has received.
    unseen_max: u64,
    lanes: Box<[Lane]>,
    /// Lanes that have a publisher.
    manned: AtomicUsize,
}

/// One publisher.
#[derive(Debug, Default)]
struct Lane {
    /// The next sequence number.
    next: AtomicU64,
    /// One more than the highest sequence number that somebody has received.
    seen_end: AtomicU64,
    /// Held while it publishes.
    desk: Mutex<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    publisher: Option<RemotePeer>,
    /// Its subscribers by shard.
    shares: Vec<u64>,
    /// The sequence number of the first entry; all before are complete or given up.
    base: u64,
    under_way: VecDeque<Entry>,
    /// Entries that are not complete.
    incomplete: usize,
    /// Messages that were not complete when they were forgotten.
    given_up: u64,
    /// The next that is to be looked at for being overdue.
    overdue_end: u64,
}

/// One message under way.
#[derive(Clone, Copy, Debug)]
struct Entry {
    times: Published,
    /// Shards with a subscriber that has not received it.
    shards_left: usize,
    /// Another one was published in its place.
    is_replaced: bool,
}

/// A message by its publisher and its place among that one's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageName {
    pub(super) publisher: usize,
    pub(super) sequence: u64,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) due_ns: u64,
    pub(crate) published_ns: u64,
}

impl Published {
    /// Published when it was due.
    pub(crate) fn at(now_ns: u64) -> Self {
        Self { due_ns: now_ns, published_ns: now_ns }
    }
}

/// A message that has reached everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Completed {
    pub(super) times: Published,
    /// Another one was published in its place already.
    pub(super) is_replaced: bool,
}

impl Channel {
    /// A channel for so many publishers. Without numbers in the payloads there is one publisher,
    /// whose messages are taken to come in order.
    pub(crate) fn new(content: Content, publishers: usize) -> Self {
        let frame_bytes = content.pattern.payload_bytes() + HEADER_BYTES_MAX;
        let unseen_max = (QUEUE_BYTES_MAX / publishers / frame_bytes) as u64;
        let unseen_max = unseen_max.clamp(QUEUE_MESSAGES_MIN, PENDING_MAX as u64);
        let lanes = (0..publishers).map(|_| Lane::default()).collect();
        Self { content, unseen_max, lanes, manned: AtomicUsize::new(0) }
    }

    /// How many publishers there are.
    pub(crate) fn publishers(&self) -> usize {
        self.lanes.len()
    }

    /// Messages that may wait in the queue of a publisher.
    pub(crate) fn queue_messages(&self) -> usize {
        self.unseen_max as usize
    }

    /// Bytes that may wait for the publishers, and be put together by so many subscribers.
    pub(crate) fn memory_bytes(&self, subscribers: usize) -> usize {
        let frame_bytes = self.content.pattern.payload_bytes() + HEADER_BYTES_MAX;
        frame_bytes * (self.queue_messages() * self.lanes.len() + subscribers)
    }

    /// What is published.
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// A connection is open; which publisher it is, if more are wanted.
    pub(super) fn man(&self, peer: Peer) -> Option<usize> {
        let more = |manned: usize| (manned < self.lanes.len()).then_some(manned + 1);
        let manned = self.manned.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        let publisher = manned.ok()?;
        self.desk(publisher).publisher = Some(peer.remote());
        Some(publisher)
    }

    /// How many publishers are open.
    pub(super) fn manned(&self) -> usize {
        self.manned.load(Ordering::Acquire)
    }

    fn desk(&self, publisher: usize) -> MutexGuard<'_, Desk> {
        self.lanes[publisher].desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A publisher has one more subscriber on this shard.
    pub(super) fn subscribe(&self, publisher: usize, shard: usize) {
        let shares = &mut self.desk(publisher).shares;
        shares.resize(shares.len().max(shard + 1), 0);
        shares[shard] += 1;
    }

    /// A publisher has one subscriber less on this shard. What was published before was published
    /// for that one as well: it is pending now, or owed.
    pub(super) fn unsubscribe(
        &self,
        publisher: usize,
        shard: usize,
        pending: &mut Pending,
    ) -> Vec<(u64, u64)> {
        let mut desk = self.desk(publisher);
        let owed = desk.copy_to(pending, shard);
        desk.shares[shard] = desk.shares[shard].saturating_sub(1);
        owed
    }

    /// Publishes the next message of a publisher, from any shard, or through `near` from its own.
    /// The bytes of its payload; `None` when it cannot be: too many wait already, or the publisher
    /// has gone.
    pub(crate) fn publish(
        &self,
        publisher: usize,
        near: Option<Peer>,
        times: Published,
        composer: &mut Composer,
    ) -> Option<usize> {
        let lane = &self.lanes[publisher];
        let mut desk = self.desk(publisher);
        let sequence = lane.next.load(Ordering::Relaxed);
        if sequence.saturating_sub(lane.seen_end.load(Ordering::Relaxed)) >= self.unseen_max {
            return None;
        }
        let stamp = MessageName { publisher, sequence }.stamp();
        // Before it is sent: whoever receives it must know that it was published.
        lane.next.store(sequence + 1, Ordering::Release);
        let letter = composer.letter(&self.content.pattern, publisher as u32, stamp);
        let payload_bytes = letter.bytes().len();
        let is_sent = match (near, &desk.publisher) {
            (Some(near), _) => near.send(letter).is_ok(),
            (None, Some(remote)) => remote.send(letter).is_ok(),
            (None, None) => false,
        };
        match is_sent {
            true => desk.push(times, PENDING_MAX / self.lanes.len()),
            false => lane.next.store(sequence, Ordering::Release),
        }
        is_sent.then_some(payload_bytes)
    }

    /// Messages of a publisher so far.
    pub(crate) fn published_by(&self, publisher: usize) -> u64 {
        self.lanes[publisher].next.load(Ordering::Acquire)
    }

    /// Messages published so far.
    pub(crate) fn published(&self) -> u64 {
        (0..self.lanes.len()).map(|publisher| self.published_by(publisher)).sum()
    }

    /// Whether everybody has everything.
    pub(crate) fn is_settled(&self) -> bool {
        (0..self.lanes.len()).all(|publisher| self.desk(publisher).incomplete == 0)
    }

    /// Somebody has received this message, so it waits in no queue of a publisher any more, nor does
    /// any before it.
    pub(super) fn see(&self, name: MessageName) {
        self.lanes[name.publisher].seen_end.fetch_max(name.sequence + 1, Ordering::Relaxed);
    }

    /// A shard has received a message that it does not know: tells it what was published until now.
    /// What it is owed of messages that are too old is returned, by when they were due.
    pub(super) fn catch_up(
        &self,
        name: MessageName,
        shard: usize,
        pending: &mut Pending,
    ) -> Vec<(u64, u64)> {
        self.desk(name.publisher).copy_to(pending, shard)
    }

    /// What a shard is owed in the end of a publisher.
    pub(super) fn owed(
        &self,
        publisher: usize,
        shard: usize,
        pending: &mut Pending,
    ) -> Vec<(u64, u64)> {
        let mut owed = self.desk(publisher).copy_to(pending, shard);
        owed.extend(pending.owed());
        owed
    }

    /// All subscribers of a shard have received this message, or never will; tells it when that was
    /// the last shard.
    pub(super) fn leave(&self, name: MessageName) -> Option<Completed> {
        self.desk(name.publisher).leave(name.sequence)
    }

    /// Messages of a publisher that were published before this time and are not complete: others
    /// are to be published in their place. Each is counted once.
    pub(super) fn replace_overdue(&self, publisher: usize, before_ns: u64) -> usize {
        self.desk(publisher).replace_overdue(before_ns)
    }

    /// The run is over: how long the messages took at least that never reached everybody.
    pub(crate) fn settle(&self, board: &Scoreboard, readings: &mut Readings) {
        let now_ns = board.nanoseconds();
        for publisher in 0..self.lanes.len() {
            let desk = self.desk(publisher);
            let missing = desk.under_way.iter().filter(|entry| entry.shards_left > 0);
            for entry in missing.filter(|entry| board.is_counted(entry.times.due_ns)) {
                let age_ns = now_ns.saturating_sub(entry.times.due_ns);
                readings.record_completion(age_ns);
            }
            let oldest_ns = desk.under_way.front().map_or(now_ns, |entry| entry.times.due_ns);
            for _ in 0..desk.given_up {
                readings.record_completion(now_ns.saturating_sub(oldest_ns));
            }
        }
    }

    /// Which message this is, for a subscriber that is due `next` of the first publisher. `None`
    /// when it was never published.
    pub(super) fn name(&self, message: &Message<'_>, next: u64) -> Option<MessageName> {
        let name = MessageName::of_stamp(self.content.number_in(message.bytes(), next)?);
        let lane = self.lanes.get(name.publisher)?;
        (name.sequence < lane.next.load(Ordering::Acquire)).then_some(name)
    }

    /// Judges the bytes of a message for a subscriber: whether all were compared, or what is wrong.
    pub(super) fn judge(
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
}

impl Desk {
    /// A message is published; of those under way so many are remembered.
    fn push(&mut self, times: Published, most: usize) {
        if self.under_way.len() >= most
            && let Some(oldest) = self.under_way.pop_front()
        {
            self.base += 1;
            self.incomplete -= usize::from(oldest.shards_left > 0);
            self.given_up += u64::from(oldest.shards_left > 0);
        }
        let shards_left = self.shares.iter().filter(|&&share| share > 0).count();
        self.under_way.push_back(Entry { times, shards_left, is_replaced: false });
        self.incomplete += usize::from(shards_left > 0);
    }

    /// Makes known what was published, for as many subscribers as a shard has now. What is owed of
    /// what is no longer known here counts as the oldest that is.
    fn copy_to(&self, pending: &mut Pending, shard: usize) -> Vec<(u64, u64)> {
        let share = self.shares.get(shard).copied().unwrap_or(0);
        let oldest_ns = self.under_way.front().map_or(0, |entry| entry.times.due_ns);
        let mut owed = Vec::new();
        if pending.end() < self.base {
            owed.extend(pending.owed());
            owed.push((oldest_ns, pending.skip_to(self.base) * share));
        }
        let known = pending.end().saturating_sub(self.base) as usize;
        for entry in self.under_way.iter().skip(known) {
            pending.push(entry.times, share);
        }
        owed
    }

    fn leave(&mut self, sequence: u64) -> Option<Completed> {
        let index = sequence.checked_sub(self.base)? as usize;
        let entry = self.under_way.get_mut(index)?;
        entry.shards_left = entry.shards_left.checked_sub(1)?;
        if entry.shards_left > 0 {
            return None;
        }
        let completed = Completed { times: entry.times, is_replaced: entry.is_replaced };
        self.incomplete -= 1;
        while self.under_way.front().is_some_and(|entry| entry.shards_left == 0) {
            self.under_way.pop_front();
            self.base += 1;
        }
        Some(completed)
    }

    fn replace_overdue(&mut self, before_ns: u64) -> usize {
        let mut replaced = 0;
        self.overdue_end = self.overdue_end.max(self.base);
        while let Some(entry) = self.under_way.get_mut((self.overdue_end - self.base) as usize)
            && entry.times.published_ns < before_ns
        {
            entry.is_replaced = entry.shards_left > 0;
            replaced += usize::from(entry.is_replaced);
            self.overdue_end += 1;
        }
        replaced
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
        let channel = Channel::new(content, 2);
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

    fn desk(messages: u64) -> Desk {
        let mut desk = Desk { shares: vec![3, 0, 2], ..Desk::default() };
        (0..messages).for_each(|sequence| desk.push(Published::at(100 + sequence), 1000));
        desk
    }

    #[test]
    fn a_message_is_complete_when_the_last_shard_that_has_subscribers_says_so() {
        let mut desk = desk(2);
        assert_eq!((desk.leave(1), desk.incomplete), (None, 2));
        let completed = Completed { times: Published::at(101), is_replaced: false };
        assert_eq!((desk.leave(1), desk.incomplete), (Some(completed), 1));
        assert_eq!(desk.leave(1), None, "once");
        assert_eq!((desk.leave(0), desk.leave(0).is_some()), (None, true));
        assert_eq!((desk.base, desk.under_way.len(), desk.incomplete), (2, 0, 0));
    }

    #[test]
    fn what_is_overdue_is_replaced_once() {
        let mut desk = desk(5);
        for _ in 0..2 {
            desk.leave(1);
        }
        assert_eq!((desk.replace_overdue(103), desk.replace_overdue(103)), (2, 0));
        assert_eq!(desk.leave(2), None);
        assert!(desk.leave(2).is_some_and(|completed| completed.is_replaced));
        assert_eq!(desk.replace_overdue(u64::MAX), 2);
    }

    #[test]
    fn a_shard_learns_what_it_does_not_know_and_no_more() {
        let mut desk = desk(3);
        let mut pending = Pending::default();
        assert!(desk.copy_to(&mut pending, 2).is_empty());
        assert_eq!(pending.owed().collect::<Vec<_>>(), [(100, 2), (101, 2), (102, 2)]);
        desk.push(Published::at(103), 1000);
        assert!(desk.copy_to(&mut pending, 2).is_empty());
        assert_eq!((pending.end(), pending.owed().count()), (4, 4));
        // Somebody who comes too late begins with what is still known.
        (0..2).for_each(|_| desk.push(Published::at(104), 4));
        let mut late = Pending::default();
        assert_eq!(desk.copy_to(&mut late, 0), [(102, 2 * 3)]);
        assert_eq!((late.end(), late.owed().count(), desk.given_up), (6, 4, 2));
    }
}
