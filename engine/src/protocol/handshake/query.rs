//! Percent-decoding of query strings and checks of paths. This module does not route, and it
//! never changes a path: what it cannot vouch for is refused.

use std::borrow::Cow;

/// The first value of `name` in a query string, decoded; a name without `=` has the empty value.
/// `None` also when the decoded value is not UTF-8.
pub(super) fn find<'h>(query_string: &'h str, name: &str) -> Option<Cow<'h, str>> {
    query_string
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| decode(key).is_some_and(|key| key == name))
        .and_then(|(_, value)| decode(value))
}

/// Decodes `%XX` and `+` (a space); a `%` without two hexadecimal digits stands for itself, as
/// browsers treat it.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    decode_with(text, b' ')
}

/// Decodes `%XX` in a part of a path, where a `+` is a plus sign.
pub(super) fn decode_segment(text: &str) -> Option<Cow<'_, str>> {
    decode_with(text, b'+')
}

fn decode_with(text: &str, plus: u8) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| byte == b'%' || (byte == b'+' && plus != b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match byte {
            b'+' => (plus, after),
            b'%' => escaped(after).unwrap_or((byte, after)),
            _ => (byte, after),
        };
        decoded.push(byte);
        rest = after;
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// The byte that two hexadecimal digits stand for, and what follows them.
fn escaped(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], rest) = digits.split_first_chunk::<2>()?;
    let value = |digit: u8| char::from(digit).to_digit(16);
    Some(((value(high)? * 16 + value(low)?) as u8, rest))
}

/// Checks a path (starting with `/`): every `%` begins an escape, none of them is a NUL, and no
/// segment is `.` or `..`, however it is spelled. Clients resolve such segments before they send
/// (RFC 3986 section 5.2.4); one that arrives is an attempt to name what the routes do not offer.
pub(super) fn check_path(path: &str) -> Result<(), &'static str> {
    let suspicious = path.contains('%') || path.contains("/.") || path.contains('\\');
    if !suspicious {
        return Ok(());
    }
    let mut rest = path.as_bytes();
    let mut segment_bytes = 0;
    let mut only_dots = true;
    loop {
        let (byte, after) = match rest.split_first() {
            None => (b'/', rest),
            Some((b'%', after)) => {
                escaped(after).ok_or("the path has a % without two hexadecimal digits")?
            }
            Some((&byte, after)) => (byte, after),
        };
        match byte {
            0 => return Err("the path has an escaped NUL"),
            b'/' | b'\\' => {
                if only_dots && matches!(segment_bytes, 1 | 2) {
                    return Err("the path has a . or .. segment: resolve it before sending");
                }
                segment_bytes = 0;
                only_dots = true;
            }
            _ => {
                segment_bytes += 1;
                only_dots &= byte == b'.';
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_found_and_decoded() {
        let query = "a=1&name=J%C3%BCrgen+X&flag&b=&a=2&k%20y=v&bad=%zz%&raw=%ff";
        for (name, expected) in [
            ("a", Some("1")),
            ("name", Some("J\u{fc}rgen X")),
            ("flag", Some("")),
            ("b", Some("")),
            ("k y", Some("v")),
            ("bad", Some("%zz%")),
            ("raw", None),
            ("none", None),
        ] {
            assert_eq!(find(query, name).as_deref(), expected, "{name}");
        }
        assert!(matches!(find(query, "a"), Some(Cow::Borrowed("1"))));
    }

    #[test]
    fn a_plus_in_a_path_is_a_plus() {
        assert!(matches!(decode_segment("a+b"), Some(Cow::Borrowed("a+b"))));
        assert_eq!(decode_segment("a+b%20c%2F").as_deref(), Some("a+b c/"));
        assert_eq!(decode_segment("%ff"), None);
    }

    #[test]
    fn paths_with_dot_segments_nul_or_broken_escapes_are_refused() {
        for good in ["/", "/a/b", "/a%20b", "/.well-known/x", "/...", "/a..b/c.", "/%2e%2e%2e"] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in [
            "/..",
            "/../",
            "/a/..",
            "/./a",
            "/a/.",
            "/..%2fetc",
            "/%2e%2e/x",
            "/.%2E",
            "/a%5c..",
            "/a\\..\\b",
            "/%00",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%2f..",
        ] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }
}
