//! An open connection: events in, messages and Close frames out, deadlines (RFC 6455 sections 5
//! and 7). The handshake is elsewhere.

use super::time::Since;
use super::{
    Application, CloseInfo, ClosedBy, Compress, Connection, Holds, Phase, Piece, SendOutcome,
    Services,
};
use crate::buffer::{HEADROOM_BYTES, Payload, Segment};
use crate::protocol::{
    CONTROL_BYTES_MAX, CloseCode, Encoder, Event, FrameHeader, HEADER_BYTES_MAX, MessageKind,
    Opcode, ProtocolError, Received, Role,
};

/// Payloads from this size on are sent from where they lie; shorter ones are copied behind other
/// frames, because one contiguous send is cheaper than a gather list.
pub(super) const COPY_BYTES_MAX: usize = 4 * 1024;

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
        services.counters.bytes_received += bytes.len() as u64;
        if self.tls.is_some() {
            return self.receive_secured(bytes, services, application);
        }
        self.receive_content(bytes, services, application);
    }

    /// Takes what the peer said, whether or not it came through TLS.
    #[inline]
    pub(super) fn receive_content(
        &mut self,
        bytes: &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) {
        if self.holds.any(Holds::ASKED | Holds::STASHED | Holds::METERED) {
            return self.receive_held(bytes, services, application);
        }
        self.receive_bytes(bytes, services, application);
    }

    /// The same while receiving is paused or held to a rate.
    #[cold]
    fn receive_held(
        &mut self,
        bytes: &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) {
        let within = self.spend_bytes(bytes.len(), services);
        let beyond = within < bytes.len();
        let bytes = &mut bytes[..within];
        if self.holds.any(Holds::ASKED | Holds::STASHED) {
            self.stash(bytes, services);
        } else {
            self.receive_bytes(bytes, services, application);
        }
        if beyond && self.phase == Phase::Open {
            self.fail(ProtocolError::ByteRate, services, application);
        }
    }

    #[inline]
    pub(super) fn receive_bytes(
        &mut self,
        bytes: &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) {
        let mut input = bytes;
        if self.phase == Phase::Handshake {
            if self.pass_preface(&mut input, services, application) {
                self.receive_opening(&mut input, services, application);
            }
            if self.opening.is_some() || self.received_kib > 0 {
                self.note_held(services);
            }
        }
        match self.phase {
            Phase::Open | Phase::CloseSent => {
                self.receive_frames(&mut input, services, application);
                if self.holds.any(Holds::ASKED) {
                    self.stash(input, services);
                }
            }
            Phase::Lingering => self.linger(input.len(), services),
            Phase::Handshake | Phase::Flushing | Phase::Ended => {}
        }
    }

    /// Handles frames until the input is used up, the connection ends, or the application pauses,
    /// which leaves the rest in `input`.
    pub(super) fn receive_frames(
        &mut self,
        input: &mut &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) {
        let message_bytes_max = services.limits.message_bytes_max;
        while matches!(self.phase, Phase::Open | Phase::CloseSent) && !self.holds.any(Holds::ASKED)
        {
            match self.decoder.next(input, &mut services.pool, message_bytes_max) {
                Ok(Some(event)) => self.handle_event(event, services, application),
                Ok(None) => break,
                Err(error) => return self.fail(error, services, application),
            }
        }
        self.note_assembly(services);
    }

    /// Lends the assembly for a receive straight into it; see the decoder.
    pub fn lend_assembly(&mut self, services: &mut Services) -> Option<(Vec<u8>, usize)> {
        if self.phase != Phase::Open {
            return None;
        }
        let lent = self.decoder.lend_assembly(&mut services.pool);
        self.note_held(services);
        lent
    }

    /// Takes the lent assembly back with `appended` further bytes.
    pub fn handle_direct_receive(
        &mut self,
        assembly: Vec<u8>,
        appended: usize,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        services.counters.bytes_received += appended as u64;
        if appended > 0 {
            self.last_received = services.now;
            self.pings_missed = 0;
        }
        let (mut assembly, mut appended) = (assembly, appended);
        if self.holds.any(Holds::ASKED) {
            // Paused while it was under way: these bytes are looked at afterwards.
            let later = assembly.split_off(assembly.len() - appended.min(assembly.len()));
            self.stash(&later, services);
            appended = 0;
        }
        let within = self.spend_bytes(appended, services);
        match self.decoder.take_back(assembly, appended) {
            Ok(Some(event)) if self.phase == Phase::Open => {
                self.handle_event(event, services, application);
            }
            Ok(_) => {}
            Err(error) => return self.fail(error, services, application),
        }
        self.note_assembly(services);
        if within < appended && self.phase == Phase::Open {
            self.fail(ProtocolError::ByteRate, services, application);
        }
    }

    /// How many of so many bytes the peer may still send this moment; they are spent.
    fn spend_bytes(&mut self, bytes: usize, services: &Services) -> usize {
        match self.rare.as_mut().and_then(|rare| rare.rates.as_mut()) {
            Some(rates) => rates.spend_bytes(bytes, &services.limits, services.now),
            None => bytes,
        }
    }

    #[cold]
    pub(super) fn spend_message(
        &mut self,
        services: &mut Services,
        application: &mut impl Application,
    ) -> bool {
        let rates = self.rare.as_mut().and_then(|rare| rare.rates.as_mut());
        let within = rates.is_none_or(|rates| rates.spend_message(&services.limits, services.now));
        if !within {
            self.fail(ProtocolError::MessageRate, services, application);
        }
        within
    }

    /// Keeps the moment since when the open message is being assembled: it is set once and not
    /// moved by progress, so that trickling bytes does not prolong it.
    #[inline]
    fn note_assembly(&mut self, services: &mut Services) {
        if !self.decoder.is_assembling() {
            self.assembly_since = Since::NEVER;
            if self.received_kib > 0 {
                self.note_held(services);
            }
            return;
        }
        if self.assembly_since == Since::NEVER {
            self.assembly_since = Since::at(services.now);
        }
        self.note_held(services);
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
                if self.holds.any(Holds::METERED) && !self.spend_message(services, application) {
                    return;
                }
                self.deliver(kind, payload, services, application);
            }
            Event::Chunk { kind, mut payload, is_first, is_last } => {
                let piece = Piece { bytes: payload.bytes_mut(), is_first, is_last };
                self.receive_chunk(kind, piece, services, application);
            }
            Event::Compressed { kind, payload } => {
                self.assembly_since = Since::NEVER;
                if self.holds.any(Holds::METERED) && !self.spend_message(services, application) {
                    return;
                }
                self.receive_compressed(kind, payload, services, application);
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
            Event::EmptyFragment => {
                self.spend_control_credit(services, application);
            }
            Event::Close { code, reason } => {
                self.handle_close(code, &reason, services, application)
            }
        }
    }

    #[inline]
    pub(super) fn deliver(
        &mut self,
        kind: MessageKind,
        payload: Received<'_>,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        self.control_credit = services.limits.control_frames_burst * 1000;
        let deliver = self.phase == Phase::Open;
        if deliver && self.decoder.gives_chunks() {
            return self.deliver_as_chunk(kind, payload, services, application);
        }
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

    /// A token bucket that data refills: control frames and empty fragments beside data cost
    /// nothing, alone they are held to a rate. Whether the peer is within it.
    fn spend_control_credit(
        &mut self,
        services: &mut Services,
        application: &mut impl Application,
    ) -> bool {
        let limits = &services.limits;
        // So many frames a second are as many thousandths of one a millisecond.
        let passed = services.now.since(self.control_refilled);
        let earned = passed.saturating_mul(limits.control_frames_per_second);
        let most = limits.control_frames_burst * 1000;
        self.control_credit = self.control_credit.saturating_add(earned).min(most);
        self.control_refilled = services.now;
        if let Some(left) = self.control_credit.checked_sub(1000) {
            self.control_credit = left;
            return true;
        }
        self.fail(ProtocolError::ControlFlood, services, application);
        false
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
        compress: Compress,
        services: &mut Services,
    ) -> SendOutcome {
        if !self.takes_messages(services) {
            return self.send_specially(kind, payload, services);
        }
        services.counters.messages_sent += 1;
        if self.agreement.is_none() || !self.queue_compressed(compress, kind, payload, services) {
            self.queue_frame(kind.opcode(), true, payload, services);
        }
        SendOutcome::Queued
    }

    /// Queues a received message, from where it lies if its vector is ours and it is large.
    #[inline]
    pub fn send_payload(
        &mut self,
        kind: MessageKind,
        payload: Payload<'_>,
        compress: Compress,
        services: &mut Services,
    ) -> SendOutcome {
        let length = payload.bytes().len();
        if self.role == Role::Client || length < COPY_BYTES_MAX {
            return self.send(kind, payload.bytes(), compress, services);
        }
        if !self.takes_messages(services) {
            return self.send_specially(kind, payload.bytes(), services);
        }
        services.counters.messages_sent += 1;
        if self.agreement.is_some()
            && self.queue_compressed(compress, kind, payload.bytes(), services)
        {
            return SendOutcome::Queued;
        }
        let (opcode, payload_bytes) = (kind.opcode(), length as u64);
        let (header, size) =
            FrameHeader { fin: true, compressed: false, opcode, mask: None, payload_bytes }
                .encode();
        match payload {
            Payload::Assembled(vector) => {
                let start = HEADROOM_BYTES - size;
                vector[start..HEADROOM_BYTES].copy_from_slice(&header[..size]);
                let segment = Segment::Owned { bytes: std::mem::take(vector), start };
                self.queue.push(segment, &mut services.pool);
            }
            Payload::InPlace(mut payload) => {
                let run = payload.prepend(&header[..size]);
                match run.and_then(|(address, bytes)| services.share_received(address, bytes)) {
                    Some(segment) => self.queue.push(segment, &mut services.pool),
                    None => self.queue_frame(opcode, true, payload.bytes(), services),
                }
            }
        }
        SendOutcome::Queued
    }

    /// Whether a message can simply be queued; what is unusual is handled elsewhere.
    #[inline]
    pub(super) fn takes_messages(&self, services: &Services) -> bool {
        self.phase == Phase::Open
            && !self.holds.any(Holds::SPECIAL)
            && self.queue.queued_bytes() < services.limits.send_queue_bytes_max
            && !services.pool.budget.is_exhausted()
    }

    pub(super) fn encoder(&self) -> Encoder {
        Encoder::new(self.role)
    }

    #[inline]
    pub(super) fn queue_frame(
        &mut self,
        opcode: Opcode,
        fin: bool,
        payload: &[u8],
        services: &mut Services,
    ) {
        let encoder = self.encoder();
        let masks = &mut services.masks;
        self.queue.append(&mut services.pool, payload.len() + HEADER_BYTES_MAX, |out| {
            encoder.frame(out, opcode, fin, payload, &mut || masks.next_mask());
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
        self.abandon_chunks(services);
        // The peer's answer must be received.
        self.resume_receiving(services);
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
        count_violation(error, services);
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
            self.abandon_chunks(services);
            self.drop_backlog(services);
            self.queue_close(Some(code), reason, services);
        }
        self.forget_received(services);
        self.enter(Phase::Lingering, services.now);
        let info = CloseInfo { code, reason, by: ClosedBy::Local };
        self.announce_end(info, services, application);
    }

    pub(super) fn announce_end(
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
        self.release_contexts(services);
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
        if !reset && self.puts_off_end() {
            return;
        }
        let by = if self.close_sent.is_some() { ClosedBy::Local } else { ClosedBy::Transport };
        let was = self.phase;
        if reset {
            let stood_still = was != Phase::Ended && self.wants_send_checked();
            services.counters.timeouts_write += u64::from(stood_still);
            self.holds.set(Holds::CHECKED, false);
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

    /// Ends without a Close frame, for a reason of ours.
    pub(super) fn end_abruptly(
        &mut self,
        reason: &str,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        self.abandon(services);
        let info = CloseInfo { code: CloseCode::ABNORMAL, reason, by: ClosedBy::Local };
        self.announce_end(info, services, application);
    }

    /// Ends at once: what waits is dropped.
    pub(super) fn abandon(&mut self, services: &mut Services) {
        self.abandon_chunks(services);
        self.queue.clear(&mut services.pool);
        if let Some(tls) = &mut self.tls {
            self.queue.sent(tls.release(&mut services.pool));
        }
        self.forget_received(services);
        self.enter(Phase::Ended, services.now);
    }

    /// Ends a connection that is owed no answer.
    pub(super) fn refuse_silently(&mut self, services: &mut Services) {
        services.counters.rejected += 1;
        self.abandon(services);
    }

    pub(super) fn linger(&mut self, bytes: usize, services: &mut Services) {
        self.lingered_bytes = self.lingered_bytes.saturating_add(bytes as u32);
        if self.lingered_bytes as usize > services.limits.linger_bytes_max && !self.has_waiting() {
            self.abandon(services);
        }
    }
}

/// Counts a peer's violation by its reason.
fn count_violation(error: ProtocolError, services: &mut Services) {
    let counters = &mut services.counters;
    *match (error, error.close_code()) {
        (ProtocolError::AssemblyTimeout, _) => &mut counters.violations_assembly_time,
        (ProtocolError::ControlFlood, _) => &mut counters.violations_control_rate,
        (ProtocolError::SlowConsumer, _) => &mut counters.slow_consumers,
        (ProtocolError::CorruptCompression, _) => &mut counters.violations_compression,
        (ProtocolError::MessageRate, _) => &mut counters.violations_message_rate,
        (ProtocolError::ByteRate, _) => &mut counters.violations_byte_rate,
        (_, CloseCode::INVALID_PAYLOAD) => &mut counters.violations_utf8,
        (_, CloseCode::MESSAGE_TOO_BIG) => &mut counters.violations_message_size,
        _ => &mut counters.violations_protocol,
    } += 1;
}
