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

#[cfg(test)]
mod tests {
    use rustls::CipherSuite;
    use rustls::crypto::cipher::{AeadKey, Iv};

    use super::*;
    use crate::tls::provider;

    /// The records with numbers 1 and 2 for the key of the bytes 0 to 31, the nonce of the bytes 100
    /// to 111 and "known answer", as OpenSSL makes them of RFC 8446 sections 5.2 and 5.3, RFC 5288
    /// and RFC 7905.
    const KNOWN: [(CipherSuite, [&str; 2]); 4] = [
        (
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            [
                "170303001d7ae3de72b3a2b741817ad97f855abd1837b3fb1847d457be0c207ccca8",
                "170303001d7b41939bf4e1569b1a94196bf189686a8957a22354732d58b7e139632b",
            ],
        ),
        (
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            [
                "170303001dd0f6e3dced2170dcf29bfdbdc5b0c6760782607250be8f3c5990e54df8",
                "170303001d6f25373c0cc6b0adfd19ed7d6e4990630f09c8390b91c38586935321fe",
            ],
        ),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            [
                "170303002468696a6b6c6d6e6e7ae3de72b3a2b741817ad97f7fba4bf833de0756da8c1945b0dd3950",
                "170303002468696a6b6c6d6e6d7b41939bf4e1569b1a94196b0c2566483fdfb4d1588f1c260da8cd7b",
            ],
        ),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            [
                "170303001cd0f6e3dced2170dcf29bfdbd3b26bf3f6a4fb9bb9daf59b41978d5fc",
                "170303001c6f25373c0cc6b0adfd19ed7d495095867d985279ee5ad44935e7f8c2",
            ],
        ),
    ];

    fn secrets(suite: CipherSuite) -> ConnectionTrafficSecrets {
        let key = AeadKey::from(std::array::from_fn::<u8, 32, _>(|index| index as u8));
        let iv = Iv::new(std::array::from_fn(|index| 100 + index as u8));
        if format!("{suite:?}").contains("CHACHA") {
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }
        } else {
            ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        }
    }

    fn digits(record: &[u8]) -> String {
        record.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A session's cipher begins behind the records of its handshake. What it seals first, to learn
    /// that, must be neither sent nor counted.
    #[test]
    fn a_cipher_that_begins_in_the_middle_seals_the_records_that_belong_there() {
        let suites = &provider().cipher_suites;
        for (suite, known) in KNOWN {
            let suite = *suites.iter().find(|it| it.suite() == suite).expect("a suite");
            let seal = |sealer: &mut Sealer| {
                let content = OutboundChunks::Single(b"known answer");
                sealer.seal(ContentType::ApplicationData, content).unwrap()
            };
            let mut sealer = Sealer::new(suite, (1, secrets(suite.suite()))).unwrap();
            for expected in known {
                assert_eq!(digits(&seal(&mut sealer)), expected, "{suite:?}");
            }
            let mut sealer = Sealer::new(suite, (2, secrets(suite.suite()))).unwrap();
            assert_eq!(digits(&seal(&mut sealer)), known[1], "{suite:?}");
            // And from the beginning there is no such record.
            let mut sealer = Sealer::new(suite, (0, secrets(suite.suite()))).unwrap();
            let mut first = seal(&mut sealer);
            assert_eq!(digits(&seal(&mut sealer)), known[0], "{suite:?}");
            let mut opener = Opener::new(suite, (0, secrets(suite.suite()))).unwrap();
            let (kind, content) = opener.open(&mut first).unwrap();
            assert_eq!(
                (kind, &first[content]),
                (ContentType::ApplicationData, &b"known answer"[..])
            );
        }
    }
}
