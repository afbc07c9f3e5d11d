//! Payloads made from a text with places for numbers. Every number has a fixed width, so that all
//! payloads of a template are equally long and a number is found where it was put.

use std::fmt::Write;

use crate::stamp::STAMP_BYTES;

/// A text with places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
    bytes: usize,
    stamp_at: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The connection's number, 8 decimal digits.
    Connection,
    /// The message's number, 16 hexadecimal digits.
    Sequence,
}

impl Template {
    /// Reads a template: `{connection}` and `{sequence}` are places, everything else is text. Other
    /// braces stay what they are, so JSON needs no care.
    pub(crate) fn parse(text: &str) -> Self {
        let (mut parts, mut rest, mut bytes, mut stamp_at) = (Vec::new(), text, 0, None);
        while let Some((at, place, width, part)) = next_place(rest) {
            bytes += at;
            if part == Part::Sequence && stamp_at.is_none() {
                stamp_at = Some(bytes);
            }
            bytes += width;
            parts.push(Part::Text(rest[..at].to_owned()));
            parts.push(part);
            rest = &rest[at + place.len()..];
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Self { parts, bytes: bytes + rest.len(), stamp_at }
    }

    /// Bytes of every payload.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the message's number stands, if it does.
    pub(crate) fn stamp_at(&self) -> Option<usize> {
        self.stamp_at
    }

    /// The payload of message `sequence` on connection `number`.
    pub(crate) fn text(&self, number: u32, sequence: u64) -> String {
        let mut text = String::with_capacity(self.bytes);
        self.write(&mut text, number, sequence);
        text
    }

    /// Writes that payload behind what is there.
    pub(crate) fn write(&self, text: &mut String, number: u32, sequence: u64) {
        for part in &self.parts {
            // Writing to a string does not fail.
            let _ = match part {
                Part::Text(part) => text.write_str(part),
                Part::Connection => write!(text, "{:08}", number % 100_000_000),
                Part::Sequence => write!(text, "{sequence:016x}"),
            };
        }
    }
}

/// The first place in a text: where, its spelling, its width and what it is.
fn next_place(text: &str) -> Option<(usize, &'static str, usize, Part)> {
    let places =
        [("{connection}", 8, Part::Connection), ("{sequence}", STAMP_BYTES, Part::Sequence)];
    let found = places
        .into_iter()
        .filter_map(|(place, width, part)| Some((text.find(place)?, place, width, part)));
    found.min_by_key(|(at, ..)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_other_braces_stay() {
        let template = Template::parse(r#"{"user":"{connection}","id":"{sequence}","x":{}}"#);
        let text = template.text(7, 255);
        assert_eq!(text, r#"{"user":"00000007","id":"00000000000000ff","x":{}}"#);
        assert_eq!(template.bytes(), text.len());
        let at = template.stamp_at().unwrap();
        assert_eq!(&text[at..at + STAMP_BYTES], "00000000000000ff");
    }

    #[test]
    fn a_text_without_places_is_itself() {
        let template = Template::parse("hello");
        assert_eq!((template.text(1, 2).as_str(), template.bytes()), ("hello", 5));
        assert_eq!(template.stamp_at(), None);
        assert_eq!(Template::parse("").bytes(), 0);
    }
}
