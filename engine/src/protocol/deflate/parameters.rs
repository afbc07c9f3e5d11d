//! Agreement on permessage-deflate (RFC 7692 sections 5 and 7.1) for both roles. It compresses
//! nothing and reads no header line: it turns offers into an answer and judges answers.

use std::fmt::Write;
use std::str::FromStr;

use super::{WINDOW_BITS_MAX, WINDOW_BITS_MIN, refers_beyond};
use crate::protocol::ProtocolError;
use crate::protocol::handshake::ExtensionOffer;

/// The extension's name.
pub const EXTENSION_NAME: &str = "permessage-deflate";

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// How an endpoint wants to compress; the same for both roles.
///
/// ```
/// use ringsock::Deflate;
/// let frugal = Deflate::default();
/// assert!(!frugal.send_context_takeover);
/// let small = Deflate { send_context_takeover: true, send_window_bits: 12, ..frugal };
/// assert!(small.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// Messages shorter than this are sent as they are, in bytes. Default 128: below, headers and
    /// the code leave little to gain. 0 compresses all of them, those too that become longer by it:
    /// for a peer that expects every message in compressed form.
    pub threshold_bytes: usize,
    /// Whether what we send may refer to our messages before it. It makes small messages that
    /// resemble each other much smaller and costs memory for each connection
    /// ([`CompressionContext::memory_bytes`](super::CompressionContext::memory_bytes)). Default
    /// `false`: a connection costs nothing.
    pub send_context_takeover: bool,
    /// Whether what the peer sends may refer to its messages before it. It costs us up to
    /// [`History::memory_bytes`](super::History::memory_bytes) for each connection. Default
    /// `false`.
    pub receive_context_takeover: bool,
    /// How far what we send refers back at most: 2^bits bytes, 8 to 15. Default 15; a peer may ask
    /// for less.
    pub send_window_bits: u8,
    /// How far what the peer sends may refer back, likewise. Default 15. A peer is held to it only
    /// if it lets us ask.
    pub receive_window_bits: u8,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            threshold_bytes: 128,
            send_context_takeover: false,
            receive_context_takeover: false,
            send_window_bits: WINDOW_BITS_MAX,
            receive_window_bits: WINDOW_BITS_MAX,
        }
    }
}

impl Deflate {
    /// The same without context takeover in either direction.
    #[must_use]
    pub fn without_takeover(self) -> Self {
        Self { send_context_takeover: false, receive_context_takeover: false, ..self }
    }

    /// Says which field has a value that cannot be.
    ///
    /// # Errors
    /// The name of the field and the range it must be in.
    pub fn validate(&self) -> Result<(), String> {
        for (name, bits) in [
            ("send_window_bits", self.send_window_bits),
            ("receive_window_bits", self.receive_window_bits),
        ] {
            if !(WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&bits) {
                return Err(format!(
                    "{name} is {bits}: it must be from {WINDOW_BITS_MIN} to {WINDOW_BITS_MAX}"
                ));
            }
        }
        Ok(())
    }

