//! What happens when more is sent to a peer than it takes: marks, policies, counts. The usual case,
//! a message that simply fits, is handled before anything here is asked.

use std::fmt;

use super::rare::{Dropped, Rare};
use super::{Application, Connection, Holds, Phase, Services};
use crate::buffer::{Mark, Segment};
use crate::protocol::{
    CloseCode, FrameHeader, HEADER_BYTES_MAX, MessageKind, Opcode, ProtocolError, Role,
};

/// What goes before waiting data is small: more than this many bytes of control frames never wait.
const URGENT_BYTES_MAX: usize = 4 * 1024;
/// While this much waits untaken, a Ping is not answered one by one: section 5.5.3 allows
/// answering only the latest, and a peer that does not read is owed nothing more.
const PONG_BACKLOG_BYTES: usize = 16 * 1024;
/// Bytes that may wait for any peer however little of the memory budget is left, so that who reads
/// what is sent is not made to pay for those who do not.
const RESERVE_BYTES: usize = 4 * 1024;
/// When more than this waits behind a send that is stuck, a Close frame for the peer's failing
/// takes its place instead of standing behind it.
const CLOSE_BACKLOG_BYTES: usize = 16 * 1024;

/// What to do with a message for which the queue has no room
/// ([`Limits::send_queue_bytes_max`](crate::Limits)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendPolicy {
    /// Close with 1008: nobody is left with a gap that it does not know of.
    #[default]
    Close,
    /// Drop the new message.
    DropNewest,
    /// Drop the messages that have waited longest, as many as are in its way. What a send has
    /// already taken cannot be dropped, so up to 64 KiB of older messages still arrive.
    DropOldest,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// The queue was full and [`SendPolicy::Close`] holds: the connection is being closed with 1008.
    SlowConsumer,
    /// The queue was full.
    QueueFull,
    /// The server's memory budget is used up; with [`SendPolicy::Close`] the connection is being
    /// closed with 1013.
    MemoryFull,
}

impl fmt::Display for DropReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SlowConsumer => "the peer does not read: its connection is being closed",
            Self::QueueFull => "the peer does not read fast enough: its queue is full",
            Self::MemoryFull => "the server's memory budget is used up",
        })
    }
}

/// What became of a message that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It waits to be sent, or is on its way.
    Queued,
    /// It is not sent.
    Dropped(DropReason),
    /// The connection is closing or not open yet.
    Closing,
}

impl Connection {
    /// What to do with messages that do not fit the queue. Those queued before are not affected.
    pub fn set_send_policy(&mut self, policy: SendPolicy) {
        if policy == SendPolicy::Close && self.rare.is_none() {
            return;
        }
        self.rare_mut().policy = policy;
        self.note_special();
    }

    /// How many messages were dropped so far, by reason.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.rare.as_ref().map_or_else(Dropped::default, |rare| rare.dropped)
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn policy(&self) -> SendPolicy {
        self.rare.as_ref().map_or(SendPolicy::Close, |rare| rare.policy)
    }

    /// Keeps the flag that leads sends to this module.
    pub(super) fn note_special(&mut self) {
        let special = self
            .rare
            .as_ref()
            .is_some_and(|rare| rare.policy != SendPolicy::Close || rare.sending.is_some());
        self.holds.set(Holds::SPECIAL, special);
    }

    /// Queues a message that replaces the one with the same key that still waits, in its place.
    pub fn send_latest(
        &mut self,
        key: u64,
        kind: MessageKind,
        payload: &[u8],
        services: &mut Services,
    ) -> SendOutcome {
        let segment = self.framed(kind.opcode(), payload, services);
        let outcome = self.send_segment(segment, Mark { key: Some(key), messages: 1 }, services);
        services.counters.messages_sent += u64::from(outcome == SendOutcome::Queued);
        outcome
    }

