//! UTF-8 validation of text messages and close reasons (RFC 6455 section 8.1).
//!
//! This file keeps no bytes: between two pieces of a message it remembers only which bytes may
//! come next. The bulk of a piece goes through `simdutf8`; the bytes of a code point that is cut
//! by the end of a piece are stepped through one by one, so that the first byte that cannot
//! belong to any valid text is refused at once, not when its code point is complete.

use std::fmt;

/// Below this many bytes a look for ASCII, by far the most common, and then the validation of the
/// standard library are quicker than `simdutf8`, which has nothing to fill its vectors with.
const SIMD_BYTES_MIN: usize = 64;

/// Whether `bytes` as a whole are valid UTF-8.
#[inline]
pub fn validate(bytes: &[u8]) -> bool {
    if bytes.len() < SIMD_BYTES_MIN {
        bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
    } else {
        simdutf8::basic::from_utf8(bytes).is_ok()
    }
}

/// A byte that cannot belong to valid UTF-8, given all the bytes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utf8Error {
    /// Where the byte is, in bytes from the start of the piece that was pushed.
    pub offset: usize,
}

impl fmt::Display for Utf8Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "byte {} cannot belong to valid UTF-8", self.offset)
    }
}

impl std::error::Error for Utf8Error {}

/// Validation of a text that arrives in pieces, cut anywhere.
///
/// ```
/// use ringsock::simd::Utf8Stream;
///
/// let mut text = Utf8Stream::default();
/// text.push(b"caf\xc3").unwrap();
/// assert!(!text.is_complete());
/// text.push(b"\xa9").unwrap();
/// assert!(text.is_complete());
/// assert_eq!(text.push(b"!\xed\xa0").unwrap_err().offset, 2); // a surrogate begins
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utf8Stream {
    /// Continuation bytes the open code point still needs, 0 to 3.
    needed: u8,
    /// The next continuation byte lies in `lowest..=highest`; narrower than 80..=BF only right
    /// after a lead byte that could begin an overlong form, a surrogate, or too large a number.
    lowest: u8,
    highest: u8,
}

impl Default for Utf8Stream {
    fn default() -> Self {
        Self::after_lead(0, CONTINUATION_LOWEST, CONTINUATION_HIGHEST)
    }
}

const CONTINUATION_LOWEST: u8 = 0x80;
const CONTINUATION_HIGHEST: u8 = 0xBF;

impl Utf8Stream {
    /// Takes the next piece of the text.
    ///
    /// # Errors
    /// [`Utf8Error`] with the offset of the first byte after which no continuation could make the
    /// text valid. The stream is then of no further use.
    #[inline]
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Utf8Error> {
        let mut begin = 0;
        while self.needed > 0 {
            let Some(&byte) = piece.get(begin) else { return Ok(()) };
            self.step(byte).ok_or(Utf8Error { offset: begin })?;
            begin += 1;
        }
        let end = piece.len() - open_bytes_at_end(&piece[begin..]);
        if !validate(&piece[begin..end]) {
            return Err(first_bad_byte(piece, begin));
        }
        for (offset, &byte) in piece.iter().enumerate().skip(end) {
            self.step(byte).ok_or(Utf8Error { offset })?;
        }
        Ok(())
    }

    /// Whether the text may end here: no code point is open.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.needed == 0
    }

    /// Takes one byte, `None` if it is refused.
    #[inline]
    fn step(&mut self, byte: u8) -> Option<()> {
        if self.needed > 0 {
            if !(self.lowest..=self.highest).contains(&byte) {
                return None;
            }
            *self = Self::after_lead(self.needed - 1, CONTINUATION_LOWEST, CONTINUATION_HIGHEST);
            return Some(());
        }
        // The rows of table 3-7 of the Unicode standard, "well-formed UTF-8 byte sequences".
        *self = match byte {
            0x00..=0x7F => Self::default(),
            0xC2..=0xDF => Self::after_lead(1, 0x80, 0xBF),
            0xE0 => Self::after_lead(2, 0xA0, 0xBF),
            0xED => Self::after_lead(2, 0x80, 0x9F),
            0xE1..=0xEF => Self::after_lead(2, 0x80, 0xBF),
            0xF0 => Self::after_lead(3, 0x90, 0xBF),
            0xF1..=0xF3 => Self::after_lead(3, 0x80, 0xBF),
            0xF4 => Self::after_lead(3, 0x80, 0x8F),
            _ => return None,
        };
        Some(())
    }

    fn after_lead(needed: u8, lowest: u8, highest: u8) -> Self {
        Self { needed, lowest, highest }
    }
}

/// How many bytes at the end of `bytes` (0 to 3) are the beginning of a code point whose
/// remaining bytes are not there. Whether they are valid is not judged.
#[inline]
fn open_bytes_at_end(bytes: &[u8]) -> usize {
    for (before, &byte) in bytes.iter().rev().take(3).enumerate() {
        let present = before + 1;
        match byte {
            0x80..=0xBF => {}
            0xC0..=0xDF if present < 2 => return present,
            0xE0..=0xEF if present < 3 => return present,
            0xF0..=0xFF if present < 4 => return present,
            _ => return 0,
        }
    }
    0
}

/// The first refused byte of a piece that is known to hold one. Its code point begins at
/// `begin` or later.
#[cold]
fn first_bad_byte(piece: &[u8], begin: usize) -> Utf8Error {
    let valid = std::str::from_utf8(&piece[begin..]).map_or_else(|e| e.valid_up_to(), str::len);
    let mut stream = Utf8Stream::default();
    let refused = (begin + valid..piece.len()).find(|&at| stream.step(piece[at]).is_none());
    Utf8Error { offset: refused.unwrap_or(piece.len()) }
}
