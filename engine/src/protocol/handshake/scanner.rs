//! Finds the end of a head. This module keeps no bytes and looks at none twice: the caller shows
//! it each piece once, and what cannot become a valid head is refused at the first byte that
//! says so. What the lines mean is not its business.

use super::limits::{HEADER_LINES_CAP, HandshakeLimits};
use super::rejection::Rejection;
use super::status::Status;
use super::tokens::{is_token_byte, is_value_byte};

/// Longest method worth comparing; the longest registered one (`UPDATEREDIRECTREF`) has 17 bytes.
const METHOD_BYTES_MAX: u32 = 32;

/// `HTTP/1.1`.
const VERSION_BYTES: u32 = 8;

/// First byte of a TLS record that carries a handshake message (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Scanner of one head, of a request or of a response; it may be copied and kept for as long as
/// the head takes to arrive.
///
/// The bounds and the grammar of lines (RFC 9112 sections 2.2, 3 and 5) are checked here: CRLF
/// ends every line, a name is a token directly before its colon, no line continues another, and
/// no control character stands anywhere. One empty line before a request line is skipped.
#[derive(Clone, Copy, Debug)]
pub struct HeadScanner {
    head_bytes: u32,
    part_bytes: u32,
    header_lines: u16,
    part: Part,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Start,
    LeadingLineFeed,
    Method,
    Target,
    Version,
    StatusLine,
    LineFeed,
    LineStart,
    Name,
    Value,
    LastLineFeed,
    End,
}

impl HeadScanner {
    /// A scanner at the first byte of a request.
    pub const fn new() -> Self {
        Self { head_bytes: 0, part_bytes: 0, header_lines: 0, part: Part::Start }
    }

    /// A scanner at the first byte of a response.
    pub const fn for_response() -> Self {
        Self { part: Part::StatusLine, ..Self::new() }
    }

    /// Whether any byte was seen: tells an idle connection from a slow head.
    pub const fn has_begun(&self) -> bool {
        self.head_bytes > 0
    }

