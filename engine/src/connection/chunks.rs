//! Messages in pieces, so that a message need not fit in memory: those that leave as fragments (RFC
//! 6455 section 5.4), and those that are handed on as they arrive. Pieces are cut elsewhere: by
//! whoever sends them, and by the decoder.

use std::collections::VecDeque;

use super::time::Since;
use super::{Application, Connection, DropReason, Holds, Phase, Piece, SendOutcome, Services};
use crate::buffer::{HEADROOM_BYTES, Mark, Pool, Segment, SendQueue};
use crate::protocol::{MessageKind, Opcode, ProtocolError, Received};

/// A message of which a part has been queued, and what waits for its end: nothing but control
/// frames may stand between the fragments of a message.
#[derive(Debug, Default)]
pub(super) struct ChunkedSend {
    held_back: VecDeque<(Segment, Mark)>,
}

impl ChunkedSend {
    /// Keeps a message until the end of the one under way.
    pub(super) fn hold_back(
        &mut self,
        segment: Segment,
        mark: Mark,
        queue: &mut SendQueue,
        pool: &mut Pool,
    ) {
        queue.set_aside(&segment, pool);
        self.held_back.push_back((segment, mark));
    }
}

impl Connection {
    /// Queues a piece of a message; the first begins it, the one with `last` ends it. Whole
    /// messages sent in between follow behind its end.
    ///
    /// A piece for which the queue has no room is not taken, whatever the policy: the same piece
    /// may be sent again after [`drained`](Self::relieve).
    pub fn send_chunk(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        last: bool,
        services: &mut Services,
    ) -> SendOutcome {
        if self.phase != Phase::Open {
            return SendOutcome::Closing;
        }
        if self.queue.queued_bytes() >= services.limits.send_queue_bytes_max {
            return SendOutcome::Dropped(DropReason::QueueFull);
        }
        if services.pool.budget.is_exhausted() {
            return SendOutcome::Dropped(DropReason::MemoryFull);
        }
        let begun = self.rare.as_ref().is_some_and(|rare| rare.sending.is_some());
        let opcode = if begun { Opcode::Continuation } else { kind.opcode() };
        self.queue_frame(opcode, last, payload, services);
        if last {
            services.counters.messages_sent += 1;
            self.end_chunks(services);
        } else if !begun {
            self.rare_mut().sending = Some(ChunkedSend::default());
            self.note_special();
        }
        SendOutcome::Queued
    }

    /// Whether a message has been begun with [`send_chunk`](Self::send_chunk) and not ended.
    #[must_use]
    pub fn is_sending_chunks(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.sending.is_some())
    }

    /// Hands messages that begin from here on to [`Application::chunk`], in pieces as they arrive,
    /// or whole to [`Application::message`] again. A compressed message is one piece, held to the
    /// limit of whole ones.
    pub fn receive_chunks(&mut self, chunks: bool) {
        self.decoder.receive_chunks(chunks);
    }

    /// Hands a piece on.
    pub(super) fn receive_chunk(
        &mut self,
        kind: MessageKind,
        piece: Piece<'_>,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        // It goes on: what has to come in time is the next piece.
        self.assembly_since = Since::NEVER;
        if self.phase != Phase::Open {
            return;
        }
        if piece.is_first {
            self.rare_mut().chunked_bytes = 0;
            if self.holds.any(Holds::METERED) && !self.spend_message(services, application) {
                return;
            }
        }
        let rare = self.rare_mut();
        rare.chunked_bytes += piece.bytes.len() as u64;
        if rare.chunked_bytes > services.limits.chunked_message_bytes_max as u64 {
            return self.fail(ProtocolError::MessageTooBig, services, application);
        }
        self.control_credit = services.limits.control_frames_burst * 1000;
        services.counters.messages_received += u64::from(piece.is_last);
        application.chunk(self, services, kind, piece);
    }

    /// A whole message for an application that wants pieces.
    #[cold]
    pub(super) fn deliver_as_chunk(
        &mut self,
        kind: MessageKind,
        payload: Received<'_>,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        if payload.bytes().len() > services.limits.chunked_message_bytes_max {
            return self.fail(ProtocolError::MessageTooBig, services, application);
        }
        services.counters.messages_received += 1;
        let (is_first, is_last) = (true, true);
        match payload {
            Received::InPlace(mut payload) => {
                let piece = Piece { bytes: payload.bytes_mut(), is_first, is_last };
                application.chunk(self, services, kind, piece);
            }
            Received::Assembled(mut vector) => {
                let bytes = vector.get_mut(HEADROOM_BYTES..).unwrap_or_default();
                application.chunk(self, services, kind, Piece { bytes, is_first, is_last });
                services.pool.give(vector);
            }
        }
    }

    /// Queues what waited for the end of the message.
    fn end_chunks(&mut self, services: &mut Services) {
        let Some(sending) = self.rare.as_mut().and_then(|rare| rare.sending.take()) else { return };
        self.note_special();
        for (segment, mark) in sending.held_back {
            self.queue.bring_back(&segment, &mut services.pool);
            self.queue_segment(segment, mark, services);
        }
    }

    /// Drops what waits for the end of a message that will not come.
    pub(super) fn abandon_chunks(&mut self, services: &mut Services) {
        let Some(sending) = self.rare.as_mut().and_then(|rare| rare.sending.take()) else { return };
        let messages: u64 =
            sending.held_back.iter().map(|(_, mark)| u64::from(mark.messages)).sum();
        for (segment, _) in sending.held_back {
            self.queue.bring_back(&segment, &mut services.pool);
            segment.discard(&mut services.pool);
        }
        self.note_special();
        self.rare_mut().dropped.closing += messages;
        services.counters.dropped_closing += messages;
    }
}
