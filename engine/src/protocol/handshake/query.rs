//! Percent-decoding of query strings and paths. This module does not route, and it repairs nothing:
//! a path that two readers could take for different ones is refused.

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
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match byte {
            b'+' => (b' ', after),
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

/// Reads a path (starting with `/`): its escapes are decoded once, so that there is one spelling of
/// each path (RFC 3986 section 6.2.2). Refused is what would have several all the same: escaped
/// slashes, backslashes, empty segments, and segments of one or two dots, which clients resolve
/// before they send (section 5.2.4). The error says what the path has.
pub(super) fn read_path(path: &str) -> Result<Cow<'_, str>, &'static str> {
    let path = match path.contains('%') {
        true => Cow::Owned(decode_path(path)?),
        false => Cow::Borrowed(path),
    };
    if path.contains('\\') {
        return Err("a backslash");
    }
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" if segments.peek().is_some() => return Err("two slashes in a row"),
            "." | ".." => return Err("a . or .. segment"),
            _ => {}
        }
    }
    Ok(path)
}

/// Decodes `%XX`; a `+` is a plus sign.
fn decode_path(path: &str) -> Result<String, &'static str> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match byte {
            b'%' => match escaped(after) {
                None => return Err("a % without two hexadecimal digits"),
                Some((0, _)) => return Err("an escaped NUL"),
                Some((b'/', _)) => return Err("an escaped slash"),
                Some(found) => found,
            },
            _ => (byte, after),
        };
        decoded.push(byte);
        rest = after;
    }
    String::from_utf8(decoded).map_err(|_| "bytes that are not UTF-8")
}

/// Whether [`Request::path`](super::Request::path) can be like this; the error goes on behind the path.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("does not begin with /".to_owned());
    }
    if path.contains(['?', '#']) {
        return Err("has what ends a path: a ? or a #".to_owned());
    }
    match read_path(path) {
        Ok(Cow::Borrowed(_)) => Ok(()),
        Ok(Cow::Owned(_)) => Err("has an escape: paths are compared decoded".to_owned()),
        Err(what) => Err(format!("has {what}: such requests are refused")),
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
    fn escapes_of_a_path_are_decoded_once() {
        for (path, expected) in [
            ("/a/b", "/a/b"),
            ("/%61%2Fb", ""),
            ("/%61%7E", "/a~"),
            ("/a+b%20c%2525", "/a+b c%25"),
            ("/caf%C3%A9", "/caf\u{e9}"),
            ("/caf%c3%a9", "/caf\u{e9}"),
            ("/caf\u{e9}", "/caf\u{e9}"),
            ("/%3Fx%23", "/?x#"),
        ] {
            assert_eq!(read_path(path).as_deref().unwrap_or_default(), expected, "{path}");
        }
        assert!(matches!(read_path("/a/b"), Ok(Cow::Borrowed("/a/b"))));
    }

    #[test]
    fn paths_that_have_another_spelling_are_refused() {
        for good in ["/", "/a/b/", "/a%20b", "/.well-known/x", "/...", "/a..b/c.", "/%2e%2e%2e"] {
            assert!(read_path(good).is_ok(), "{good}");
        }
        for (bad, word) in [
            ("/..", ". or .."),
            ("/../", ". or .."),
            ("/a/..", ". or .."),
            ("/./a", ". or .."),
            ("/a/.", ". or .."),
            ("/%2e%2e/x", ". or .."),
            ("/.%2E", ". or .."),
            ("//", "two slashes"),
            ("//a", "two slashes"),
            ("/a//b", "two slashes"),
            ("/a//", "two slashes"),
            ("/..%2fetc", "escaped slash"),
            ("/a%2Fb", "escaped slash"),
            ("/a%5c..", "backslash"),
            ("/a\\b", "backslash"),
            ("/%00", "NUL"),
            ("/%ff", "not UTF-8"),
            ("/a%", "hexadecimal"),
            ("/a%2", "hexadecimal"),
            ("/a%zz", "hexadecimal"),
        ] {
            let error = read_path(bad).unwrap_err();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }
}
