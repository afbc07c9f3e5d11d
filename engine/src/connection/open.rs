//! An open connection: events in, messages and Close frames out, deadlines (RFC 6455 sections 5
//! and 7). The handshake is elsewhere.

use std::time::Duration;

use super::time::Since;
use super::{Application, CloseInfo, ClosedBy, Connection, Millis, Phase, Services};
use crate::buffer::{HEADROOM_BYTES, Payload, Segment};
use crate::protocol::{
    CONTROL_BYTES_MAX, CloseCode, Encoder, Event, FrameHeader, HEADER_BYTES_MAX, MessageKind,
    Opcode, ProtocolError, Received, Role,
};

/// Payloads from this size on are sent from where they lie; shorter ones are copied behind other
/// frames, because one contiguous send is cheaper than a gather list.
const COPY_BYTES_MAX: usize = 4 * 1024;
/// While this much waits untaken, a Ping is not answered one by one: section 5.5.3 allows
/// answering only the latest, and a peer that does not read is owed nothing more.
const PONG_BACKLOG_BYTES: usize = 16 * 1024;

/// What became of a message that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It waits to be sent, or is on its way.
    Queued,
    /// Too much waited already; the connection is being closed with 1008.
    Dropped,
    /// The connection is closing or not open yet.
    Closing,
}

impl Connection {
    /// Takes bytes from the peer. They are changed in place.
    pub fn handle_receive(
        &mut self,
        bytes: &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) {
        self.last_received = services.now;
        self.pings_missed = 0;
        let mut input = bytes;
        if self.phase == Phase::Handshake {
            self.receive_opening(&mut input, services, application);
        }
        match self.phase {
            Phase::Open | Phase::CloseSent => {
                self.receive_frames(&mut input, services, application)
            }
            Phase::Lingering => self.linger(input.len(), services),
            Phase::Handshake | Phase::Flushing | Phase::Ended => {}
        }
    }

    fn receive_frames(
        &mut self,
        input: &mut &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) {
        let message_bytes_max = services.limits.message_bytes_max;
        while matches!(self.phase, Phase::Open | Phase::CloseSent) {
            match self.decoder.next(input, &mut services.pool, message_bytes_max) {
                Ok(Some(event)) => self.handle_event(event, services, application),
                Ok(None) => break,
                Err(error) => return self.fail(error, services, application),
            }
        }
        self.note_assembly(services.now);
    }

    /// Lends the assembly for a receive straight into it; see the decoder.
    pub fn lend_assembly(&mut self, services: &mut Services) -> Option<(Vec<u8>, usize)> {
        if self.phase == Phase::Open {
            self.decoder.lend_assembly(&mut services.pool)
        } else {
            None
        }
    }

    /// Takes the lent assembly back with `appended` further bytes.
    pub fn handle_direct_receive(
        &mut self,
        assembly: Vec<u8>,
        appended: usize,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        if appended > 0 {
            self.last_received = services.now;
            self.pings_missed = 0;
        }
        match self.decoder.take_back(assembly, appended) {
            Ok(Some(event)) if self.phase == Phase::Open => {
                self.handle_event(event, services, application);
                self.note_assembly(services.now);
            }
            Ok(_) => {}
            Err(error) => self.fail(error, services, application),
        }
    }

    /// Keeps the moment since when the open message is being assembled: it is set once and not
    /// moved by progress, so that trickling bytes does not prolong it.
    fn note_assembly(&mut self, now: Millis) {
        if !self.decoder.is_assembling() {
            self.assembly_since = Since::NEVER;
        } else if self.assembly_since == Since::NEVER {
            self.assembly_since = Since::at(now);
        }
    }

