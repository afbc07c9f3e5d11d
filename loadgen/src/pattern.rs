//! The payloads that are sent: known from a connection's number and a message's sequence number
//! alone, so that every byte of an echo can be checked and none needs to be remembered. Payloads
//! are windows into one run of pseudo-random bytes; sending one generates nothing.

use ringsock::protocol::MessageKind;
use ringsock::{Binary, Conn, Message, RemotePeer, SendOutcome, Text};

/// Windows begin at this many places; neighbouring messages and connections differ.
const WINDOWS: usize = 4096;

/// The payloads of one run.
#[derive(Debug)]
pub(crate) struct Pattern {
    bytes: Bytes,
    payload_bytes: usize,
}

#[derive(Debug)]
enum Bytes {
    /// Printable ASCII, so that a window may begin and end anywhere.
    Text(String),
    Binary(Vec<u8>),
}

impl Pattern {
    /// Payloads of `payload_bytes` bytes.
    pub(crate) fn new(kind: MessageKind, payload_bytes: usize) -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            // xorshift: any sequence without a short period will do.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let length = payload_bytes + WINDOWS;
        let bytes = match kind {
            MessageKind::Text => {
                Bytes::Text((0..length).map(|_| char::from(b' ' + next() % 95)).collect())
            }
            MessageKind::Binary => Bytes::Binary((0..length).map(|_| next()).collect()),
        };
        Self { bytes, payload_bytes }
    }

    /// Bytes of each payload.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Text or binary.
    pub(crate) fn kind(&self) -> MessageKind {
        match self.bytes {
            Bytes::Text(_) => MessageKind::Text,
            Bytes::Binary(_) => MessageKind::Binary,
        }
    }

    /// The payload of message `sequence` on connection `number`.
    pub(crate) fn payload(&self, number: u32, sequence: u64) -> &[u8] {
        let start = window(number, sequence);
        let all = match &self.bytes {
            Bytes::Text(text) => text.as_bytes(),
            Bytes::Binary(bytes) => bytes,
        };
        &all[start..start + self.payload_bytes]
    }

    /// Sends that payload from a callback.
    pub(crate) fn send<S>(
        &self,
        conn: &mut Conn<'_, S>,
        number: u32,
        sequence: u64,
    ) -> SendOutcome {
        let start = window(number, sequence);
        let end = start + self.payload_bytes;
        match &self.bytes {
            Bytes::Text(text) => conn.send(Text(&text[start..end])),
            Bytes::Binary(bytes) => conn.send(Binary(&bytes[start..end])),
        }
    }

    /// Sends that payload from another thread. One that has gone is not told: its end is reported
    /// by itself.
    pub(crate) fn send_to(&self, peer: &RemotePeer, number: u32, sequence: u64) {
        let start = window(number, sequence);
        let end = start + self.payload_bytes;
        let _ = match &self.bytes {
            Bytes::Text(text) => peer.send(Text(&text[start..end])),
            Bytes::Binary(bytes) => peer.send(Binary(&bytes[start..end])),
        };
    }
}

fn window(number: u32, sequence: u64) -> usize {
    let mixed = sequence.wrapping_mul(7).wrapping_add(u64::from(number).wrapping_mul(613));
    (mixed % WINDOWS as u64) as usize
}

/// How much of what comes back is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Verify {
    /// Lengths only
    None,
    /// Every byte of one message in 64, and of the first on each connection
    Sample,
    /// Every byte
    All,
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The length is right; the bytes were not looked at.
    Counted,
    /// Every byte is right.
    Compared,
    /// Something is wrong.
    Wrong,
}

impl Verify {
    /// Judges an echo of message `sequence` of connection `number`.
    pub(crate) fn judge(
        self,
        pattern: &Pattern,
        number: u32,
        sequence: u64,
        message: &Message<'_>,
    ) -> Verdict {
        let bytes = message.bytes();
        if bytes.len() != pattern.payload_bytes() {
            return Verdict::Wrong;
        }
        if !self.wants(number, sequence) {
            return Verdict::Counted;
        }
        let right = message.kind() == pattern.kind() && bytes == pattern.payload(number, sequence);
        if right { Verdict::Compared } else { Verdict::Wrong }
    }

    /// Whether the bytes of this message are looked at.
    pub(crate) fn wants(self, number: u32, sequence: u64) -> bool {
        match self {
            Self::None => false,
            Self::Sample => sequence == 0 || (sequence ^ u64::from(number)).is_multiple_of(64),
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringsock::buffer::Payload;

    #[test]
    fn payloads_repeat_exactly_and_differ_between_neighbours() {
        for kind in [MessageKind::Text, MessageKind::Binary] {
            let (one, other) = (Pattern::new(kind, 20), Pattern::new(kind, 20));
            for (number, sequence) in [(0, 0), (1, 0), (0, 1), (9_999, u64::MAX)] {
                let payload = one.payload(number, sequence);
                assert_eq!(payload, other.payload(number, sequence));
                assert_eq!(payload.len(), 20);
                assert_ne!(payload, one.payload(number, sequence.wrapping_add(1)));
                assert_ne!(payload, one.payload(number + 1, sequence));
            }
        }
    }

    #[test]
    fn text_is_printable_ascii_in_every_window() {
        let pattern = Pattern::new(MessageKind::Text, 100);
        for sequence in 0..WINDOWS as u64 {
            assert!(pattern.payload(3, sequence).iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }

    #[test]
    fn one_changed_byte_is_found_where_bytes_are_compared() {
        let pattern = Pattern::new(MessageKind::Binary, 1000);
        for (flaw, none, all) in [
            (None, Verdict::Counted, Verdict::Compared),
            (Some(0), Verdict::Counted, Verdict::Wrong),
            (Some(999), Verdict::Counted, Verdict::Wrong),
        ] {
            let mut bytes = pattern.payload(1, 2).to_vec();
            if let Some(at) = flaw {
                bytes[at] ^= 1;
            }
            let message = Message::new(MessageKind::Binary, Payload::from(&mut bytes[..]));
            assert_eq!(Verify::None.judge(&pattern, 1, 2, &message), none);
            assert_eq!(Verify::All.judge(&pattern, 1, 2, &message), all);
        }
    }

    #[test]
    fn a_wrong_length_or_kind_is_wrong() {
        let pattern = Pattern::new(MessageKind::Binary, 4);
        let mut bytes = [0; 3];
        let short = Message::new(MessageKind::Binary, Payload::from(&mut bytes[..]));
        assert_eq!(Verify::None.judge(&pattern, 0, 0, &short), Verdict::Wrong);
        let mut bytes = pattern.payload(0, 0).to_vec();
        let text = Message::new(MessageKind::Text, Payload::from(&mut bytes[..]));
        assert_eq!(Verify::All.judge(&pattern, 0, 0, &text), Verdict::Wrong);
    }

    #[test]
    fn a_sample_is_the_first_of_each_connection_and_one_in_64() {
        let wanted = (0..6_400).filter(|&sequence| Verify::Sample.wants(5, sequence)).count();
        assert_eq!(wanted, 101);
        assert!(Verify::Sample.wants(5, 0));
    }
}
