//! One connection's TLS from its first byte to its last. It decides what is sent when and keeps what
//! arrived in part. Content that arrives goes on to the connection at once; content to be sent is
//! kept only while a part of it is on its way.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ServerConfig};

use super::handshake::{Handshake, Progress};
use super::records::HEADER_BYTES;
use super::traffic::{Ending, Opened, Traffic};
use super::unsealed::Unsealed;
use super::{Failure, FailureReason, TlsError, TlsFacts};
use crate::buffer::{Batch, Pool, Segment};

/// Bytes of a handshake that may wait for their rest.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// The same while its next step is put off: what a driver may have received before it knows that.
const PUT_OFF_BYTES_MAX: usize = 1024 * 1024;
/// Content sealed for one send, some 100 microseconds' work: the rest follows when that has left, so
/// that nobody waits for one peer's large message, and no more than this is there twice.
const SEALED_BYTES_MAX: usize = 256 * 1024;

/// Where a session is in its life.
enum Stage {
    /// Nothing has been received.
    Expecting(Arc<ServerConfig>),
    Handshake(Handshake),
    Traffic(Box<Traffic>),
    /// It has failed; at most an alert is still to be sent.
    Failed,
}

/// How far received bytes brought a handshake.
#[derive(Debug)]
pub(crate) enum Step {
    /// It goes on.
    Pending,
    /// It is complete.
    Established {
        /// Records that came behind it.
        records: Vec<u8>,
    },
    /// The peer has said close_notify instead of going on.
    Closed,
    /// It failed; the alert is ready to be sent.
    Failed(Failure),
}

/// The TLS of one connection.
pub(crate) struct Session {
    stage: Stage,
    /// What arrived of a flight or of a record that is not whole.
    incoming: Vec<u8>,
    /// Records that go before everything else.
    outgoing: Vec<u8>,
    /// Content of which a part has been sealed.
    unsealed: Option<Box<Unsealed>>,
    /// Bytes of content in the batch under way.
    in_flight_bytes: usize,
    is_closing: bool,
    /// The peer has said close_notify: what follows is not looked at.
    is_peer_closed: bool,
    is_put_off: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Expecting(_) => "expecting",
            Stage::Handshake(_) => "handshake",
            Stage::Traffic(_) => "traffic",
            Stage::Failed => "failed",
        };
        formatter.debug_struct("Session").field("stage", &stage).finish_non_exhaustive()
    }
}

impl Session {
    fn new(stage: Stage) -> Self {
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        Self {
            stage,
            incoming,
            outgoing,
            unsealed: None,
            in_flight_bytes: 0,
            is_closing: false,
            is_peer_closed: false,
            is_put_off: false,
        }
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Self {
        Self::new(Stage::Expecting(config))
    }

    /// A session that begins with our hello, which is ready to be sent.
    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, TlsError> {
        let mut session = Self::new(Stage::Handshake(Handshake::client(config, name)?));
        match session.advance() {
            Step::Failed(failure) => Err(TlsError::refused(failure)),
            _ => Ok(session),
        }
    }

    /// Whether the handshake is not complete.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self.stage, Stage::Expecting(_) | Stage::Handshake(_))
    }

    /// What the handshake agreed on, once it is complete.
    pub(crate) fn facts(&self) -> Option<&TlsFacts> {
        match &self.stage {
            Stage::Traffic(traffic) => Some(&traffic.facts),
            _ => None,
        }
    }

    /// Whether the connection should end, because its keys are nearly used up.
    pub(crate) fn is_worn_out(&self) -> bool {
        matches!(&self.stage, Stage::Traffic(traffic) if traffic.is_worn_out())
    }

    /// Whether a record has arrived in part.
    pub(crate) fn is_record_cut(&self) -> bool {
        !self.incoming.is_empty()
    }

    #[cfg(test)]
    pub(super) fn traffic(&mut self) -> &mut Traffic {
        match &mut self.stage {
            Stage::Traffic(traffic) => traffic,
            _ => panic!("an established session"),
        }
    }

    /// The part of the budget that content takes of which a part has been sealed.
    #[cfg(test)]
    pub(crate) fn counted_bytes(&self) -> usize {
        self.unsealed.as_ref().map_or(0, |unsealed| unsealed.counted_bytes())
    }