    /// The first offer of a client that can be met, and the answer to it as a header value. The
    /// offers that cannot be are passed over (section 5.1).
    #[must_use]
    pub fn choose<'h>(
        &self,
        offers: impl Iterator<Item = ExtensionOffer<'h>>,
    ) -> Option<(DeflateAgreement, String)> {
        offers
            .filter(|offer| offer.name() == EXTENSION_NAME)
            .find_map(|offer| Some(self.meet(&Parameters::read(&offer, ValueOf::Offer)?)))
    }

    /// What is agreed on a sound offer. Whatever we may say without being asked, we say; whatever
    /// only answers an offer of the same parameter, only then.
    fn meet(&self, offer: &Parameters) -> (DeflateAgreement, String) {
        let server_bits = offer.server_bits.unwrap_or(WINDOW_BITS_MAX).min(self.send_window_bits);
        let client_bits = match offer.client_bits {
            Some(bits) => bits.min(self.receive_window_bits),
            None => WINDOW_BITS_MAX,
        };
        let agreement = DeflateAgreement {
            send_takeover: self.send_context_takeover && !offer.server_no_takeover,
            receive_takeover: self.receive_context_takeover && !offer.client_no_takeover,
            send_window_bits: server_bits,
            receive_window_bits: client_bits,
        };
        let answer = Parameters {
            server_no_takeover: !agreement.send_takeover,
            client_no_takeover: !agreement.receive_takeover,
            server_bits: (offer.server_bits.is_some() || server_bits < WINDOW_BITS_MAX)
                .then_some(server_bits),
            client_bits: (client_bits < WINDOW_BITS_MAX).then_some(client_bits),
        };
        (agreement, answer.to_header())
    }

    /// A client's offer as a header value.
    #[must_use]
    pub fn offer(&self) -> String {
        let bits = |bits| (bits < WINDOW_BITS_MAX).then_some(bits);
        let mut offer = Parameters {
            server_no_takeover: !self.receive_context_takeover,
            client_no_takeover: !self.send_context_takeover,
            server_bits: bits(self.receive_window_bits),
            client_bits: bits(self.send_window_bits),
        }
        .to_header();
        if self.send_window_bits == WINDOW_BITS_MAX {
            // Without a value it says that we could do with less.
            let _ = write!(offer, "; {CLIENT_MAX_WINDOW_BITS}");
        }
        offer
    }

    /// What is agreed when a server answers [`offer`](Self::offer) with this.
    ///
    /// # Errors
    /// What in the answer does not fit the offer (sections 7.1.1 and 7.1.2); the connection must be
    /// failed.
    pub fn accept(&self, answer: &ExtensionOffer<'_>) -> Result<DeflateAgreement, &'static str> {
        let read = Parameters::read(answer, ValueOf::Answer);
        let answer = read.filter(|_| answer.name() == EXTENSION_NAME);
        let answer = answer.ok_or("an answer to the permessage-deflate that was offered")?;
        if !self.receive_context_takeover && !answer.server_no_takeover {
            return Err("server_no_context_takeover, as offered");
        }
        let receive_window_bits = answer.server_bits.unwrap_or(WINDOW_BITS_MAX);
        if receive_window_bits > self.receive_window_bits {
            return Err("no larger server_max_window_bits than offered");
        }
        // A larger one than ours is no more than leave to use it.
        let client_bits = answer.client_bits.unwrap_or(WINDOW_BITS_MAX);
        Ok(DeflateAgreement {
            send_takeover: self.send_context_takeover && !answer.client_no_takeover,
            receive_takeover: !answer.server_no_takeover,
            send_window_bits: client_bits.min(self.send_window_bits),
            receive_window_bits,
        })
    }
}

impl FromStr for Deflate {
    type Err = String;

    /// Reads settings for a command line, separated by commas: `takeover` or `no-takeover` in both
    /// directions, `window=BITS` for both windows, `threshold=BYTES`. What is not said has its
    /// default.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut deflate = Self::default();
        for word in text.split(',').map(str::trim) {
            let number = |digits: &str| {
                digits.parse::<usize>().map_err(|_| format!("\"{word}\" names no number"))
            };
            match word.split_once('=') {
                None if word == "takeover" => {
                    deflate.send_context_takeover = true;
                    deflate.receive_context_takeover = true;
                }
                None if word == "no-takeover" => deflate = deflate.without_takeover(),
                Some(("window", bits)) => {
                    let bits = u8::try_from(number(bits)?).unwrap_or(u8::MAX);
                    deflate.send_window_bits = bits;
                    deflate.receive_window_bits = bits;
                }
                Some(("threshold", bytes)) => deflate.threshold_bytes = number(bytes)?,
                _ => {
                    return Err(format!(
                        "\"{word}\" is not takeover, no-takeover, window=BITS or threshold=BYTES"
                    ));
                }
            }
        }
        deflate.validate()?;
        Ok(deflate)
    }
}

/// What both ends agreed on, as one of them sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateAgreement {
    /// What we send may refer to our messages before it.
    pub send_takeover: bool,
    /// What the peer sends may refer to its messages before it.
    pub receive_takeover: bool,
    /// What we send refers back at most 2^bits bytes.
    pub send_window_bits: u8,
    /// What the peer sends refers back at most 2^bits bytes.
    pub receive_window_bits: u8,
}

impl DeflateAgreement {
    /// Whether what the peer has compressed refers no farther back than was agreed.
    ///
    /// # Errors
    /// [`CorruptCompression`](ProtocolError::CorruptCompression).
    pub(crate) fn check_window(&self, compressed: &[u8]) -> Result<(), ProtocolError> {
        let bits = self.receive_window_bits;
        if bits < WINDOW_BITS_MAX && refers_beyond(compressed, bits) {
            return Err(ProtocolError::CorruptCompression);
        }
        Ok(())
    }