    /// Looks at bytes not shown before. `Some(n)`: the head ends after the first `n` of them,
    /// what follows is not part of it. `None`: all of them belong to a head that goes on.
    ///
    /// # Errors
    ///
    /// The rejection to answer with: 400 for what is not HTTP/1.1 syntax, 414, 431 or 501 for a
    /// part that is too long. The result does not depend on how the bytes were cut. After an
    /// error or an end the scanner is used up.
    pub fn scan(
        &mut self,
        new_bytes: &[u8],
        limits: &HandshakeLimits,
    ) -> Result<Option<usize>, Rejection> {
        let head_bytes_max = u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX);
        let room_bytes = head_bytes_max.saturating_sub(self.head_bytes) as usize;
        let window = &new_bytes[..room_bytes.min(new_bytes.len())];
        let mut rest = window;
        while let Some(&first) = rest.first() {
            rest = match self.part {
                Part::Method => self.scan_method(rest)?,
                Part::Target => self.scan_target(rest, limits)?,
                Part::Version => self.scan_version(rest)?,
                Part::Name => self.scan_name(rest)?,
                Part::Value | Part::StatusLine => self.scan_value(rest)?,
                _ => self.scan_mark(first, rest, limits)?,
            };
            if self.part == Part::End {
                return Ok(Some(window.len() - rest.len()));
            }
        }
        self.head_bytes += window.len() as u32;
        if window.len() < new_bytes.len() {
            return Err(Rejection::new(
                Status::HEADER_FIELDS_TOO_LARGE,
                format!("the head is longer than {head_bytes_max} bytes"),
            ));
        }
        Ok(None)
    }

    fn enter(&mut self, part: Part) {
        self.part = part;
        self.part_bytes = 0;
    }

    /// The single bytes at the borders of lines.
    fn scan_mark<'b>(
        &mut self,
        first: u8,
        rest: &'b [u8],
        limits: &HandshakeLimits,
    ) -> Result<&'b [u8], Rejection> {
        match (self.part, first) {
            (Part::Start, b'\r') => self.enter(Part::LeadingLineFeed),
            (Part::Start, TLS_HANDSHAKE) => {
                return Err(Rejection::bad_request(
                    "this port speaks plain HTTP, not TLS: use ws:// and http://",
                ));
            }
            (Part::LeadingLineFeed, b'\n') => self.enter(Part::Method),
            (Part::LineFeed, b'\n') => self.enter(Part::LineStart),
            (Part::LastLineFeed, b'\n') => self.enter(Part::End),
            (Part::LeadingLineFeed | Part::LineFeed | Part::LastLineFeed, _) => {
                return Err(Rejection::bad_request("a carriage return without a line feed"));
            }
            (Part::LineStart, b'\r') => self.enter(Part::LastLineFeed),
            (Part::LineStart, b' ' | b'\t') => {
                return Err(Rejection::bad_request(
                    "a line begins with a blank: header lines cannot be continued",
                ));
            }
            (Part::LineStart, _) => {
                self.count_header_line(limits)?;
                self.enter(Part::Name);
                return Ok(rest);
            }
            // The first byte of a method is looked at again, as part of it.
            _ => {
                self.enter(Part::Method);
                return Ok(rest);
            }
        }
        Ok(&rest[1..])
    }

    fn count_header_line(&mut self, limits: &HandshakeLimits) -> Result<(), Rejection> {
        let lines_max = limits.header_lines_max.min(HEADER_LINES_CAP);
        if usize::from(self.header_lines) >= lines_max {
            return Err(too_many_header_lines(lines_max));
        }
        self.header_lines += 1;
        Ok(())
    }

    fn scan_method<'b>(&mut self, rest: &'b [u8]) -> Result<&'b [u8], Rejection> {
        let (length, stop) = self.take_run(rest, |bytes| run_of(bytes, is_token_byte));
        if self.part_bytes > METHOD_BYTES_MAX {
            return Err(Rejection::new(
                Status::NOT_IMPLEMENTED,
                "the method is not known: use GET",
            ));
        }
        match stop {
            None => Ok(&[]),
            Some(b' ') if self.part_bytes > 0 => {
                self.enter(Part::Target);
                Ok(&rest[length + 1..])
            }
            Some(_) => Err(Rejection::bad_request("the request line does not begin with a method")),
        }
    }

    fn scan_target<'b>(
        &mut self,
        rest: &'b [u8],
        limits: &HandshakeLimits,
    ) -> Result<&'b [u8], Rejection> {
        let (length, stop) = self.take_run(rest, |bytes| {
            run_of_wide(bytes, |byte| byte.wrapping_sub(0x21) <= 0x7e - 0x21)
        });
        if self.part_bytes as usize > limits.target_bytes_max {
            return Err(Rejection::new(
                Status::URI_TOO_LONG,
                format!("the request target is longer than {} bytes", limits.target_bytes_max),
            ));
        }
        match stop {
            None => Ok(&[]),
            Some(b' ') if self.part_bytes > 0 => {
                self.enter(Part::Version);
                Ok(&rest[length + 1..])
            }
            Some(b' ') => Err(Rejection::bad_request("two spaces before the request target")),
            Some(b'\r' | b'\n') => Err(Rejection::bad_request(
                "the request line has no HTTP version: send METHOD target HTTP/1.1",
            )),
            Some(_) => Err(Rejection::bad_request(
                "a character of the request target is not visible ASCII: percent-encode it",
            )),
        }
    }

    fn scan_version<'b>(&mut self, rest: &'b [u8]) -> Result<&'b [u8], Rejection> {
        let (length, stop) =
            self.take_run(rest, |bytes| run_of(bytes, |byte| byte.is_ascii_graphic()));
        let fits = match stop {
            None => self.part_bytes <= VERSION_BYTES,
            Some(byte) => self.part_bytes == VERSION_BYTES && byte == b'\r',
        };
        if !fits {
            return Err(Rejection::bad_request(
                "the request line does not end in HTTP/1.1, CR, LF",
            ));
        }
        if stop.is_none() {
            return Ok(&[]);
        }
        self.enter(Part::LineFeed);
        Ok(&rest[length + 1..])
    }

    fn scan_name<'b>(&mut self, rest: &'b [u8]) -> Result<&'b [u8], Rejection> {
        let (length, stop) = self.take_run(rest, |bytes| run_of(bytes, is_token_byte));
        let detail = match stop {
            None => return Ok(&[]),
            Some(b':') if self.part_bytes > 0 => {
                self.enter(Part::Value);
                return Ok(&rest[length + 1..]);
            }
            Some(b':') => "a header line has no name",
            Some(b' ' | b'\t') => "a header name is followed by a blank instead of its colon",
            Some(b'\r' | b'\n') => "a header line has no colon",
            Some(_) => "a character does not belong in a header name",
        };
        Err(Rejection::bad_request(detail))
    }

    fn scan_value<'b>(&mut self, rest: &'b [u8]) -> Result<&'b [u8], Rejection> {
        let (length, stop) = self.take_run(rest, |bytes| run_of_wide(bytes, is_value_byte));
        match stop {
            None => Ok(&[]),
            Some(b'\r') => {
                self.enter(Part::LineFeed);
                Ok(&rest[length + 1..])
            }
            Some(b'\n') => {
                Err(Rejection::bad_request("a line ends in a line feed alone: send CR, LF"))
            }
            Some(_) => Err(Rejection::bad_request("a control character in a header line")),
        }
    }

    /// Counts the run of allowed bytes into the current part: its length and the byte after it.
    fn take_run(&mut self, rest: &[u8], run: impl Fn(&[u8]) -> usize) -> (usize, Option<u8>) {
        let length = run(rest);
        self.part_bytes += length as u32;
        (length, rest.get(length).copied())
    }
}

impl Default for HeadScanner {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) fn too_many_header_lines(lines_max: usize) -> Rejection {
    Rejection::new(
        Status::HEADER_FIELDS_TOO_LARGE,
        format!("the head has more than {lines_max} header lines"),
    )
}

/// How many bytes at the start are allowed.
fn run_of(bytes: &[u8], allowed: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !allowed(byte)).unwrap_or(bytes.len())
}

/// [`run_of`] for runs that tend to be long: whole blocks are judged without a branch a byte,
/// which the compiler turns into vector instructions when `allowed` is made of comparisons.
fn run_of_wide(bytes: &[u8], allowed: impl Fn(u8) -> bool) -> usize {
    let (blocks, _) = bytes.as_chunks::<16>();
    let clean = |block: &&[u8; 16]| block.iter().fold(true, |all, &byte| all & allowed(byte));
    let start = blocks.iter().take_while(clean).count() * 16;
    start + run_of(&bytes[start..], allowed)
}
