//! A session after its handshake: records in, content out; content in, records out; and what TLS
//! itself says in between: alerts, key updates, tickets. It keeps no byte that was not sent.

use std::ops::Range;

use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::OutboundChunks;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ContentType, ExtractedSecrets, SupportedCipherSuite};

use super::records::{Alerted, Opener, PLAINTEXT_BYTES_MAX, Sealer, Secrets, record_bytes};
use super::{Failure, TlsFacts};
use crate::buffer::{Batch, Segment};

/// Records in a row that may bring no content: tickets, key updates, empty ones.
const FRUITLESS_RECORDS_MAX: u8 = 32;
/// With TLS 1.2 keys cannot be renewed: the connection should end while this many are left.
const LAST_RECORDS: u64 = 1 << 16;

/// Handshake messages after the handshake (RFC 8446 section 4).
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// How the peer's stream ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// With close_notify.
    Closed,
    /// With a failure; the alert is ready to be sent.
    Failed(Failure),
}

/// What was found in received bytes.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Where the content of all records lies now, as one run.
    pub(crate) content: Range<usize>,
    /// Bytes of whole records.
    pub(crate) consumed: usize,
    /// The end of the stream, behind the content.
    pub(crate) ending: Option<Ending>,
}

/// What rustls keeps of a session to renew keys and take tickets.
pub(super) enum Keys {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

impl Keys {
    fn suite(&self) -> SupportedCipherSuite {
        match self {
            Self::Server(keys) => keys.negotiated_cipher_suite(),
            Self::Client(keys) => keys.negotiated_cipher_suite(),
        }
    }

    fn next_of_peer(&mut self) -> Result<Secrets, Failure> {
        let secrets = match self {
            Self::Server(keys) => keys.update_rx_secret(),
            Self::Client(keys) => keys.update_rx_secret(),
        };
        secrets.map_err(Failure::malformed)
    }

    fn next_of_ours(&mut self) -> Result<Secrets, Failure> {
        let secrets = match self {
            Self::Server(keys) => keys.update_tx_secret(),
            Self::Client(keys) => keys.update_tx_secret(),
        };
        secrets.map_err(Failure::malformed)
    }
}

/// An established session.
pub(super) struct Traffic {
    opener: Opener,
    sealer: Sealer,
    keys: Keys,
    pub(super) facts: TlsFacts,
    tls13: bool,
    fruitless: u8,
    /// The peer asked for new keys of ours.
    owes_key_update: bool,
}

impl Traffic {
    pub(super) fn new(
        secrets: ExtractedSecrets,
        keys: Keys,
        facts: TlsFacts,
    ) -> Result<Self, Failure> {
        let suite = keys.suite();
        Ok(Self {
            opener: Opener::new(suite, secrets.rx)?,
            sealer: Sealer::new(suite, secrets.tx)?,
            keys,
            facts,
            tls13: matches!(suite, SupportedCipherSuite::Tls13(_)),
            fruitless: 0,
            owes_key_update: false,
        })
    }

    /// Whether a record about the session itself waits to be sent.
    pub(super) fn owes_record(&self) -> bool {
        self.owes_key_update
    }

    /// Whether the keys will not do for much longer and cannot be renewed.
    pub(super) fn is_worn_out(&self) -> bool {
        !self.tls13 && self.sealer.left() < LAST_RECORDS
    }

    #[cfg(test)]
    pub(super) fn wear_out(&mut self, left: u64) {
        self.sealer.wear_out(left);
    }

    /// The length of the record at the front, if its header is whole.
    pub(super) fn record_bytes(&self, bytes: &[u8]) -> Result<Option<usize>, Alerted> {
        record_bytes(bytes, self.tls13)
    }

    /// Opens all whole records. Their contents are moved together, so that a message that spans
    /// records is in one piece; the first, usually the only or by far the longest one, stays.
    pub(super) fn open(&mut self, bytes: &mut [u8]) -> Result<Opened, (Opened, Alerted)> {
        let mut opened = Opened { content: 0..0, consumed: 0, ending: None };
        loop {
            let start = opened.consumed;
            let size = match record_bytes(&bytes[start..], self.tls13) {
                Ok(Some(size)) if size <= bytes.len() - start => size,
                Ok(_) => return Ok(opened),
                Err(alerted) => return Err((opened, alerted)),
            };
            opened.consumed += size;
            let (kind, content) = match self.opener.open(&mut bytes[start..start + size]) {
                Ok((kind, content)) => (kind, start + content.start..start + content.end),
                Err(alerted) => return Err((opened, alerted)),
            };
            if kind == ContentType::ApplicationData && !content.is_empty() {
                self.fruitless = 0;
                if opened.content.is_empty() {
                    opened.content = content;
                } else {
                    let end = opened.content.end;
                    opened.content.end += content.len();
                    bytes.copy_within(content, end);
                }
                continue;
            }
            match self.take_control(kind, &bytes[content]) {
                Ok(None) => {}
                Ok(Some(ending)) => {
                    opened.ending = Some(ending);
                    return Ok(opened);
                }
                Err(alerted) => return Err((opened, alerted)),
            }
        }
    }

