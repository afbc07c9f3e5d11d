//! The request target (RFC 9112 section 3.2): which of its forms, which authority, path and query
//! string. This module does not route.

use std::borrow::Cow;

use super::authority::Authority;
use super::query::read_path;
use super::rejection::Rejection;
use super::status::Status;

/// A target of the origin or absolute form, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'h> {
    /// Host and port of an absolute target, as sent.
    pub(super) authority: Option<&'h str>,
    /// Starts with `/`; decoded.
    pub(super) path: &'h str,
    /// What follows the `?`, still encoded.
    pub(super) query_string: Option<&'h str>,
}

impl<'h> Target<'h> {
    /// Reads the target of a request with this method. A path that is not spelled as it was sent is
    /// put into `decoded`.
    pub(super) fn parse(
        method: &str,
        text: &'h str,
        decoded: &'h mut String,
    ) -> Result<Self, Rejection> {
        if method == "CONNECT" {
            return Err(Rejection::new(Status::METHOD_NOT_ALLOWED, "no proxy here: use GET"));
        }
        if text == "*" && method == "OPTIONS" {
            return Err(Rejection::new(Status::METHOD_NOT_ALLOWED, "no options here: use GET"));
        }
        if text.contains('#') {
            return Err(Rejection::bad_request("a fragment (#) does not belong in a target"));
        }
        let (authority, rest) = match text.starts_with('/') {
            true => (None, text),
            false => split_absolute(text)?,
        };
        let (path, query_string) = match rest.split_once('?') {
            Some((path, query_string)) => (path, Some(query_string)),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        let path = match read_path(path) {
            Ok(Cow::Borrowed(path)) => path,
            Ok(Cow::Owned(path)) => {
                *decoded = path;
                decoded
            }
            Err(what) => {
                let detail = format!("the path has {what}: nothing here is named so");
                return Err(Rejection::new(Status::BAD_REQUEST, detail));
            }
        };
        Ok(Self { authority, path, query_string })
    }
}

/// Takes `scheme://authority` off; the rest is a path (perhaps empty) and a query.
fn split_absolute(text: &str) -> Result<(Option<&str>, &str), Rejection> {
    let known = ["http", "https", "ws", "wss"];
    let rest = text
        .split_once("://")
        .filter(|(scheme, _)| known.iter().any(|name| name.eq_ignore_ascii_case(scheme)))
        .map(|(_, rest)| rest)
        .ok_or(const { Rejection::bad_request("the target is neither a /path nor a URL") })?;
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Authority::parse(authority)
        .map_err(|why| Rejection::new(Status::BAD_REQUEST, format!("the target's host: {why}")))?;
    Ok((Some(authority), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_and_absolute_targets_are_taken_apart() {
        for (text, authority, path, query_string) in [
            ("/", None, "/", None),
            ("/a?b=c?d", None, "/a", Some("b=c?d")),
            ("/a?", None, "/a", Some("")),
            ("/%61?%61", None, "/a", Some("%61")),
            ("http://h", Some("h"), "/", None),
            ("WS://h:80?x=/", Some("h:80"), "/", Some("x=/")),
            ("https://[::1]/a", Some("[::1]"), "/a", None),
        ] {
            let expected = Target { authority, path, query_string };
            let mut decoded = String::new();
            assert_eq!(Target::parse("GET", text, &mut decoded), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_targets_are_refused_with_their_status() {
        for (method, text, status) in [
            ("GET", "*", 400),
            ("OPTIONS", "*", 405),
            ("CONNECT", "h:80", 405),
            ("GET", "h:80", 400),
            ("GET", "ftp://h/", 400),
            ("GET", "http://", 400),
            ("GET", "http://u@h/", 400),
            ("GET", "http://h:99999/", 400),
            ("GET", "/a#b", 400),
            ("GET", "/%00", 400),
            ("GET", "/..%2f", 400),
            ("GET", "//h/p", 400),
        ] {
            let rejection = Target::parse(method, text, &mut String::new()).unwrap_err();
            assert_eq!(rejection.status.code(), status, "{method} {text}");
        }
    }
}
