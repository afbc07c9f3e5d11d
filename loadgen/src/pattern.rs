//! The payloads that are sent: known from a connection's number and a message's sequence number
//! alone, so that every byte of an echo can be checked and none needs to be remembered. Payloads
//! that no user chose are windows into one run of pseudo-random bytes; sending one generates nothing.

use std::borrow::Cow;

use ringsock::protocol::MessageKind;
use ringsock::{Binary, Conn, Message, Peer, RemotePeer, SendOutcome, Text};

use crate::template::{STAMP_BYTES, Template};

/// Windows begin at this many places; neighbouring messages and connections differ.
const WINDOWS: usize = 4096;

/// The payloads of one run.
#[derive(Debug)]
pub(crate) struct Pattern {
    kind: MessageKind,
    source: Source,
    /// Where each payload carries its sequence number as hexadecimal digits, which are as good in
    /// text as in binary messages.
    stamp_at: Option<usize>,
}

#[derive(Debug)]
enum Source {
    Windows {
        run: Run,
        payload_bytes: usize,
    },
    /// In turns.
    Files(Vec<Vec<u8>>),
    Template(Template),
}

#[derive(Debug)]
enum Run {
    /// Printable ASCII, so that a window may begin and end anywhere.
    Text(String),
    Binary(Vec<u8>),
}

/// A payload, as it is sent.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
}

