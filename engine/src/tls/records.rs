//! Single records (RFC 8446 section 5, RFC 5246 section 6.2): one is opened where it lies, one is
//! sealed into a vector of its own. What is in them is decided elsewhere.

use std::ops::Range;

use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion,
    SupportedCipherSuite,
};

use super::{Failure, FailureReason};

/// Bytes of a record's header.
pub(super) const HEADER_BYTES: usize = 5;
/// The first byte of an alert's record.
pub(super) const ALERT: u8 = 21;
/// Longest plaintext of a record.
pub(super) const PLAINTEXT_BYTES_MAX: usize = 16 * 1024;
/// What a record may be longer than its plaintext: TLS 1.3, and 1.2.
const EXPANSION_BYTES_MAX: (usize, usize) = (256, 2048);

/// A failure with the alert that tells the peer.
pub(super) type Alerted = (AlertDescription, Failure);

/// Keys of one direction with the number of the first record they are for.
pub(super) type Secrets = (u64, ConnectionTrafficSecrets);

/// The length of the record at the front, header included; `None` while its header is cut.
pub(super) fn record_bytes(bytes: &[u8], tls13: bool) -> Result<Option<usize>, Alerted> {
    let &[kind, major, _, high, low, ..] = bytes else { return Ok(None) };
    if !(20..=23).contains(&kind) || major != 3 {
        let failure = Failure::malformed("what was received is no record");
        return Err((AlertDescription::UnexpectedMessage, failure));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    let expansion = if tls13 { EXPANSION_BYTES_MAX.0 } else { EXPANSION_BYTES_MAX.1 };
    if length > PLAINTEXT_BYTES_MAX + expansion {
        let failure = Failure::malformed(format_args!("a record of {length} bytes"));
        return Err((AlertDescription::RecordOverflow, failure));
    }
    Ok(Some(HEADER_BYTES + length))
}

/// The cipher keys of a suite, taken apart.
fn parts(secrets: ConnectionTrafficSecrets) -> Option<Parts> {
    use ConnectionTrafficSecrets as Suite;
    match secrets {
        Suite::Aes128Gcm { key, iv } | Suite::Aes256Gcm { key, iv } => {
            Some(Parts { key, iv, fixed_bytes: 4 })
        }
        Suite::Chacha20Poly1305 { key, iv } => Some(Parts { key, iv, fixed_bytes: 12 }),
        _ => None,
    }
}

struct Parts {
    key: rustls::crypto::cipher::AeadKey,
    iv: rustls::crypto::cipher::Iv,
    /// With TLS 1.2 this much of the nonce is fixed; the rest is where its counter begins.
    fixed_bytes: usize,
}

fn unknown_suite() -> Failure {
    Failure::malformed("a cipher suite whose keys cannot be used")
}

/// Opens the peer's records.
pub(super) struct Opener {
    cipher: Box<dyn MessageDecrypter>,
    sequence: u64,
    tls13: bool,
}

impl Opener {
    pub(super) fn new(suite: SupportedCipherSuite, secrets: Secrets) -> Result<Self, Failure> {
        let (sequence, secrets) = secrets;
        let Parts { key, iv, fixed_bytes } = parts(secrets).ok_or_else(unknown_suite)?;
        let (cipher, tls13) = match suite {
            SupportedCipherSuite::Tls13(suite) => (suite.aead_alg.decrypter(key, iv), true),
            SupportedCipherSuite::Tls12(suite) => {
                (suite.aead_alg.decrypter(key, &iv.as_ref()[..fixed_bytes]), false)
            }
        };
        Ok(Self { cipher, sequence, tls13 })
    }

    /// Opens one whole record in place: what it is, and where in `record` its content lies now.
    #[inline]
    pub(super) fn open(
        &mut self,
        record: &mut [u8],
    ) -> Result<(ContentType, Range<usize>), Alerted> {
        let address = record.as_ptr().addr();
        let (header, payload) = record.split_at_mut(HEADER_BYTES);
        let kind = ContentType::from(header[0]);
        if self.tls13 && kind != ContentType::ApplicationData {
            let failure = Failure::malformed("a record without protection");
            return Err((AlertDescription::UnexpectedMessage, failure));
        }
        let version = ProtocolVersion::TLSv1_2;
        let sealed = InboundOpaqueMessage::new(kind, version, payload);
        let plain =
            self.cipher.decrypt(sealed, self.sequence).map_err(|error| alert_for(&error))?;
        self.sequence += 1;
        // The content is a part of the record, shorter by header, nonce and tag.
        let start = plain.payload.as_ptr().addr().saturating_sub(address);
        Ok((plain.typ, start..start + plain.payload.len()))
    }
}

fn alert_for(error: &Error) -> Alerted {
    let (alert, reason) = match error {
        Error::DecryptError => (AlertDescription::BadRecordMac, FailureReason::BadRecord),
        Error::PeerSentOversizedRecord => {
            (AlertDescription::RecordOverflow, FailureReason::Malformed)
        }
        _ => (AlertDescription::UnexpectedMessage, FailureReason::Malformed),
    };
    (alert, Failure::new(reason, error))
}

/// Seals our records.
pub(super) struct Sealer {
    cipher: Box<dyn MessageEncrypter>,
    sequence: u64,
    /// Records that one key may seal before an attacker could tell something from their number.
    sequence_max: u64,
}

impl Sealer {
    pub(super) fn new(suite: SupportedCipherSuite, secrets: Secrets) -> Result<Self, Failure> {
        let (sequence, secrets) = secrets;
        let Parts { key, iv, fixed_bytes } = parts(secrets).ok_or_else(unknown_suite)?;
        let (cipher, common) = match suite {
            SupportedCipherSuite::Tls13(suite) => {
                (suite.aead_alg.encrypter(key, iv), &suite.common)
            }
            SupportedCipherSuite::Tls12(suite) => {
                let (fixed, rest) = iv.as_ref().split_at(fixed_bytes);
                (suite.aead_alg.encrypter(key, fixed, rest), &suite.common)
            }
        };
        let sequence_max = common.confidentiality_limit.min(1 << 62);
        let mut sealer = Self { cipher, sequence: 0, sequence_max };
        if sequence > 0 {
            // The cipher learns from its first record where its nonces begin, and takes that for
            // number 0. This one is thrown away, so the nonce is not used a second time.
            let _unsent = sealer.seal(ContentType::ApplicationData, OutboundChunks::new_empty())?;
            sealer.sequence = sequence;
        }
        Ok(sealer)
    }

    /// Records left for these keys.
    pub(super) fn left(&self) -> u64 {
        self.sequence_max.saturating_sub(self.sequence)
    }

    /// Makes the keys old before their time.
    #[cfg(test)]
    pub(super) fn wear_out(&mut self, left: u64) {
        self.sequence_max = self.sequence + left;
    }

    /// One record, header included, of at most 16 KiB of content.
    #[inline]
    pub(super) fn seal(
        &mut self,
        kind: ContentType,
        content: OutboundChunks<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let version = ProtocolVersion::TLSv1_2;
        let plain = OutboundPlainMessage { typ: kind, version, payload: content };
        let sealed = self.cipher.encrypt(plain, self.sequence);
        let sealed =
            sealed.map_err(|error| Failure::malformed(format_args!("sealing: {error}")))?;
        self.sequence += 1;
        Ok(sealed.encode())
    }
}
