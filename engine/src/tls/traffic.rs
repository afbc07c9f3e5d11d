//! A session after its handshake: records in, content out; content in, records out; and what TLS
//! itself says in between: alerts, key updates, tickets. It keeps no byte that was not sent.

use std::ops::Range;

use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::OutboundChunks;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ContentType, ExtractedSecrets, SupportedCipherSuite};

use super::records::{Alerted, Opener, PLAINTEXT_BYTES_MAX, Sealer, Secrets, record_bytes};
use super::unsealed::Unsealed;
use super::{Failure, TlsFacts};
use crate::buffer::Segment;

/// Records in a row that may bring no content: tickets, key updates, empty ones.
const FRUITLESS_RECORDS_MAX: u8 = 32;
/// With TLS 1.2 keys cannot be renewed: the connection should end while this many are left.
const LAST_RECORDS: u64 = 1 << 16;

/// Handshake messages after the handshake (RFC 8446 section 4).
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// Those with which TLS 1.2 begins another one (RFC 5246 section 7.4.1).
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
/// Bytes of such a message's header, and of the longest that is taken.
const MESSAGE_HEADER_BYTES: usize = 4;
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

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

impl Opened {
    /// Bytes that are not looked at.
    pub(super) fn nothing(bytes: &[u8]) -> Self {
        Self { content: 0..0, consumed: bytes.len(), ending: None }
    }
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
    /// A handshake message of which a part has arrived.
    message: Vec<u8>,
    /// The peer asked for new keys of ours.
    owes_key_update: bool,
    /// The peer asked for another handshake, and is to be told that there will be none.
    owes_refusal: bool,
    /// It has asked before.
    asked_again: bool,
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
            message: Vec::new(),
            owes_key_update: false,
            owes_refusal: false,
            asked_again: false,
        })
    }

    /// Whether a record about the session itself waits to be sent.
    pub(super) fn owes_record(&self) -> bool {
        self.owes_key_update || self.owes_refusal
    }

    /// Memory of what has arrived in part.
    pub(super) fn held_bytes(&self) -> usize {
        self.message.capacity()
    }

    /// Forgets what has arrived in part.
    pub(super) fn forget_message(&mut self) {
        self.message = Vec::new();
    }

    /// Whether the keys will not do for much longer and cannot be renewed.
    pub(super) fn is_worn_out(&self) -> bool {
        !self.tls13 && self.sealer.left() < LAST_RECORDS
    }

    #[cfg(test)]
    pub(super) fn wear_out(&mut self, left: u64) {
        self.sealer.wear_out(left);
    }

    /// A record of any kind with anything in it.
    #[cfg(test)]
    pub(super) fn seal_anything(&mut self, kind: ContentType, body: &[u8]) -> Vec<u8> {
        self.sealer.seal(kind, OutboundChunks::Single(body)).unwrap()
    }

    /// Goes on with new keys without having said so.
    #[cfg(test)]
    pub(super) fn next_keys(&mut self) {
        self.sealer = Sealer::new(self.keys.suite(), self.keys.next_of_ours().unwrap()).unwrap();
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
            let is_content = kind == ContentType::ApplicationData && !content.is_empty();
            if is_content && self.message.is_empty() {
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
        if kind != ContentType::Handshake && !self.message.is_empty() {
            // RFC 8446 section 5.1.
            return Err(unexpected("a record between the pieces of a handshake message"));
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
            (ContentType::Handshake, &[_, ..]) => self.take_handshake(body).map(|()| None),
            _ => Err(unexpected("a record that does not belong here")),
        }
    }

    /// Takes handshake messages, which may come in pieces.
    fn take_handshake(&mut self, body: &[u8]) -> Result<(), Alerted> {
        let mut joined = std::mem::take(&mut self.message);
        let mut rest = body;
        if !joined.is_empty() {
            joined.extend_from_slice(body);
            rest = &joined;
        }
        while let Some((&[kind, a, b, c], behind)) =
            rest.split_first_chunk::<MESSAGE_HEADER_BYTES>()
        {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if !self.expects(kind, length) {
                return Err(unexpected("a handshake message that does not belong here"));
            }
            let Some((message, behind)) = behind.split_at_checked(length) else { break };
            self.take_message(kind, message, behind.is_empty())?;
            rest = behind;
        }
        self.message = rest.to_vec();
        Ok(())
    }

    /// Whether a handshake message of this kind and length may come after the handshake.
    fn expects(&self, kind: u8, length: usize) -> bool {
        match (kind, &self.keys) {
            (KEY_UPDATE, _) => self.tls13 && length == 1,
            (NEW_SESSION_TICKET, Keys::Client(_)) => self.tls13 && length <= MESSAGE_BYTES_MAX,
            (HELLO_REQUEST, Keys::Client(_)) => !self.tls13 && length == 0,
            (CLIENT_HELLO, Keys::Server(_)) => !self.tls13 && length <= MESSAGE_BYTES_MAX,
            _ => false,
        }
    }

    /// Acts on a message that [`expects`](Self::expects) lets pass; `last` if nothing stands behind
    /// it in its record.
    fn take_message(&mut self, kind: u8, message: &[u8], last: bool) -> Result<(), Alerted> {
        match (kind, message, &mut self.keys) {
            (KEY_UPDATE, &[request @ 0..=1], _) if last => {
                self.owes_key_update |= request == 1;
                let renewed = self.keys.next_of_peer();
                let renewed = renewed.and_then(|next| Opener::new(self.keys.suite(), next));
                self.opener = renewed.map_err(internal)?;
                Ok(())
            }
            (NEW_SESSION_TICKET, ticket, Keys::Client(keys)) => {
                let taken = keys.handle_new_session_ticket(ticket);
                taken.map_err(|error| (AlertDescription::DecodeError, Failure::malformed(error)))
            }
            (HELLO_REQUEST | CLIENT_HELLO, ..) => {
                if std::mem::replace(&mut self.asked_again, true) {
                    return Err(unexpected("another handshake, asked for again"));
                }
                self.owes_refusal = true;
                Ok(())
            }
            _ => Err(unexpected("a handshake message that does not belong here")),
        }
    }

    /// Seals a record about the session that is owed.
    pub(super) fn seal_owed(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        if std::mem::take(&mut self.owes_key_update) {
            self.renew_keys(out)?;
        }
        if std::mem::take(&mut self.owes_refusal) {
            self.seal_alert(AlertDescription::NoRenegotiation, out)?;
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
        let warns =
            matches!(alert, AlertDescription::CloseNotify | AlertDescription::NoRenegotiation);
        let level = if warns { 1 } else { 2 };
        let body = [level, u8::from(alert)];
        out.extend_from_slice(
            &self.sealer.seal(ContentType::Alert, OutboundChunks::Single(&body))?,
        );
        Ok(())
    }

    /// Seals content, each record as full as can be, until so much of it is; how much was.
    pub(super) fn seal(
        &mut self,
        unsealed: &mut Unsealed,
        bytes_max: usize,
        out: &mut Vec<Segment>,
    ) -> Result<usize, Failure> {
        let mut bytes = 0;
        while bytes < bytes_max {
            let mut chunks = Vec::new();
            let content = unsealed.next(PLAINTEXT_BYTES_MAX, &mut chunks);
            if content.is_empty() {
                break;
            }
            bytes += content.len();
            self.seal_record(content, out)?;
        }
        Ok(bytes)
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