    /// A frame of its own.
    fn framed(&self, opcode: Opcode, payload: &[u8], services: &mut Services) -> Segment {
        let mut bytes = services.pool.take(payload.len() + HEADER_BYTES_MAX);
        let masks = &mut services.masks;
        self.encoder().frame(&mut bytes, opcode, true, payload, &mut || masks.next_mask());
        Segment::Owned { bytes, start: 0 }
    }

    /// The unusual case of sending: a policy, a key, a message under way, or no room.
    #[cold]
    pub(super) fn send_specially(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        services: &mut Services,
    ) -> SendOutcome {
        if self.phase != Phase::Open {
            return SendOutcome::Closing;
        }
        if self.policy() == SendPolicy::Close && !self.has_room(payload.len(), services) {
            return self.no_room(1, services);
        }
        let segment = self.framed(kind.opcode(), payload, services);
        let outcome = self.send_segment(segment, Mark { key: None, messages: 1 }, services);
        services.counters.messages_sent += u64::from(outcome == SendOutcome::Queued);
        outcome
    }

    /// Whether all of so many bytes can be queued now, none of them beyond the limit.
    #[must_use]
    pub fn has_room_for(&self, bytes: usize, services: &Services) -> bool {
        let limit = services.limits.send_queue_bytes_max;
        bytes == 0
            || self.phase == Phase::Open
                && self.queue.queued_bytes() + bytes <= limit
                && self.has_room(bytes, services)
    }

    fn has_room(&self, bytes: usize, services: &Services) -> bool {
        let queued = self.queue.queued_bytes();
        queued < services.limits.send_queue_bytes_max
            && (!services.pool.budget.is_exhausted() || queued + bytes <= RESERVE_BYTES)
    }

    /// Queues whole frames in an unusual case: no room, a policy, a message under way, or a client,
    /// whose frames must be masked.
    #[cold]
    pub(super) fn send_framed_specially(
        &mut self,
        frames: Segment,
        messages: u32,
        services: &mut Services,
    ) -> SendOutcome {
        let segment = match self.role {
            Role::Server => frames,
            Role::Client => self.masked(frames, services),
        };
        let outcome = self.send_segment(segment, Mark { key: None, messages }, services);
        if outcome == SendOutcome::Queued {
            services.counters.messages_sent += u64::from(messages);
        }
        outcome
    }

    /// A client's own copy of frames that are not masked yet.
    fn masked(&self, frames: Segment, services: &mut Services) -> Segment {
        let mut bytes = services.pool.take(frames.len());
        let (encoder, masks, mut rest) = (self.encoder(), &mut services.masks, frames.bytes());
        while let Ok(Some((header, start))) = FrameHeader::parse(rest, Role::Client, false) {
            let end = start + header.payload_bytes as usize;
            let Some(payload) = rest.get(start..end) else { break };
            encoder.frame(&mut bytes, header.opcode, true, payload, &mut || masks.next_mask());
            rest = &rest[end..];
        }
        frames.discard(&mut services.pool);
        Segment::Owned { bytes, start: 0 }
    }

    /// Queues whole messages by the connection's policy.
    pub(super) fn send_segment(
        &mut self,
        segment: Segment,
        mark: Mark,
        services: &mut Services,
    ) -> SendOutcome {
        if self.phase != Phase::Open {
            segment.discard(&mut services.pool);
            return SendOutcome::Closing;
        }
        let policy = self.policy();
        if policy == SendPolicy::DropOldest {
            self.make_room(segment.len(), services);
        }
        // One that takes the place of another needs no room of its own.
        if !self.has_room(segment.len(), services) && !self.queue.has_key(mark.key) {
            segment.discard(&mut services.pool);
            return self.no_room(mark.messages, services);
        }
        let waits_for_end = self.rare.as_mut().and_then(|rare| rare.sending.as_mut());
        if let Some(sending) = waits_for_end {
            sending.hold_back(segment, mark, &mut self.queue, &mut services.pool);
            return SendOutcome::Queued;
        }
        self.queue_segment(segment, mark, services);
        SendOutcome::Queued
    }