    /// Bytes that context takeover on this connection may come to hold.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let send = super::CompressionContext::memory_bytes(self.send_window_bits);
        let receive = super::History::memory_bytes(self.receive_window_bits);
        usize::from(self.send_takeover) * send + usize::from(self.receive_takeover) * receive
    }
}

/// Where a parameter stands: a client may offer `client_max_window_bits` without a value, a server
/// must give one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueOf {
    Offer,
    Answer,
}

/// The four parameters of section 7.1 as they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    client_bits: Option<u8>,
}

impl Parameters {
    /// `None` for a parameter that is unknown, given twice, or has a value it must not have
    /// (section 7.1).
    fn read(extension: &ExtensionOffer<'_>, place: ValueOf) -> Option<Self> {
        let mut read = Self::default();
        for (name, value) in extension.params() {
            let flag = |seen: &mut bool| !std::mem::replace(seen, true) && value.is_none();
            let fits = match name {
                SERVER_NO_CONTEXT_TAKEOVER => flag(&mut read.server_no_takeover),
                CLIENT_NO_CONTEXT_TAKEOVER => flag(&mut read.client_no_takeover),
                SERVER_MAX_WINDOW_BITS => {
                    let first = read.server_bits.is_none();
                    read.server_bits = value.as_deref().and_then(window_bits);
                    first && read.server_bits.is_some()
                }
                CLIENT_MAX_WINDOW_BITS => {
                    let first = read.client_bits.is_none();
                    read.client_bits = match (&value, place) {
                        (None, ValueOf::Offer) => Some(WINDOW_BITS_MAX),
                        (value, _) => value.as_deref().and_then(window_bits),
                    };
                    first && read.client_bits.is_some()
                }
                _ => false,
            };
            if !fits {
                return None;
            }
        }
        Some(read)
    }

    fn to_header(self) -> String {
        let mut header = EXTENSION_NAME.to_owned();
        for (said, name) in [
            (self.server_no_takeover, SERVER_NO_CONTEXT_TAKEOVER),
            (self.client_no_takeover, CLIENT_NO_CONTEXT_TAKEOVER),
        ] {
            if said {
                header += "; ";
                header += name;
            }
        }
        for (bits, name) in
            [(self.server_bits, SERVER_MAX_WINDOW_BITS), (self.client_bits, CLIENT_MAX_WINDOW_BITS)]
        {
            if let Some(bits) = bits {
                let _ = write!(header, "; {name}={bits}");
            }
        }
        header
    }
}

