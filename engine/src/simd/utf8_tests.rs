//! UTF-8 validation against the standard library and against an oracle that enumerates what may
//! follow a prefix.

use super::{Utf8Error, Utf8Stream, validate};

/// Texts and almost-texts around every border of the encoding.
const TRICKY: &[&[u8]] = &[
    b"",
    b"plain ASCII",
    b"\x00\x7F",
    "é߿ࠀ퟿￿𐀀􏿿".as_bytes(),
    "κόσμε ☃ 🚀 end".as_bytes(),
    b"\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xEF\xBF\xBF \xF0\x90\x80\x80 \xF4\x8F\xBF\xBF",
    b"lone continuation \x80",
    b"lone continuation \xBF!",
    b"\xC0\x80",
    b"\xC1\xBF",
    b"\xC2",
    b"\xC2A",
    b"\xC2\xC2\x80",
    b"\xE0\x9F\xBF",
    b"\xE0\xA0",
    b"\xE1\x80",
    b"\xE1\x80\xC0",
    b"\xED\x9F\xBF\xED\xA0\x80",
    b"\xED\xBF\xBF",
    b"\xEE\x80\x80\xEF\xBF",
    b"\xF0\x8F\xBF\xBF",
    b"\xF0\x90\x80",
    b"\xF3\xBF\xBF\xBF\xF4",
    b"\xF4\x8F\xBF\xBF\xF4\x90\x80\x80",
    b"\xF5\x80\x80\x80",
    b"\xF8\x88\x80\x80\x80",
    b"\xFC\x84\x80\x80\x80\x80",
    b"\xFE\xFF",
    b"\xFF",
    b"\xF0\x9F\x9A",
    b"\xF0\x9F\x9A\x80\x80",
];

/// Where the first byte is that no continuation can make valid, found by trying them: a prefix
/// is fine if it is valid, or becomes so with some completion of up to three bytes.
fn first_bad_byte(bytes: &[u8]) -> Option<usize> {
    const COMPLETIONS: &[&[u8]] =
        &[b"", b"\x80", b"\xA0\x80", b"\x80\x80", b"\x90\x80\x80", b"\x80\x80\x80"];
    let is_prefix = |prefix: &[u8]| {
        COMPLETIONS.iter().any(|rest| std::str::from_utf8(&[prefix, rest].concat()).is_ok())
    };
    (0..bytes.len()).find(|&at| !is_prefix(&bytes[..=at]))
}

/// Pushes `bytes` cut at `cuts`; the offset of the refused byte counts from the start of all.
fn push_in_pieces(bytes: &[u8], cuts: &[usize]) -> Result<Utf8Stream, usize> {
    let mut stream = Utf8Stream::default();
    let mut begin = 0;
    for &end in cuts.iter().chain([&bytes.len()]) {
        stream.push(&bytes[begin..end]).map_err(|Utf8Error { offset }| begin + offset)?;
        begin = end;
    }
    Ok(stream)
}

fn check(bytes: &[u8], cuts: &[usize]) {
    let result = push_in_pieces(bytes, cuts);
    assert_eq!(
        result.err(),
        first_bad_byte(bytes),
        "first refused byte of {bytes:02X?} cut at {cuts:?}"
    );
    let complete = result.is_ok_and(|stream| stream.is_complete());
    assert_eq!(complete, std::str::from_utf8(bytes).is_ok(), "{bytes:02X?} cut at {cuts:?}");
}

#[test]
fn every_way_to_cut_a_tricky_text_in_three_gives_the_same_verdict() {
    for bytes in TRICKY {
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                check(bytes, &[first, second]);
            }
        }
    }
}

#[test]
fn every_tricky_text_byte_by_byte_gives_the_same_verdict() {
    for bytes in TRICKY {
        let cuts: Vec<usize> = (0..bytes.len()).collect();
        check(bytes, &cuts);
    }
}

#[test]
fn a_tricky_text_behind_a_long_one_is_found() {
    for length in [1, 31, 32, 63, 64, 65, 127, 128, 200] {
        for filler in ["a", "é", "€", "🚀"] {
            for tail in TRICKY {
                let bytes = [filler.repeat(length).as_bytes(), tail].concat();
                check(&bytes, &[]);
                check(&bytes, &[bytes.len() - tail.len()]);
                check(&[&bytes, filler.repeat(70).as_bytes()].concat(), &[]);
                assert_eq!(validate(&bytes), std::str::from_utf8(&bytes).is_ok());
            }
        }
    }
}

#[test]
fn all_sequences_of_two_bytes_give_the_verdict_of_the_standard_library() {
    for first in 0..=255 {
        for second in 0..=255 {
            check(&[first, second], &[]);
            check(&[first, second], &[1]);
        }
    }
}

#[test]
fn all_code_points_are_valid_and_their_prefixes_open() {
    let mut stream = Utf8Stream::default();
    for code_point in ('\u{0}'..=char::MAX).step_by(7).chain([char::MAX]) {
        let mut buffer = [0; 4];
        let bytes = code_point.encode_utf8(&mut buffer).as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            assert_eq!(stream.push(&[*byte]), Ok(()), "U+{:X}", u32::from(code_point));
            assert_eq!(stream.is_complete(), at + 1 == bytes.len());
        }
    }
}

#[test]
fn a_piece_that_ends_in_a_hopeless_code_point_fails_at_its_first_hopeless_byte() {
    for (piece, offset) in [
        (&b"ab\xF4\x90"[..], 3),
        (b"ab\xED\xA0", 3),
        (b"ab\xE0\x9F", 3),
        (b"ab\xF0\x8F", 3),
        (b"ab\xC1", 2),
        (b"ab\xF5", 2),
    ] {
        assert_eq!(Utf8Stream::default().push(piece), Err(Utf8Error { offset }), "{piece:02X?}");
    }
}

#[test]
fn random_bytes_cut_anywhere_give_the_verdict_of_the_oracle() {
    let mut random = Random(0x5EED_0001);
    for _ in 0..20_000 {
        let bytes = random.almost_text();
        let mut cuts = [random.below(bytes.len() + 1), random.below(bytes.len() + 1)];
        cuts.sort_unstable();
        check(&bytes, &cuts);
        assert_eq!(validate(&bytes), std::str::from_utf8(&bytes).is_ok(), "{bytes:02X?}");
    }
}

#[test]
fn the_state_between_pieces_is_small() {
    assert!(size_of::<Utf8Stream>() <= 8);
}

/// Marsaglia's xorshift: enough to vary tests, and the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    /// Valid text of up to 40 code points in which one byte in a while is changed or left out.
    fn almost_text(&mut self) -> Vec<u8> {
        let alphabet = [
            'a',
            '\u{7F}',
            '\u{80}',
            'é',
            '\u{7FF}',
            '\u{800}',
            '€',
            '\u{D7FF}',
            '\u{E000}',
            '\u{FFFF}',
            '\u{10000}',
            '🚀',
            '\u{10FFFF}',
        ];
        let count = self.below(41);
        let text: String = (0..count).map(|_| alphabet[self.below(alphabet.len())]).collect();
        let mut bytes = text.into_bytes();
        while !bytes.is_empty() && self.below(3) == 0 {
            let at = self.below(bytes.len());
            match self.below(3) {
                0 => bytes[at] = self.below(256) as u8,
                1 => bytes.truncate(at),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    }
}
