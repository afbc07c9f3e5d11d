//! Messages that are framed, and perhaps compressed, once for many connections. Which those are is
//! decided elsewhere.

use bytes::Bytes;

use super::{Compress, Connection, SendOutcome, Services};
use crate::buffer::Segment;
use crate::protocol::{FramedMessage, Role};

/// Frames from this size on are queued by reference. Copying a shorter one costs less than what is
/// to be kept of a reference, and what is sent behind it is then contiguous with it.
const SHARED_BYTES_MIN: usize = 256;

impl Connection {
    /// The window of 2^`bits` bytes to which messages are compressed that others get as well.
    /// `None` where each message refers to those before it on the same connection, or is masked.
    #[must_use]
    pub fn shared_window_bits(&self) -> Option<u8> {
        let agreement = self.agreement.filter(|agreement| !agreement.send_takeover)?;
        (self.role == Role::Server).then_some(agreement.send_window_bits)
    }

    /// Queues bytes that are already framed and that other connections share.
    pub fn send_shared(
        &mut self,
        frames: Bytes,
        messages: u32,
        services: &mut Services,
    ) -> SendOutcome {
        self.send_framed(Segment::Shared(frames), messages, services)
    }

    /// Queues whole messages that are already framed, and not masked.
    #[inline]
    pub fn send_framed(
        &mut self,
        frames: Segment,
        messages: u32,
        services: &mut Services,
    ) -> SendOutcome {
        if self.role == Role::Client || !self.takes_messages(services) {
            return self.send_framed_specially(frames, messages, services);
        }
        services.counters.messages_sent += u64::from(messages);
        match self.stalled_since.get() {
            None => self.queue.push_to_leave(frames, &mut services.pool),
            Some(_) => self.queue.push(frames, &mut services.pool),
        }
        SendOutcome::Queued
    }

    /// Queues a message that was framed beforehand.
    pub(crate) fn send_prepared(
        &mut self,
        message: &FramedMessage,
        compress: Compress,
        services: &mut Services,
    ) -> SendOutcome {
        if self.wants_compressed(compress, message.payload().len(), services) {
            let Some(bits) = self.shared_window_bits() else {
                return self.send(message.kind(), message.payload(), compress, services);
            };
            let compressor = services.compression.compressor();
            if let Some(frame) = message.compressed(bits, compressor).cloned() {
                let plain_bytes = message.payload().len() as u64;
                let outcome = self.send_shared_or_copied(&frame, services);
                if outcome == SendOutcome::Queued {
                    services.count_compressed(1, plain_bytes, frame.len() as u64);
                }
                return outcome;
            }
        }
        self.send_shared_or_copied(message.plain(), services)
    }

    fn send_shared_or_copied(&mut self, frame: &Bytes, services: &mut Services) -> SendOutcome {
        if frame.len() >= SHARED_BYTES_MIN {
            return self.send_shared(frame.clone(), 1, services);
        }
        if self.role == Role::Client || !self.takes_messages(services) {
            let bytes = frame.to_vec();
            return self.send_framed(Segment::Owned { bytes, start: 0 }, 1, services);
        }
        services.counters.messages_sent += 1;
        self.queue.append(&mut services.pool, frame.len(), |out| out.extend_from_slice(frame));
        SendOutcome::Queued
    }
}

impl Services {
    /// Counts messages that are sent in compressed form.
    pub(crate) fn count_compressed(&mut self, messages: u64, from_bytes: u64, to_bytes: u64) {
        self.counters.messages_compressed += messages;
        self.counters.compressed_from_bytes += from_bytes;
        self.counters.compressed_to_bytes += to_bytes;
    }
}