    /// Keeps bytes of the handshake without looking at them.
    ///
    /// # Errors
    /// When there were more than any handshake has before them. These themselves may be more: they
    /// may end the handshake, with a client's first messages right behind.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let most = if self.is_put_off { PUT_OFF_BYTES_MAX } else { HANDSHAKE_BYTES_MAX };
        if self.incoming.len() > most {
            self.stage = Stage::Failed;
            return Err(Failure::malformed("a handshake longer than 64 KiB"));
        }
        self.incoming.extend_from_slice(bytes);
        Ok(())
    }

    /// Memory of what has arrived in part and of what TLS itself has to say.
    pub(crate) fn held_bytes(&self) -> usize {
        let message = match &self.stage {
            Stage::Traffic(traffic) => traffic.held_bytes(),
            _ => 0,
        };
        self.incoming.capacity() + self.outgoing.capacity() + message
    }

    /// Forgets what arrived in part and what was not sealed; how much content that was.
    pub(crate) fn release(&mut self, pool: &mut Pool) -> usize {
        pool.give(std::mem::take(&mut self.incoming));
        self.outgoing = Vec::new();
        if let Stage::Traffic(traffic) = &mut self.stage {
            traffic.forget_message();
        }
        let Some(unsealed) = self.unsealed.take() else { return 0 };
        let bytes = unsealed.left_bytes();
        unsealed.recycle(pool);
        bytes
    }

    /// Whether the next step of the handshake is made later, and nothing is to be received before.
    pub(crate) fn is_put_off(&self) -> bool {
        self.is_put_off
    }

    /// Notes that the next step is made later; whether that is news.
    pub(crate) fn put_off(&mut self) -> bool {
        !std::mem::replace(&mut self.is_put_off, true)
    }

    /// Goes on with the handshake with what was kept.
    pub(crate) fn advance(&mut self) -> Step {
        self.is_put_off = false;
        if let Stage::Expecting(config) = &self.stage {
            // A record begins with 22, an HTTP method with a capital letter.
            if self.incoming.first().is_some_and(u8::is_ascii_uppercase) {
                self.stage = Stage::Failed;
                let detail = "plain HTTP on a port for TLS";
                return Step::Failed(Failure::new(FailureReason::PlainHttp, detail));
            }
            match Handshake::server(Arc::clone(config)) {
                Ok(handshake) => self.stage = Stage::Handshake(handshake),
                Err(failure) => return self.failed(failure),
            }
        }
        let Stage::Handshake(handshake) = &mut self.stage else { return Step::Pending };
        match handshake.advance(&mut self.incoming, &mut self.outgoing) {
            Ok(Progress::Blocked) => return Step::Pending,
            Ok(Progress::Closed) => {
                self.stage = Stage::Failed;
                self.incoming = Vec::new();
                return Step::Closed;
            }
            Ok(Progress::Done) => {}
            Err(failure) => return self.failed(failure),
        }
        let Stage::Handshake(handshake) = std::mem::replace(&mut self.stage, Stage::Failed) else {
            return Step::Pending;
        };
        match handshake.into_traffic() {
            Ok(traffic) => self.stage = Stage::Traffic(Box::new(traffic)),
            Err(failure) => return self.failed(failure),
        }
        self.outgoing.shrink_to_fit();
        Step::Established { records: std::mem::take(&mut self.incoming) }
    }

    fn failed(&mut self, failure: Failure) -> Step {
        self.stage = Stage::Failed;
        self.incoming = Vec::new();
        Step::Failed(failure)
    }

    /// Adds to a record that arrived in part; the record, once it is whole (or turns out to be none,
    /// which [`open`](Self::open) then says). What is not needed for it stays in `input`.
    pub(crate) fn complete_record(
        &mut self,
        input: &mut &mut [u8],
        pool: &mut Pool,
    ) -> Option<Vec<u8>> {
        let Stage::Traffic(traffic) = &self.stage else { return None };
        while !self.incoming.is_empty() {
            let wanted = match traffic.record_bytes(&self.incoming) {
                Ok(Some(wanted)) if wanted > self.incoming.len() => wanted,
                Ok(None) => HEADER_BYTES,
                Ok(Some(_)) | Err(_) => return Some(std::mem::take(&mut self.incoming)),
            };
            if input.is_empty() {
                return None;
            }
            let bytes = (wanted - self.incoming.len()).min(input.len());
            if self.incoming.capacity() < self.incoming.len() + bytes {
                let mut larger = pool.take(self.incoming.len() + bytes);
                larger.extend_from_slice(&self.incoming);
                pool.give(std::mem::replace(&mut self.incoming, larger));
            }
            let (front, rest) = std::mem::take(input).split_at_mut(bytes);
            self.incoming.extend_from_slice(front);
            *input = rest;
        }
        None
    }

    /// Opens the whole records of `bytes` in place.
    pub(crate) fn open(&mut self, bytes: &mut [u8]) -> Opened {
        let Stage::Traffic(traffic) = &mut self.stage else { return Opened::nothing(bytes) };
        if self.is_peer_closed {
            return Opened::nothing(bytes);
        }
        match traffic.open(bytes) {
            Ok(opened) => {
                self.is_peer_closed = opened.ending.is_some();
                opened
            }
            Err((mut opened, (alert, failure))) => {
                // When even that cannot be sealed, the peer gets none.
                let _ = traffic.seal_alert(alert, &mut self.outgoing);
                self.stage = Stage::Failed;
                opened.ending = Some(Ending::Failed(failure));
                opened
            }
        }
    }

    /// Keeps the beginning of a record.
    pub(crate) fn keep_record(&mut self, bytes: &[u8], pool: &mut Pool) {
        if !bytes.is_empty() {
            self.incoming = pool.take(bytes.len());
            self.incoming.extend_from_slice(bytes);
        }
    }

    /// Whether content can be sent.
    pub(crate) fn can_send(&self) -> bool {
        matches!(self.stage, Stage::Traffic(_))
    }

    /// Whether there is something of TLS itself to send; with `finish` that includes close_notify.
    pub(crate) fn has_waiting(&self, finish: bool) -> bool {
        let owes = match &self.stage {
            Stage::Traffic(traffic) => traffic.owes_record() || (finish && !self.is_closing),
            _ => false,
        };
        owes || self.unsealed.is_some() || !self.outgoing.is_empty()
    }

    /// Whether content is left of the batch sealed last.
    pub(crate) fn has_unsealed(&self) -> bool {
        self.unsealed.is_some()
    }

    /// What is to be sent next: what is left of the batch before, or else the front of `batch`; with
    /// `finish`, close_notify behind its end.
    pub(crate) fn seal(
        &mut self,
        batch: Option<Batch>,
        finish: bool,
        pool: &mut Pool,
    ) -> Option<Batch> {
        debug_assert!(batch.is_none() || self.unsealed.is_none(), "one batch after the other");
        let rest = self.unsealed.take().map(|rest| *rest);
        let mut unsealed = rest.or_else(|| batch.map(Unsealed::new));
        let before = unsealed.as_ref().map_or(0, Unsealed::left_bytes);
        let mut sealed = Vec::new();
        if self.seal_all(unsealed.as_mut(), finish, &mut sealed).is_err() {
            // The peer would see a gap: nothing more can be sent.
            self.stage = Stage::Failed;
        }
        let mut after = unsealed.as_ref().map_or(0, Unsealed::left_bytes);
        match unsealed {
            Some(rest) if after > 0 && self.can_send() => self.unsealed = Some(Box::new(rest)),
            Some(rest) => {
                rest.recycle(pool);
                after = 0;
            }
            None => {}
        }
        self.in_flight_bytes = before - after;
        sealed.iter().for_each(|segment| pool.budget.hold(segment.counted_bytes()));
        match sealed.len() {
            0 => None,
            1 => sealed.pop().map(Batch::One),
            _ => Some(Batch::Many(sealed)),
        }
    }

    fn seal_all(
        &mut self,
        unsealed: Option<&mut Unsealed>,
        finish: bool,
        sealed: &mut Vec<Segment>,
    ) -> Result<(), Failure> {
        if !self.outgoing.is_empty() {
            sealed.push(Segment::Sealed(std::mem::take(&mut self.outgoing)));
        }
        let Stage::Traffic(traffic) = &mut self.stage else { return Ok(()) };
        if traffic.owes_record() {
            let mut owed = Vec::new();
            traffic.seal_owed(&mut owed)?;
            sealed.push(Segment::Sealed(owed));
        }
        if let Some(unsealed) = unsealed {
            traffic.seal(unsealed, SEALED_BYTES_MAX, sealed)?;
            if !unsealed.is_done() {
                return Ok(());
            }
        }
        if finish && !std::mem::replace(&mut self.is_closing, true) {
            let mut farewell = Vec::new();
            traffic.seal_alert(AlertDescription::CloseNotify, &mut farewell)?;
            match sealed.last_mut() {
                Some(Segment::Sealed(last)) => last.extend_from_slice(&farewell),
                _ => sealed.push(Segment::Sealed(farewell)),
            }
        }
        Ok(())
    }

    /// Bytes of content that the batch now sent held.
    pub(crate) fn take_in_flight_bytes(&mut self) -> usize {
        std::mem::take(&mut self.in_flight_bytes)
    }
}
