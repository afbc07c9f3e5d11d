//! The TLS between a connection and its wire: received records become content, queued content
//! becomes records, failures become alerts and an end. It knows no cipher and no handshake message.

use super::time::Since;
use super::{Application, CloseInfo, ClosedBy, Connection, Phase, Services};
use crate::buffer::Batch;
use crate::protocol::handshake::{Rejection, Status};
use crate::protocol::{CloseCode, Role};
use crate::tls::{Ending, Failure, FailureReason, Session, Step};

impl Connection {
    /// Takes bytes from the wire.
    pub(super) fn receive_secured(
        &mut self,
        bytes: &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) {
        self.receive_wire(bytes, services, application);
        self.note_secured(services);
    }

    fn receive_wire(
        &mut self,
        bytes: &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) {
        // What the receive buffer holds is nothing that could be sent from it again.
        services.received = None;
        if !self.takes_content() {
            if self.phase == Phase::Lingering {
                self.linger(bytes.len(), services);
            }
            return;
        }
        if !self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
            return self.receive_records(bytes, services, application);
        }
        // What a trusted proxy says comes before TLS.
        let mut input = bytes;
        if !self.pass_preface(&mut input, services, application) {
            return;
        }
        let Some(tls) = &mut self.tls else { return };
        if let Err(failure) = tls.keep(input) {
            return self.fail_tls(&failure, services, application);
        }
        self.step_handshake(services, application);
    }

    /// Counts what TLS holds, where there is news of it.
    #[inline]
    fn note_secured(&mut self, services: &mut Services) {
        let holds = self.tls.as_ref().is_some_and(|tls| tls.held_bytes() > 0);
        if holds || self.received_kib > 0 || self.opening.is_some() {
            self.note_held(services);
        }
    }

    /// Goes on with a TLS handshake of which a step was put off.
    pub fn resume_handshake(
        &mut self,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        self.step_handshake(services, application);
        self.note_secured(services);
    }

    /// Makes a step of the TLS handshake, unless this turn has made enough of them already.
    fn step_handshake(&mut self, services: &mut Services, application: &mut impl Application) {
        let Some(tls) = &mut self.tls else { return };
        if !tls.is_handshaking() || self.phase != Phase::Handshake {
            return;
        }
        let Some(left) = services.handshakes_left.checked_sub(1) else {
            if tls.put_off() {
                services.counters.tls_handshakes_put_off += 1;
                services.handshake_put_off = true;
            }
            return;
        };
        services.handshakes_left = left;
        match tls.advance() {
            Step::Pending => {}
            Step::Established { mut records } => {
                let resumed = tls.facts().is_some_and(|facts| facts.is_resumed);
                services.counters.tls_established += 1;
                services.counters.tls_resumed += u64::from(resumed);
                self.receive_records(&mut records, services, application);
            }
            Step::Closed => self.end_secured(Ending::Closed, services, application),
            Step::Failed(failure) => self.fail_tls(&failure, services, application),
        }
    }

    fn takes_content(&self) -> bool {
        matches!(self.phase, Phase::Handshake | Phase::Open | Phase::CloseSent)
    }

    fn receive_records(
        &mut self,
        mut bytes: &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) {
        while let Some(tls) = &mut self.tls
            && let Some(mut record) = tls.complete_record(&mut bytes, &mut services.pool)
        {
            self.open_records(&mut record, services, application);
            services.pool.give(record);
        }
        let consumed = self.open_records(bytes, services, application);
        if let Some(tls) = &mut self.tls
            && !matches!(self.phase, Phase::Flushing | Phase::Lingering | Phase::Ended)
        {
            tls.keep_record(&bytes[consumed..], &mut services.pool);
            if tls.is_record_cut() && self.assembly_since == Since::NEVER {
                self.assembly_since = Since::at(services.now);
            }
        }
    }

    /// Takes the content of all whole records; how many bytes they were.
    fn open_records(
        &mut self,
        bytes: &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) -> usize {
        if bytes.is_empty() || !self.takes_content() {
            return bytes.len();
        }
        let Some(tls) = &mut self.tls else { return bytes.len() };
        let opened = tls.open(bytes);
        if !opened.content.is_empty() {
            self.receive_content(&mut bytes[opened.content], services, application);
        }
        if let Some(ending) = opened.ending {
            self.end_secured(ending, services, application);
            return bytes.len();
        }
        opened.consumed
    }

    fn end_secured(
        &mut self,
        ending: Ending,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        if !self.takes_content() {
            return;
        }
        match ending {
            // As much an end as the transport's own, which need not follow.
            Ending::Closed => self.handle_end(false, services, application),
            Ending::Failed(failure) => self.fail_tls(&failure, services, application),
        }
    }

    /// Ends the connection because TLS cannot go on. The alert leaves, nothing else does.
    fn fail_tls(
        &mut self,
        failure: &Failure,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        let counters = &mut services.counters;
        *match failure.reason {
            FailureReason::PlainHttp => &mut counters.tls_plain_http,
            FailureReason::NothingInCommon => &mut counters.tls_nothing_in_common,
            FailureReason::Certificate => &mut counters.tls_certificate_refused,
            FailureReason::PeerAlert => &mut counters.tls_peer_alerts,
            FailureReason::BadRecord => &mut counters.tls_bad_records,
            FailureReason::Malformed => &mut counters.tls_malformed,
        } += 1;
        tracing::debug!(%failure, "a TLS connection failed");
        self.queue.clear(&mut services.pool);
        if failure.reason == FailureReason::PlainHttp {
            self.tls = None;
            let detail = "this port speaks TLS: use wss:// or https://";
            return self.reject(&Rejection::new(Status::BAD_REQUEST, detail), false, services);
        }
        let connecting = self.phase == Phase::Handshake && self.role == Role::Client;
        self.decoder.release(&mut services.pool);
        self.enter(Phase::Lingering, services.now);
        if connecting {
            services.counters.rejected += 1;
            application.connect_failed(&failure.to_string());
        }
        let info =
            CloseInfo { code: CloseCode::ABNORMAL, reason: "TLS failed", by: ClosedBy::Transport };
        self.announce_end(info, services, application);
    }

    /// Whether this is the end of what we send, so that close_notify belongs behind it.
    fn is_finishing(&self) -> bool {
        matches!(self.phase, Phase::Flushing | Phase::Lingering)
    }

    pub(super) fn has_waiting_secured(&self, tls: &Session) -> bool {
        tls.has_waiting(self.is_finishing()) || (tls.can_send() && self.queue.has_waiting())
    }

    pub(super) fn take_sealed(&mut self, services: &mut Services) -> Option<Batch> {
        let finish = self.is_finishing();
        let tls = self.tls.as_mut()?;
        let takes = tls.can_send() && !tls.has_unsealed();
        let batch = if takes { self.queue.take() } else { None };
        if batch.is_none() && !tls.has_waiting(finish) {
            return None;
        }
        // A batch has bounds of its own, and the end is said behind the last of them.
        let finish = finish && !self.queue.has_waiting();
        let sealed = tls.seal(batch, finish, &mut services.pool);
        if sealed.is_none() {
            self.queue.sent(tls.take_in_flight_bytes());
        }
        self.note_secured(services);
        sealed
    }

    /// `bytes` are those of a whole batch as it was on the wire, or none.
    pub(super) fn handle_sealed_transmitted(&mut self, bytes: usize, services: &mut Services) {
        let Some(tls) = &mut self.tls else { return };
        if bytes > 0 {
            self.queue.sent(tls.take_in_flight_bytes());
        }
        if tls.is_worn_out() && self.phase == Phase::Open {
            self.close(CloseCode::GOING_AWAY, "the TLS 1.2 keys are used up", services);
        }
    }
}