    #[inline]
    fn handle_event(
        &mut self,
        event: Event<'_>,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        match event {
            Event::Message { kind, payload } => {
                self.assembly_since = Since::NEVER;
                self.deliver(kind, payload, services, application);
            }
            Event::Ping(payload) => {
                if self.spend_control_credit(services, application) {
                    self.send_pong(payload.bytes(), services);
                }
            }
            Event::Pong(payload) => {
                if self.spend_control_credit(services, application) {
                    application.pong(self, services, payload.bytes());
                }
            }
            Event::Close { code, reason } => {
                self.handle_close(code, &reason, services, application)
            }
        }
    }

    #[inline]
    fn deliver(
        &mut self,
        kind: MessageKind,
        payload: Received<'_>,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        self.control_credit = services.limits.control_frames_burst as u16;
        let deliver = self.phase == Phase::Open;
        if deliver {
            services.counters.messages_received += 1;
        }
        match payload {
            Received::InPlace(payload) if deliver => {
                application.message(self, services, kind, Payload::InPlace(payload));
            }
            Received::Assembled(mut vector) => {
                if deliver {
                    application.message(self, services, kind, Payload::Assembled(&mut vector));
                }
                services.pool.give(vector);
            }
            // We have sent a Close frame: what still arrives is not processed.
            Received::InPlace(_) => {}
        }
    }

    /// A token bucket that data refills: control frames beside data cost nothing, alone they are
    /// held to a rate.
    fn spend_control_credit(
        &mut self,
        services: &mut Services,
        application: &mut impl Application,
    ) -> bool {
        let limits = &services.limits;
        let rate = limits.control_frames_per_second;
        let earned = services.now.since(self.control_refilled) / (1000 / rate.min(1000));
        if earned > 0 {
            let burst = limits.control_frames_burst;
            self.control_credit =
                (u32::from(self.control_credit).saturating_add(earned)).min(burst) as u16;
            self.control_refilled = services.now;
        }
        if let Some(left) = self.control_credit.checked_sub(1) {
            self.control_credit = left;
            return true;
        }
        self.fail(ProtocolError::ControlFlood, services, application);
        false
    }

    fn send_pong(&mut self, payload: &[u8], services: &mut Services) {
        if self.phase != Phase::Open {
            return;
        }
        if self.queue.tail_bytes() < PONG_BACKLOG_BYTES {
            self.queue_frame(Opcode::Pong, payload, services);
        } else {
            self.owed_pong = Some(Box::new(payload.to_vec()));
        }
    }

    /// Answers the latest of the Pings that were not answered one by one.
    pub(super) fn send_owed_pong(&mut self, services: &mut Services) {
        if self.queue.tail_bytes() < PONG_BACKLOG_BYTES
            && let Some(payload) = self.owed_pong.take()
            && self.phase == Phase::Open
        {
            self.queue_frame(Opcode::Pong, &payload, services);
        }
    }

    fn handle_close(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        let info = match self.close_sent {
            Some(sent) => CloseInfo { code: sent, reason, by: ClosedBy::Local },
            None => {
                // Section 5.5.1: the answer repeats the code.
                self.queue_close(code, "", services);
                CloseInfo { code: Self::code_or_none(code), reason, by: ClosedBy::Peer }
            }
        };
        self.enter(Phase::Flushing, services.now);
        self.announce_end(info, services, application);
    }

    /// Queues a message. It never blocks.
    #[inline]
    pub fn send(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        services: &mut Services,
    ) -> SendOutcome {
        if let Some(refused) = self.refuses(services) {
            return refused;
        }
        services.counters.messages_sent += 1;
        self.queue_frame(kind.opcode(), payload, services);
        SendOutcome::Queued
    }

    /// Queues a received message, from where it lies if its vector is ours and it is large.
    #[inline]
    pub fn send_payload(
        &mut self,
        kind: MessageKind,
        payload: Payload<'_>,
        services: &mut Services,
    ) -> SendOutcome {
        let length = payload.bytes().len();
        if self.role == Role::Client || length < COPY_BYTES_MAX {
            return self.send(kind, payload.bytes(), services);
        }
        if let Some(refused) = self.refuses(services) {
            return refused;
        }
        services.counters.messages_sent += 1;
        let opcode = kind.opcode();
        let (header, size) =
            FrameHeader { fin: true, opcode, mask: None, payload_bytes: length as u64 }.encode();
        match payload {
            Payload::Assembled(vector) => {
                let start = HEADROOM_BYTES - size;
                vector[start..HEADROOM_BYTES].copy_from_slice(&header[..size]);
                self.queue.push(Segment::Owned { bytes: std::mem::take(vector), start });
            }
            Payload::InPlace(mut payload) => {
                let run = payload.prepend(&header[..size]);
                match run.and_then(|(address, bytes)| services.share_received(address, bytes)) {
                    Some(segment) => self.queue.push(segment),
                    None => self.queue_frame(opcode, payload.bytes(), services),
                }
            }
        }
        SendOutcome::Queued
    }

    /// Queues bytes that are already framed and that other connections share.
    pub fn send_shared(&mut self, frames: bytes::Bytes, services: &mut Services) -> SendOutcome {
        if let Some(refused) = self.refuses(services) {
            return refused;
        }
        self.queue.push(Segment::Shared(frames));
        SendOutcome::Queued
    }

    /// Queues a Ping with at most 125 bytes of payload.
    pub fn send_ping(&mut self, payload: &[u8], services: &mut Services) -> SendOutcome {
        if self.phase != Phase::Open {
            return SendOutcome::Closing;
        }
        self.queue_frame(Opcode::Ping, &payload[..payload.len().min(125)], services);
        SendOutcome::Queued
    }

    /// Whether a message cannot be queued: not open, or too much waits already, in which case the
    /// connection ends at the next opportunity.
    #[inline]
    fn refuses(&mut self, services: &mut Services) -> Option<SendOutcome> {
        if self.phase == Phase::Open
            && self.queue.queued_bytes() < services.limits.send_queue_bytes_max
        {
            return None;
        }
        Some(self.refuse(services))
    }

    #[cold]
    fn refuse(&mut self, services: &mut Services) -> SendOutcome {
        if self.phase != Phase::Open {
            return SendOutcome::Closing;
        }
        services.counters.violations += 1;
        let error = ProtocolError::SlowConsumer;
        self.close(error.close_code(), error.reason(), services);
        SendOutcome::Dropped
    }

    #[inline]
    fn queue_frame(&mut self, opcode: Opcode, payload: &[u8], services: &mut Services) {
        let encoder = Encoder::new(self.role);
        let masks = &mut services.masks;
        self.queue.append(&mut services.pool, payload.len() + HEADER_BYTES_MAX, |out| {
            encoder.frame(out, opcode, true, payload, &mut || masks.next_mask());
        });
    }

    fn queue_close(&mut self, code: Option<CloseCode>, reason: &str, services: &mut Services) {
        let encoder = Encoder::new(self.role);
        let masks = &mut services.masks;
        self.queue.append(&mut services.pool, CONTROL_BYTES_MAX, |out| {
            encoder.close(out, code, reason, &mut || masks.next_mask());
        });
    }

    /// Starts the closing handshake (section 7.1.2). A code that must not be sent becomes 1000.
    pub fn close(&mut self, code: CloseCode, reason: &str, services: &mut Services) {
        if self.phase != Phase::Open {
            return;
        }
        let code = if code.may_be_sent() { code } else { CloseCode::NORMAL };
        self.close_sent = Some(code);
        self.queue_close(Some(code), reason, services);
        self.enter(Phase::CloseSent, services.now);
    }

    /// Fails the connection for a violation (section 7.1.7).
    pub fn fail(
        &mut self,
        error: ProtocolError,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        services.counters.violations += 1;
        self.end_with(error.close_code(), error.reason(), services, application);
    }

    /// Fails the connection because our side cannot go on: 1011, or 500 before it is open.
    pub fn fail_internally(&mut self, services: &mut Services, application: &mut impl Application) {
        if self.phase == Phase::Handshake && self.role == Role::Server {
            return self.reject_internally(services);
        }
        self.end_with(CloseCode::INTERNAL_ERROR, "internal error", services, application);
    }

    fn end_with(
        &mut self,
        code: CloseCode,
        reason: &str,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        if self.phase == Phase::Open {
            self.queue_close(Some(code), reason, services);
        }
        self.decoder.release(&mut services.pool);
        self.enter(Phase::Lingering, services.now);
        let info = CloseInfo { code, reason, by: ClosedBy::Local };
        self.announce_end(info, services, application);
    }

    fn announce_end(
        &mut self,
        info: CloseInfo<'_>,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        self.assembly_since = Since::NEVER;
        if std::mem::take(&mut self.announced) {
            services.counters.closed += 1;
            application.closed(self, services, info);
        }
    }

    /// An outbound connection could not be made.
    pub fn handle_connect_error(
        &mut self,
        reason: &str,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        self.queue.clear(&mut services.pool);
        self.fail_connect(reason, services, application);
    }

    /// The peer will send nothing more (`reset` false), or the transport is gone (`reset` true).
    pub fn handle_end(
        &mut self,
        reset: bool,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        let by = if self.close_sent.is_some() { ClosedBy::Local } else { ClosedBy::Transport };
        let was = self.phase;
        if reset {
            self.abandon(services);
        } else if was != Phase::Ended {
            // What is queued may still reach a peer that only shut its sending direction.
            self.enter(Phase::Flushing, services.now);
        }
        if was == Phase::Handshake && self.role == Role::Client {
            services.counters.rejected += 1;
            application.connect_failed("the server closed the connection during the handshake");
        }
        let info = CloseInfo { code: CloseCode::ABNORMAL, reason: "", by };
        self.announce_end(info, services, application);
    }

    /// Ends at once: what waits is dropped.
    fn abandon(&mut self, services: &mut Services) {
        self.queue.clear(&mut services.pool);
        self.decoder.release(&mut services.pool);
        self.enter(Phase::Ended, services.now);
    }

    fn linger(&mut self, bytes: usize, services: &mut Services) {
        self.lingered_bytes = self.lingered_bytes.saturating_add(bytes as u32);
        if self.lingered_bytes as usize > services.limits.linger_bytes_max && !self.has_waiting() {
            self.abandon(services);
        }
    }

    /// The earliest moment at which [`handle_deadline`](Self::handle_deadline) has work to do.
    #[must_use]
    pub fn next_deadline(&self, services: &Services) -> Millis {
        let limits = &services.limits;
        let mut next = match self.phase {
            Phase::Handshake => self.phase_since.after(limits.handshake_timeout),
            Phase::Open => {
                let silence = limits.ping_interval * (u32::from(self.pings_missed) + 1);
                self.last_received.after(silence)
            }
            Phase::CloseSent | Phase::Flushing => self.phase_since.after(limits.close_timeout),
            Phase::Lingering => self.phase_since.after(limits.linger_timeout),
            Phase::Ended => self.phase_since.after(Duration::from_millis(1)),
        };
        if self.phase == Phase::Open {
            if let Some(since) = self.assembly_since.get() {
                next = next.earlier(since.after(limits.assembly_timeout));
            }
            if let Some(since) = self.stalled_since.get() {
                next = next.earlier(since.after(limits.write_stall_timeout));
            }
        }
        next
    }

    /// Acts on whichever deadline has passed.
    pub fn handle_deadline(&mut self, services: &mut Services, application: &mut impl Application) {
        if !services.now.reached(self.next_deadline(services)) {
            return;
        }
        match self.phase {
            Phase::Handshake => self.opening_timed_out(services, application),
            Phase::Open => self.open_deadline(services, application),
            Phase::CloseSent => {
                services.counters.timeouts += 1;
                self.handle_end(true, services, application);
            }
            Phase::Flushing | Phase::Lingering | Phase::Ended => self.abandon(services),
        }
    }

    fn open_deadline(&mut self, services: &mut Services, application: &mut impl Application) {
        let now = services.now;
        let limits = &services.limits;
        let past = |since: Since, span: Duration| {
            since.get().is_some_and(|since| now.reached(since.after(span)))
        };
        if past(self.stalled_since, limits.write_stall_timeout)
            || u32::from(self.pings_missed) >= limits.ping_misses_max
        {
            services.counters.timeouts += 1;
            self.handle_end(true, services, application);
        } else if past(self.assembly_since, limits.assembly_timeout) {
            services.counters.timeouts += 1;
            self.fail(ProtocolError::AssemblyTimeout, services, application);
        } else {
            self.pings_missed += 1;
            self.queue_frame(Opcode::Ping, b"", services);
        }
    }
}