    pub(super) fn queue_segment(&mut self, segment: Segment, mark: Mark, services: &mut Services) {
        if self.policy() == SendPolicy::Close && mark.key.is_none() {
            return self.queue.push(segment, &mut services.pool);
        }
        let replaced = self.queue.push_marked(segment, mark, &mut services.pool);
        if replaced > 0 {
            self.rare_mut().dropped.replaced += u64::from(replaced);
            services.counters.dropped_replaced += u64::from(replaced);
        }
    }

    fn make_room(&mut self, bytes: usize, services: &mut Services) {
        while !self.has_room(bytes, services)
            && let Some(messages) = self.queue.drop_oldest(&mut services.pool)
        {
            self.rare_mut().dropped.oldest += u64::from(messages);
            services.counters.dropped_oldest += u64::from(messages);
        }
    }

    /// So many messages do not fit: what the policy says.
    fn no_room(&mut self, messages: u32, services: &mut Services) -> SendOutcome {
        let memory = services.pool.budget.is_exhausted();
        let closes = self.policy() == SendPolicy::Close;
        let reason = match (memory, closes) {
            (true, _) => DropReason::MemoryFull,
            (false, true) => DropReason::SlowConsumer,
            (false, false) => DropReason::QueueFull,
        };
        self.rare_mut().dropped.newest += u64::from(messages);
        *match reason {
            DropReason::MemoryFull => &mut services.counters.dropped_memory,
            DropReason::SlowConsumer | DropReason::QueueFull => {
                &mut services.counters.dropped_newest
            }
        } += u64::from(messages);
        if closes && memory {
            self.drop_backlog(services);
            self.close(CloseCode::TRY_AGAIN_LATER, "the server is short of memory", services);
        } else if closes {
            services.counters.slow_consumers += 1;
            self.drop_backlog(services);
            let error = ProtocolError::SlowConsumer;
            self.close(error.close_code(), error.reason(), services);
        }
        SendOutcome::Dropped(reason)
    }

    /// Drops what waits behind a send that is stuck, so that a Close frame is not behind it.
    pub(super) fn drop_backlog(&mut self, services: &mut Services) {
        if self.stalled_since.get().is_none() || self.queue.waiting_bytes() <= CLOSE_BACKLOG_BYTES {
            return;
        }
        let messages = self.queue.count_waiting(messages_in);
        self.queue.clear_all_but_urgent(&mut services.pool);
        self.rare_mut().dropped.closing += messages;
        services.counters.dropped_closing += messages;
    }

    /// Queues a Ping with at most 125 bytes of payload.
    pub fn send_ping(&mut self, payload: &[u8], services: &mut Services) -> SendOutcome {
        if self.phase != Phase::Open {
            return SendOutcome::Closing;
        }
        if self.queue.urgent_bytes() >= URGENT_BYTES_MAX {
            return SendOutcome::Dropped(DropReason::QueueFull);
        }
        self.queue_control(Opcode::Ping, &payload[..payload.len().min(125)], services);
        SendOutcome::Queued
    }

    pub(super) fn send_pong(&mut self, payload: &[u8], services: &mut Services) {
        if self.phase != Phase::Open {
            return;
        }
        let owes = self.rare.as_ref().is_some_and(|rare| rare.owed_pong.is_some());
        if owes
            || self.queue.tail_bytes() >= PONG_BACKLOG_BYTES
            || self.queue.urgent_bytes() >= URGENT_BYTES_MAX
        {
            services.counters.pongs_coalesced += u64::from(owes);
            self.rare_mut().owed_pong = Some(payload.to_vec());
        } else {
            self.queue_control(Opcode::Pong, payload, services);
        }
    }