    /// Acts on a record that brings no content.
    fn take_control(&mut self, kind: ContentType, body: &[u8]) -> Result<Option<Ending>, Alerted> {
        self.fruitless += 1;
        if self.fruitless > FRUITLESS_RECORDS_MAX {
            let failure = Failure::malformed("too many records in a row without content");
            return Err((AlertDescription::UnexpectedMessage, failure));
        }
        match (kind, body) {
            (ContentType::ApplicationData, _) => Ok(None),
            (ContentType::Alert, &[_, 0]) => Ok(Some(Ending::Closed)),
            // user_canceled says nothing by itself; with TLS 1.2 there are more such warnings.
            (ContentType::Alert, &[_, 90]) => Ok(None),
            (ContentType::Alert, &[1, _]) if !self.tls13 => Ok(None),
            (ContentType::Alert, &[_, description]) => {
                Ok(Some(Ending::Failed(Failure::of_alert(description))))
            }
            (ContentType::Handshake, body) if self.tls13 => {
                self.take_handshake_messages(body).map(|()| None)
            }
            _ => Err(unexpected("a record that does not belong here")),
        }
    }

    /// Key updates and tickets. Messages in pieces are refused: no implementation is known to send
    /// these short ones like that.
    fn take_handshake_messages(&mut self, mut body: &[u8]) -> Result<(), Alerted> {
        while let [kind, a, b, c, rest @ ..] = body {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let Some((message, rest)) = rest.split_at_checked(length) else { break };
            match (*kind, message, &mut self.keys) {
                (KEY_UPDATE, &[request @ 0..=1], _) if rest.is_empty() => {
                    self.owes_key_update |= request == 1;
                    let renewed = self.keys.next_of_peer();
                    let renewed = renewed.and_then(|next| Opener::new(self.keys.suite(), next));
                    self.opener = renewed.map_err(internal)?;
                }
                (NEW_SESSION_TICKET, ticket, Keys::Client(keys)) => {
                    let taken = keys.handle_new_session_ticket(ticket);
                    taken.map_err(|error| {
                        (AlertDescription::DecodeError, Failure::malformed(error))
                    })?;
                }
                _ => return Err(unexpected("a handshake message that does not belong here")),
            }
            body = rest;
        }
        if body.is_empty() { Ok(()) } else { Err(unexpected("a handshake message in pieces")) }
    }

    /// Seals a record about the session that is owed.
    pub(super) fn seal_owed(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        if std::mem::take(&mut self.owes_key_update) {
            self.renew_keys(out)?;
        }
        Ok(())
    }

    fn renew_keys(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        let update = [KEY_UPDATE, 0, 0, 1, 0];
        let content = OutboundChunks::Single(&update);
        out.extend_from_slice(&self.sealer.seal(ContentType::Handshake, content)?);
        self.sealer = Sealer::new(self.keys.suite(), self.keys.next_of_ours()?)?;
        Ok(())
    }

    /// Seals an alert.
    pub(super) fn seal_alert(
        &mut self,
        alert: AlertDescription,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let level = if alert == AlertDescription::CloseNotify { 1 } else { 2 };
        let body = [level, u8::from(alert)];
        out.extend_from_slice(
            &self.sealer.seal(ContentType::Alert, OutboundChunks::Single(&body))?,
        );
        Ok(())
    }

    /// Seals a batch, each record as full as can be.
    pub(super) fn seal(&mut self, batch: &Batch, out: &mut Vec<Segment>) -> Result<(), Failure> {
        if let Batch::One(segment) = batch {
            for content in segment.bytes().chunks(PLAINTEXT_BYTES_MAX) {
                self.seal_record(OutboundChunks::Single(content), out)?;
            }
            return Ok(());
        }
        let mut chunks: Vec<&[u8]> = Vec::new();
        let mut room = PLAINTEXT_BYTES_MAX;
        for segment in batch.segments() {
            let mut rest = segment.bytes();
            while rest.len() >= room {
                let (front, behind) = rest.split_at(room);
                chunks.push(front);
                self.seal_record(OutboundChunks::new(&chunks), out)?;
                chunks.clear();
                (rest, room) = (behind, PLAINTEXT_BYTES_MAX);
            }
            if !rest.is_empty() {
                room -= rest.len();
                chunks.push(rest);
            }
        }
        if !chunks.is_empty() {
            self.seal_record(OutboundChunks::new(&chunks), out)?;
        }
        Ok(())
    }

    #[inline]
    fn seal_record(
        &mut self,
        content: OutboundChunks<'_>,
        out: &mut Vec<Segment>,
    ) -> Result<(), Failure> {
        if self.sealer.left() == 0 {
            if !self.tls13 {
                return Err(Failure::malformed("the keys of TLS 1.2 are used up"));
            }
            let mut update = Vec::new();
            self.renew_keys(&mut update)?;
            out.push(Segment::Sealed(update));
        }
        out.push(Segment::Sealed(self.sealer.seal(ContentType::ApplicationData, content)?));
        Ok(())
    }
}

fn unexpected(what: &str) -> Alerted {
    (AlertDescription::UnexpectedMessage, Failure::malformed(what))
}

fn internal(failure: Failure) -> Alerted {
    (AlertDescription::InternalError, failure)
}