impl Piece<'_> {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl Pattern {
    /// Pseudo-random payloads of `payload_bytes` bytes.
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
        let run = match kind {
            MessageKind::Text => {
                Run::Text((0..length).map(|_| char::from(b' ' + next() % 95)).collect())
            }
            MessageKind::Binary => Run::Binary((0..length).map(|_| next()).collect()),
        };
        Self { kind, source: Source::Windows { run, payload_bytes }, stamp_at: None }
    }

    /// These payloads in turns, at least one. As text only if all of them are.
    pub(crate) fn of_files(kind: MessageKind, files: Vec<Vec<u8>>) -> Self {
        let kind = match files.iter().all(|file| std::str::from_utf8(file).is_ok()) {
            true => kind,
            false => MessageKind::Binary,
        };
        Self { kind, source: Source::Files(files), stamp_at: None }
    }

    /// Payloads made from a template.
    pub(crate) fn of_template(kind: MessageKind, template: Template) -> Self {
        let stamp_at = template.stamp_at();
        Self { kind, source: Source::Template(template), stamp_at }
    }

    /// With the sequence number in front of each pseudo-random payload that has room for it.
    pub(crate) fn stamped(mut self) -> Self {
        if let Source::Windows { payload_bytes, .. } = self.source
            && payload_bytes >= STAMP_BYTES
        {
            self.stamp_at = Some(0);
        }
        self
    }

    /// Bytes of the longest payload.
    pub(crate) fn payload_bytes(&self) -> usize {
        match &self.source {
            Source::Windows { payload_bytes, .. } => *payload_bytes,
            Source::Files(files) => files.iter().map(Vec::len).max().unwrap_or(0),
            Source::Template(template) => template.bytes(),
        }
    }

    /// Bytes of the payload of message `sequence`.
    pub(crate) fn bytes_of(&self, sequence: u64) -> usize {
        match &self.source {
            Source::Files(files) => files[(sequence % files.len() as u64) as usize].len(),
            _ => self.payload_bytes(),
        }
    }

    /// Text or binary.
    pub(crate) fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Whether payloads carry their sequence number.
    pub(crate) fn is_stamped(&self) -> bool {
        self.stamp_at.is_some()
    }

    /// The sequence number that a payload carries.
    pub(crate) fn stamp_of(&self, payload: &[u8]) -> Option<u64> {
        let at = self.stamp_at?;
        let digits = std::str::from_utf8(payload.get(at..at + STAMP_BYTES)?).ok()?;
        u64::from_str_radix(digits, 16).ok()
    }

    /// The payload of message `sequence` on connection `number`.
    pub(crate) fn payload(&self, number: u32, sequence: u64) -> Piece<'_> {
        match &self.source {
            Source::Windows { run, payload_bytes } => {
                let start = window(number, sequence);
                let range = start..start + payload_bytes;
                match run {
                    Run::Text(text) => self.stamp_text(&text[range], sequence),
                    Run::Binary(bytes) => self.stamp_bytes(&bytes[range], sequence),
                }
            }
            Source::Files(files) => {
                let file = &files[(sequence % files.len() as u64) as usize];
                match (self.kind, std::str::from_utf8(file)) {
                    (MessageKind::Text, Ok(text)) => Piece::Text(text.into()),
                    _ => Piece::Binary(file.into()),
                }
            }
            Source::Template(template) => {
                let text = template.text(number, sequence);
                match self.kind {
                    MessageKind::Text => Piece::Text(text.into()),
                    MessageKind::Binary => Piece::Binary(text.into_bytes().into()),
                }
            }
        }
    }

    fn stamp_text<'a>(&self, text: &'a str, sequence: u64) -> Piece<'a> {
        if self.stamp_at.is_none() {
            return Piece::Text(text.into());
        }
        Piece::Text(format!("{sequence:016x}{}", &text[STAMP_BYTES..]).into())
    }

    fn stamp_bytes<'a>(&self, bytes: &'a [u8], sequence: u64) -> Piece<'a> {
        if self.stamp_at.is_none() {
            return Piece::Binary(bytes.into());
        }
        let mut stamped = bytes.to_vec();
        stamped[..STAMP_BYTES].copy_from_slice(format!("{sequence:016x}").as_bytes());
        Piece::Binary(stamped.into())
    }

    /// Sends that payload from a callback.
    pub(crate) fn send<S>(
        &self,
        conn: &mut Conn<'_, S>,
        number: u32,
        sequence: u64,
    ) -> SendOutcome {
        match self.payload(number, sequence) {
            Piece::Text(text) => conn.send(Text(&text)),
            Piece::Binary(bytes) => conn.send(Binary(&bytes)),
        }
    }

    /// Sends that payload in the shard's next turn. One that has gone is not told: its end is
    /// reported by itself.
    pub(crate) fn send_soon(&self, peer: Peer, number: u32, sequence: u64) {
        let _ = match self.payload(number, sequence) {
            Piece::Text(text) => peer.send(Text(&text)),
            Piece::Binary(bytes) => peer.send(Binary(&bytes)),
        };
    }

    /// Sends that payload from another thread. One that has gone is not told either.
    pub(crate) fn send_to(&self, peer: &RemotePeer, number: u32, sequence: u64) {
        let _ = match self.payload(number, sequence) {
            Piece::Text(text) => peer.send(Text(&text)),
            Piece::Binary(bytes) => peer.send(Binary(&bytes)),
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
        if bytes.len() != pattern.bytes_of(sequence) {
            return Verdict::Wrong;
        }
        if !self.wants(number, sequence) {
            return Verdict::Counted;
        }
        let right =
            message.kind() == pattern.kind() && bytes == pattern.payload(number, sequence).bytes();
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
                assert_eq!(payload.bytes(), other.payload(number, sequence).bytes());
                assert_eq!(payload.bytes().len(), 20);
                assert_ne!(payload.bytes(), one.payload(number, sequence.wrapping_add(1)).bytes());
                assert_ne!(payload.bytes(), one.payload(number + 1, sequence).bytes());
            }
        }
    }

    #[test]
    fn a_stamp_is_found_again_wherever_it_was_put() {
        let template = Template::parse("{connection} says {sequence}!");
        for pattern in [
            Pattern::new(MessageKind::Text, 16).stamped(),
            Pattern::new(MessageKind::Binary, 100).stamped(),
            Pattern::of_template(MessageKind::Text, template),
        ] {
            assert!(pattern.is_stamped());
            for sequence in [0, 1, 0xABCD, u64::MAX] {
                let payload = pattern.payload(3, sequence);
                assert_eq!(payload.bytes().len(), pattern.payload_bytes());
                assert_eq!(pattern.stamp_of(payload.bytes()), Some(sequence));
            }
            assert_eq!(pattern.stamp_of(b"no number here and there"), None);
            assert_eq!(pattern.stamp_of(b"short"), None);
        }
        assert!(!Pattern::new(MessageKind::Text, 15).stamped().is_stamped());
    }

    #[test]
    fn files_take_turns_and_one_that_is_no_text_makes_all_binary() {
        let files = |second: &[u8]| vec![b"one".to_vec(), second.to_vec()];
        let pattern = Pattern::of_files(MessageKind::Text, files(b"three"));
        assert_eq!(pattern.kind(), MessageKind::Text);
        assert_eq!((pattern.bytes_of(0), pattern.bytes_of(1), pattern.bytes_of(2)), (3, 5, 3));
        assert_eq!(pattern.payload(9, 5).bytes(), b"three");
        let pattern = Pattern::of_files(MessageKind::Text, files(&[0xFF]));
        assert_eq!(pattern.kind(), MessageKind::Binary);
    }

    #[test]
    fn text_is_printable_ascii_in_every_window() {
        let pattern = Pattern::new(MessageKind::Text, 100);
        for sequence in 0..WINDOWS as u64 {
            let payload = pattern.payload(3, sequence);
            assert!(payload.bytes().iter().all(|byte| (b' '..=b'~').contains(byte)));
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
            let mut bytes = pattern.payload(1, 2).bytes().to_vec();
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
        let mut bytes = pattern.payload(0, 0).bytes().to_vec();
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