/// 8 to 15 without leading zeros (section 7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok()?;
    let canonical = !value.starts_with(['0', '+']);
    (canonical && (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&bits)).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::handshake::read_extensions;

    const ALL: Deflate = Deflate {
        threshold_bytes: 0,
        send_context_takeover: true,
        receive_context_takeover: true,
        send_window_bits: 15,
        receive_window_bits: 15,
    };
    const SMALL: Deflate = Deflate { send_window_bits: 11, receive_window_bits: 10, ..ALL };

    fn answer(wanted: Deflate, offers: &str) -> Option<String> {
        let (agreement, answer) = wanted.choose(read_extensions(offers))?;
        // What we answer, our own client understands in the same way.
        let client = Deflate { receive_context_takeover: true, ..ALL };
        let seen = client.accept(&read_extensions(&answer).next().unwrap()).unwrap();
        assert_eq!(seen.receive_takeover, agreement.send_takeover, "{offers}");
        assert_eq!(seen.send_takeover, agreement.receive_takeover, "{offers}");
        assert_eq!(seen.receive_window_bits, agreement.send_window_bits, "{offers}");
        assert_eq!(seen.send_window_bits, agreement.receive_window_bits, "{offers}");
        Some(answer.trim_start_matches("permessage-deflate").to_owned())
    }

    #[test]
    fn offers_are_answered_with_what_was_asked_and_what_we_want() {
        let frugal = Deflate::default();
        let neither = "; server_no_context_takeover; client_no_context_takeover";
        for (wanted, offer, expected) in [
            (ALL, "", ""),
            (ALL, "; client_max_window_bits", ""),
            (ALL, "; server_no_context_takeover", "; server_no_context_takeover"),
            (ALL, "; client_no_context_takeover", "; client_no_context_takeover"),
            (ALL, "; server_max_window_bits=8", "; server_max_window_bits=8"),
            (ALL, "; server_max_window_bits=15", "; server_max_window_bits=15"),
            (ALL, "; server_max_window_bits=\"9\"", "; server_max_window_bits=9"),
            (ALL, "; client_max_window_bits=12", "; client_max_window_bits=12"),
            (SMALL, "", "; server_max_window_bits=11"),
            (SMALL, "; server_max_window_bits=9", "; server_max_window_bits=9"),
            (SMALL, "; server_max_window_bits=13", "; server_max_window_bits=11"),
            (
                SMALL,
                "; client_max_window_bits",
                "; server_max_window_bits=11; client_max_window_bits=10",
            ),
            (
                SMALL,
                "; client_max_window_bits=8",
                "; server_max_window_bits=11; client_max_window_bits=8",
            ),
            (frugal, "", neither),
            (frugal, "; client_max_window_bits; server_no_context_takeover", neither),
        ] {
            let offer = format!("permessage-deflate{offer}");
            assert_eq!(answer(wanted, &offer).as_deref(), Some(expected), "{offer}");
        }
    }

    #[test]
    fn an_offer_that_cannot_be_met_is_passed_over() {
        for bad in [
            "x-other",
            "Permessage-Deflate",
            "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=\"\"",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=08",
            "permessage-deflate; server_max_window_bits=8; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=99",
            "permessage-deflate; client_max_window_bits=300",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
        ] {
            assert_eq!(answer(ALL, bad), None, "{bad}");
            let with_good = format!("{bad}, permessage-deflate; server_max_window_bits=9");
            let good = Some("; server_max_window_bits=9".to_owned());
            assert_eq!(answer(ALL, &with_good), good, "{bad}");
        }
    }

    #[test]
    fn a_client_offers_what_it_wants() {
        assert_eq!(ALL.offer(), "permessage-deflate; client_max_window_bits");
        assert_eq!(
            Deflate::default().offer(),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             client_max_window_bits"
        );
        assert_eq!(
            SMALL.offer(),
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11"
        );
        for wanted in [ALL, SMALL, Deflate::default()] {
            assert!(answer(ALL, &wanted.offer()).is_some());
        }
    }

    #[test]
    fn a_server_that_answers_what_was_not_offered_is_refused() {
        let accept = |wanted: Deflate, answer: &str| {
            wanted.accept(&read_extensions(&format!("permessage-deflate{answer}")).next().unwrap())
        };
        for (wanted, bad) in [
            (ALL, "; unknown"),
            (ALL, "; client_max_window_bits"),
            (ALL, "; server_max_window_bits=16"),
            (ALL, "; server_max_window_bits=7"),
            (ALL, "; server_no_context_takeover=1"),
            (ALL, "; client_no_context_takeover; client_no_context_takeover"),
            (SMALL, ""),
            (SMALL, "; server_max_window_bits=11"),
            (Deflate::default(), ""),
            (Deflate::default(), "; client_no_context_takeover"),
        ] {
            assert!(accept(wanted, bad).is_err(), "{bad}");
        }
        let agreed = accept(SMALL, "; server_max_window_bits=8; client_max_window_bits=15");
        assert_eq!(
            agreed,
            Ok(DeflateAgreement {
                send_takeover: true,
                receive_takeover: true,
                send_window_bits: 11,
                receive_window_bits: 8,
            })
        );
        let other = read_extensions("x-other").next().unwrap();
        assert!(ALL.accept(&other).is_err());
    }

    #[test]
    fn settings_are_read_from_one_word() {
        let frugal = Deflate::default();
        for (text, expected) in [
            ("no-takeover", Ok(frugal)),
            ("takeover,threshold=0", Ok(ALL)),
            ("window=9", Ok(Deflate { send_window_bits: 9, receive_window_bits: 9, ..frugal })),
            ("window=7", Err("send_window_bits is 7")),
            ("window=300", Err("send_window_bits is 255")),
            ("threshold=x", Err("\"threshold=x\" names no number")),
            ("", Err("\"\" is not takeover")),
            ("takeover=1", Err("\"takeover=1\" is not")),
        ] {
            match (text.parse::<Deflate>(), expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{text}"),
                (Err(said), Err(expected)) => assert!(said.starts_with(expected), "{said}"),
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
    }

    #[test]
    fn windows_out_of_range_are_refused_by_name() {
        for (deflate, name) in [
            (Deflate { send_window_bits: 7, ..ALL }, "send_window_bits"),
            (Deflate { receive_window_bits: 16, ..ALL }, "receive_window_bits"),
        ] {
            assert!(deflate.validate().unwrap_err().contains(name));
        }
        assert_eq!(ALL.validate(), Ok(()));
        assert_eq!(size_of::<Option<DeflateAgreement>>(), 4);
    }
}
