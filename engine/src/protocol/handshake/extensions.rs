//! Reads `Sec-WebSocket-Extensions` (RFC 6455 section 9.1). This module knows no extension and
//! accepts none: it yields what was offered. Time is linear in the length of the header.

use std::borrow::Cow;

use super::tokens::{EMPTY_ELEMENTS_MAX, is_token, is_token_byte, trim};

/// One extension as offered: a name and parameters, in the order sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionOffer<'h> {
    name: &'h str,
    params: &'h str,
}

impl<'h> ExtensionOffer<'h> {
    /// The extension's name, as sent.
    pub fn name(&self) -> &'h str {
        self.name
    }

    /// The parameters: a name, and a value if one was given (quotes removed, escapes resolved).
    /// A value is a token, or empty if sent as `""`.
    pub fn params(&self) -> impl Iterator<Item = (&'h str, Option<Cow<'h, str>>)> + use<'h> {
        let mut rest = self.params;
        std::iter::from_fn(move || {
            let (param, after) = parse_param(rest)?;
            rest = after;
            Some(param)
        })
    }
}

/// A parameter's name and value.
type Param<'h> = (&'h str, Option<Cow<'h, str>>);

/// The offers of one header line. A malformed rest of the line yields `Err` once, then nothing.
pub(super) fn offers(line: &str) -> impl Iterator<Item = Result<ExtensionOffer<'_>, Malformed>> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        loop {
            let text = trim_start(rest.take()?);
            if let Some(after) = text.strip_prefix(',') {
                rest = Some(after);
                continue;
            }
            if text.is_empty() {
                return None;
            }
            return Some(match parse_offer(text) {
                Some((offer, after)) => {
                    rest = after.strip_prefix(',');
                    Ok(offer)
                }
                None => Err(Malformed),
            });
        }
    })
}

/// The header does not have the form of section 9.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Whether every line has the form of section 9.1 and together they offer something. A few empty
/// list elements are tolerated.
pub(super) fn check<'h>(lines: impl Iterator<Item = &'h [u8]>) -> Result<(), Malformed> {
    let mut empty_elements = 0;
    for line in lines {
        let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
        empty_elements += line.split(',').filter(|part| trim(part.as_bytes()).is_empty()).count();
        let mut found = false;
        for offer in offers(line) {
            offer?;
            found = true;
        }
        if !found || empty_elements > EMPTY_ELEMENTS_MAX {
            return Err(Malformed);
        }
    }
    Ok(())
}

/// `extension = token *( ";" param )`, up to a comma or the end of the line.
fn parse_offer(text: &str) -> Option<(ExtensionOffer<'_>, &str)> {
    let (name, params) = take_token(text)?;
    let mut rest = trim_start(params);
    while rest.starts_with(';') {
        (_, rest) = parse_param(rest)?;
    }
    let ended = rest.is_empty() || rest.starts_with(',');
    let params = &params[..params.len() - rest.len()];
    ended.then_some((ExtensionOffer { name, params }, rest))
}

/// `";" token [ "=" ( token | quoted-string ) ]`, and the blanks after it.
fn parse_param(text: &str) -> Option<(Param<'_>, &str)> {
    let text = trim_start(trim_start(text).strip_prefix(';')?);
    let (name, rest) = take_token(text)?;
    let rest = trim_start(rest);
    let Some(value) = rest.strip_prefix('=') else {
        return Some(((name, None), rest));
    };
    let value = trim_start(value);
    let (value, rest) = match value.strip_prefix('"') {
        Some(quoted) => take_quoted(quoted)?,
        None => take_token(value).map(|(value, rest)| (Cow::Borrowed(value), rest))?,
    };
    Some(((name, Some(value)), trim_start(rest)))
}

/// The content of a quoted string and what follows the closing quote. Section 9.1 wants the
/// content to be a token; the empty one is let through, since RFC 7692 section 7.1.2 has a
/// parameter with a value it does not allow declined, and not the whole handshake refused.
fn take_quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text.as_bytes()[end] == b'"' {
        let content = &text[..end];
        let fits = content.is_empty() || is_token(content.as_bytes());
        return fits.then_some((Cow::Borrowed(content), &text[end + 1..]));
    }
    let mut content = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        let character = match character {
            '"' => return Some((Cow::Owned(content), &text[at + 1..])),
            '\\' => characters.next()?.1,
            _ => character,
        };
        if !u8::try_from(character).is_ok_and(is_token_byte) {
            return None;
        }
        content.push(character);
    }
    None
}

fn take_token(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// The extensions of one header value, for tests elsewhere.
#[cfg(test)]
pub(crate) fn read_extensions(line: &str) -> impl Iterator<Item = ExtensionOffer<'_>> {
    offers(line).filter_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes offers back in one canonical form: `name;param=value;flag`.
    fn read(line: &str) -> Result<Vec<String>, Malformed> {
        check([line.as_bytes()].into_iter())?;
        offers(line)
            .map(|offer| {
                let offer = offer?;
                let params = offer.params().map(|(name, value)| match value {
                    Some(value) => format!(";{name}={value}"),
                    None => format!(";{name}"),
                });
                Ok(offer.name().to_owned() + &params.collect::<String>())
            })
            .collect()
    }

    #[test]
    fn offers_are_read_with_their_parameters_in_order() {
        for (line, expected) in [
            ("foo", &["foo"][..]),
            (
                "permessage-deflate; client_max_window_bits",
                &["permessage-deflate;client_max_window_bits"],
            ),
            ("a;x=1 ; y = \"2\" , b", &["a;x=1;y=2", "b"]),
            ("a; x=\"\\1\\2\"", &["a;x=12"]),
            ("a; x=\"\"", &["a;x="]),
            ("a,,b", &["a", "b"]),
            ("a; x; x", &["a;x;x"]),
        ] {
            let expected: Vec<_> = expected.iter().map(|&offer| offer.to_owned()).collect();
            assert_eq!(read(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_does_not_follow_the_grammar_is_malformed() {
        for line in [
            "",
            ",",
            ";",
            "=x",
            "a;",
            "a;=x",
            "a; b=",
            "a; b=\"",
            "a; b=\"\\c\\c\\c",
            "a; b=\"c\\",
            "a b",
            "a; b c",
            "a; b=c d",
            "a; b=\"c d\"",
            "a; b=\"c\"d",
            "a; b=\"\\ \"",
            "a/b",
            "\u{e9}",
            "a; b=\"\u{e9}\"",
            "a,,,,,,,,,,b",
        ] {
            assert_eq!(read(line), Err(Malformed), "{line:?}");
        }
    }

    #[test]
    fn every_offer_before_a_malformed_one_is_still_yielded_and_none_after() {
        let results: Vec<_> = offers("a, b c, d").map(|offer| offer.map(|o| o.name)).collect();
        assert_eq!(results, [Ok("a"), Err(Malformed)]);
    }
}
