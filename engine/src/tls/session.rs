//! One connection's TLS from its first byte to its last. It decides what is sent when, keeps what
//! arrived in part, and holds no content: that goes on to the connection at once.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ServerConfig};

use super::handshake::{Handshake, Progress, Sinks};
use super::records::HEADER_BYTES;
use super::traffic::{Ending, Opened, Traffic};
use super::{Failure, FailureReason, TlsError, TlsFacts};
use crate::buffer::{Batch, Pool, Segment};

/// Bytes of a handshake that may wait for their rest.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

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
        /// Content that came with its last bytes.
        content: Vec<u8>,
        /// Records behind that.
        records: Vec<u8>,
        /// Whether the peer has said close_notify already.
        closed: bool,
    },
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
    /// Bytes of content in the batch under way.
    in_flight_bytes: usize,
    is_closing: bool,
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
        Self { stage, incoming, outgoing, in_flight_bytes: 0, is_closing: false, is_put_off: false }
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
    pub(super) fn wear_out(&mut self, left: u64) {
        if let Stage::Traffic(traffic) = &mut self.stage {
            traffic.wear_out(left);
        }
    }

    /// Keeps bytes of the handshake without looking at them.
    ///
    /// # Errors
    /// When there were more than any handshake has before them. These themselves may be more: they
    /// may end the handshake, with a client's first messages right behind.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.incoming.len() > HANDSHAKE_BYTES_MAX && !self.is_put_off {
            self.stage = Stage::Failed;
            return Err(Failure::malformed("a handshake longer than 64 KiB"));
        }
        self.incoming.extend_from_slice(bytes);
        Ok(())
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
        let (mut content, mut closed) = (Vec::new(), false);
        let outgoing = &mut self.outgoing;
        let mut sinks = Sinks { outgoing, early: &mut content, closed: &mut closed };
        match handshake.advance(&mut self.incoming, &mut sinks) {
            Ok(Progress::Blocked) => return Step::Pending,
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
        let records = std::mem::take(&mut self.incoming);
        Step::Established { content, records, closed }
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
        let Stage::Traffic(traffic) = &mut self.stage else {
            return Opened { content: 0..0, consumed: bytes.len(), ending: None };
        };
        match traffic.open(bytes) {
            Ok(opened) => opened,
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
        owes || !self.outgoing.is_empty()
    }

    /// What is to be sent for `batch`; with `finish`, close_notify behind it.
    pub(crate) fn seal(
        &mut self,
        batch: Option<Batch>,
        finish: bool,
        pool: &mut Pool,
    ) -> Option<Batch> {
        let mut sealed = Vec::new();
        let outcome = self.seal_all(batch.as_ref(), finish, &mut sealed);
        self.in_flight_bytes = batch.as_ref().map_or(0, Batch::len);
        if let Some(batch) = batch {
            batch.recycle(pool);
        }
        if outcome.is_err() {
            // The peer would see a gap: nothing more can be sent.
            self.stage = Stage::Failed;
        }
        match sealed.len() {
            0 => None,
            1 => sealed.pop().map(Batch::One),
            _ => Some(Batch::Many(sealed)),
        }
    }

    fn seal_all(
        &mut self,
        batch: Option<&Batch>,
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
        if let Some(batch) = batch {
            traffic.seal(batch, sealed)?;
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