    /// Answers the latest of the Pings that were not answered one by one, now that those before it
    /// are on their way.
    pub(super) fn send_owed_pong(&mut self, services: &mut Services) {
        if let Some(rare) = &mut self.rare
            && let Some(payload) = rare.owed_pong.take()
            && self.phase == Phase::Open
        {
            self.queue_control(Opcode::Pong, &payload, services);
        }
    }

    /// Queues a control frame: behind what leaves with it, but before all that waits for a send
    /// that is stuck.
    fn queue_control(&mut self, opcode: Opcode, payload: &[u8], services: &mut Services) {
        if self.stalled_since.get().is_none() {
            return self.queue_frame(opcode, true, payload, services);
        }
        let (encoder, masks) = (self.encoder(), &mut services.masks);
        self.queue.append_urgent(&mut services.pool, |out| {
            encoder.frame(out, opcode, true, payload, &mut || masks.next_mask());
        });
    }

    /// Notes at the end of a turn how much waits: whether to go on receiving, and whether the
    /// application is to be told when less does.
    #[inline]
    pub fn note_pressure(&mut self, services: &mut Services) {
        if self.queue.queued_bytes() >= services.pressure_bytes {
            self.press(services);
        }
    }

    #[cold]
    fn press(&mut self, services: &mut Services) {
        let queued = self.queue.queued_bytes();
        if queued >= services.soft_bytes {
            self.holds.set(Holds::SOFT, true);
        }
        if queued >= services.limits.receive_pause_bytes
            && self.phase == Phase::Open
            && !self.holds.any(Holds::BACKLOG)
        {
            self.holds.set(Holds::BACKLOG, true);
            services.counters.receive_pauses_backlog += 1;
        }
    }

    /// Whether the application is to be told when less waits.
    #[inline]
    #[must_use]
    pub fn is_above_soft_mark(&self) -> bool {
        self.holds.any(Holds::SOFT)
    }

    /// Notes that less waits; whether the application is to be told.
    pub fn relieve(&mut self, services: &mut Services) -> bool {
        if !self.holds.any(Holds::SOFT | Holds::BACKLOG) {
            return false;
        }
        let queued = self.queue.queued_bytes();
        if self.holds.any(Holds::BACKLOG) && queued <= services.limits.receive_pause_bytes / 2 {
            self.holds.set(Holds::BACKLOG, false);
            self.receiving_again(services.now);
        }
        let drained = self.holds.any(Holds::SOFT) && queued < services.soft_bytes;
        if drained {
            self.holds.set(Holds::SOFT, false);
        }
        drained && self.phase == Phase::Open
    }

    /// Bytes that this connection makes the shard hold.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let received = self.received_kib as usize * 1024;
        self.queue.queued_bytes() + received
    }

    /// Lets the connection go because the shard holds too much and this one has the largest part:
    /// at once, since a Close frame would only wait behind the rest.
    pub fn shed(&mut self, services: &mut Services, application: &mut impl Application) {
        services.counters.shed += 1;
        self.end_abruptly("the server's memory budget is used up", services, application);
    }
}

/// How many messages end in a run of whole frames from a server.
fn messages_in(frames: &[u8]) -> u64 {
    let (mut rest, mut messages) = (frames, 0);
    while let [first, second, ..] = rest {
        let (header, length) = match second & 0x7f {
            126 => {
                (4, rest.get(2..4).map(|field| u64::from(u16::from_be_bytes([field[0], field[1]]))))
            }
            127 => (
                10,
                rest.get(2..10).and_then(|field| field.try_into().ok()).map(u64::from_be_bytes),
            ),
            short => (2, Some(u64::from(short))),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let size = (header + mask) as u64 + length.unwrap_or(u64::MAX / 2);
        // Data frames have opcodes below 8, and the last of a message has FIN.
        messages += u64::from(first & 0x88 == 0x80);
        rest = usize::try_from(size).ok().and_then(|size| rest.get(size..)).unwrap_or_default();
    }
    messages
}
