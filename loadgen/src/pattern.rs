//! What payloads are: known from a connection's number and a message's sequence number alone, so
//! that every byte of an echo can be checked and none needs to be remembered. They are written
//! elsewhere. Payloads that no user chose are windows into one run of pseudo-random bytes.

use ringsock::Message;
use ringsock::protocol::MessageKind;

use crate::stamp::{STAMP_BYTES, digits, number_of};
use crate::template::Template;

/// Windows begin at this many places; neighbouring messages and connections differ.
const WINDOWS: usize = 4096;

/// The payloads of one run.
#[derive(Debug)]
pub(crate) struct Pattern {
    kind: MessageKind,
    source: Source,
    /// Where each payload carries its sequence number.
    stamp_at: Option<usize>,
}

/// Where payloads come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// In text printable ASCII, so that a window may begin and end anywhere.
    Windows {
        run: Vec<u8>,
        payload_bytes: usize,
    },
    /// In turns.
    Files(Vec<Vec<u8>>),
    Template(Template),
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
            MessageKind::Text => (0..length).map(|_| b' ' + next() % 95).collect(),
            MessageKind::Binary => (0..length).map(|_| next()).collect(),
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
    pub(crate) fn numbered(mut self) -> Self {
        if let Source::Windows { payload_bytes, .. } = self.source
            && payload_bytes >= STAMP_BYTES
        {
            self.stamp_at = Some(0);
        }
        self
    }

    /// Whatever payloads carry, nobody is to look for a number in what comes back.
    pub(crate) fn unnumbered(mut self) -> Self {
        self.stamp_at = None;
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
            Source::Files(files) => files[file_at(files, sequence)].len(),
            _ => self.payload_bytes(),
        }
    }

    /// Text or binary.
    pub(crate) fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Where they come from.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Whether payloads carry their sequence number.
    pub(crate) fn is_numbered(&self) -> bool {
        self.stamp_at.is_some()
    }

    /// The sequence number that a payload carries, which most often is the expected one.
    #[inline]
    pub(crate) fn number_in(&self, payload: &[u8], expected: u64) -> Option<u64> {
        let stamp = payload.get(self.stamp_at?..)?.first_chunk()?;
        number_of(stamp, expected)
    }

    /// Whether this is the payload of message `sequence` on connection `number`, byte for byte.
    pub(crate) fn is_payload(&self, number: u32, sequence: u64, bytes: &[u8]) -> bool {
        match &self.source {
            Source::Windows { run, payload_bytes } => {
                let due = &run[window_at(number, sequence)..][..*payload_bytes];
                match (self.is_numbered(), bytes.split_first_chunk::<STAMP_BYTES>()) {
                    (true, Some((stamp, rest))) => {
                        *stamp == digits(sequence) && *rest == due[STAMP_BYTES..]
                    }
                    (true, None) => false,
                    (false, _) => bytes == due,
                }
            }
            Source::Files(files) => bytes == files[file_at(files, sequence)],
            Source::Template(template) => bytes == template.text(number, sequence).as_bytes(),
        }
    }
}

/// Which file message `sequence` is.
pub(crate) fn file_at(files: &[Vec<u8>], sequence: u64) -> usize {
    (sequence % files.len() as u64) as usize
}

/// Where the window of message `sequence` on connection `number` begins.
#[inline]
pub(crate) fn window_at(number: u32, sequence: u64) -> usize {
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
        let right = message.kind() == pattern.kind() && pattern.is_payload(number, sequence, bytes);
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
    use crate::composer::Composer;
    use ringsock::Outgoing;
    use ringsock::buffer::Payload;

    fn payload(pattern: &Pattern, number: u32, sequence: u64) -> Vec<u8> {
        Composer::new(pattern).letter(pattern, number, sequence).bytes().to_vec()
    }

    #[test]
    fn files_take_turns_and_one_that_is_no_text_makes_all_binary() {
        let files = |second: &[u8]| vec![b"one".to_vec(), second.to_vec()];
        let pattern = Pattern::of_files(MessageKind::Text, files(b"three"));
        assert_eq!(pattern.kind(), MessageKind::Text);
        assert_eq!((pattern.bytes_of(0), pattern.bytes_of(1), pattern.bytes_of(2)), (3, 5, 3));
        assert_eq!(payload(&pattern, 9, 5), b"three");
        let pattern = Pattern::of_files(MessageKind::Text, files(&[0xFF]));
        assert_eq!(pattern.kind(), MessageKind::Binary);
    }

    #[test]
    fn a_number_is_found_again_wherever_it_was_put() {
        let template = Template::parse("{connection} says {sequence}!");
        for pattern in [
            Pattern::new(MessageKind::Text, 16).numbered(),
            Pattern::new(MessageKind::Binary, 100).numbered(),
            Pattern::of_template(MessageKind::Text, template.clone()),
        ] {
            assert!(pattern.is_numbered());
            for sequence in [0, 1, 0xABCD, u64::MAX] {
                let payload = payload(&pattern, 3, sequence);
                assert_eq!(payload.len(), pattern.payload_bytes());
                assert_eq!(pattern.number_in(&payload, 1), Some(sequence));
            }
            assert_eq!(pattern.number_in(b"no number here and there", 0), None);
            assert_eq!(pattern.number_in(b"short", 0), None);
        }
        assert!(!Pattern::new(MessageKind::Text, 15).numbered().is_numbered());
        assert!(!Pattern::of_template(MessageKind::Text, template).unnumbered().is_numbered());
    }

    #[test]
    fn one_changed_byte_is_found_where_bytes_are_compared() {
        let generated = || Pattern::new(MessageKind::Binary, 1000);
        for pattern in [generated(), generated().numbered()] {
            for flaw in [None, Some(0), Some(16), Some(999)] {
                let mut bytes = payload(&pattern, 1, 2);
                if let Some(at) = flaw {
                    bytes[at] ^= 1;
                }
                let message = Message::new(MessageKind::Binary, Payload::from(&mut bytes[..]));
                let found = if flaw.is_none() { Verdict::Compared } else { Verdict::Wrong };
                assert_eq!(Verify::None.judge(&pattern, 1, 2, &message), Verdict::Counted);
                assert_eq!(Verify::All.judge(&pattern, 1, 2, &message), found);
            }
        }
    }

    #[test]
    fn a_wrong_length_or_kind_is_wrong() {
        let pattern = Pattern::new(MessageKind::Binary, 4);
        let mut bytes = [0; 3];
        let short = Message::new(MessageKind::Binary, Payload::from(&mut bytes[..]));
        assert_eq!(Verify::None.judge(&pattern, 0, 0, &short), Verdict::Wrong);
        let mut bytes = payload(&pattern, 0, 0);
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
