//! `host:port` as it stands in a `Host` header, an absolute target or a URL (RFC 3986 section
//! 3.2). This module does not resolve names and does not accept credentials.

use std::net::Ipv6Addr;

/// A host with its optional port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// The host; an IPv6 address keeps its brackets.
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `host`, `host:port` or `[v6]:port`; the error says what is wrong with it.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.contains('@') {
            return Err("credentials do not belong before the host");
        }
        let host_bytes = match text.strip_prefix('[') {
            Some(rest) => rest.find(']').ok_or("the IPv6 address has no closing bracket")? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, rest) = text.split_at(host_bytes);
        check_host(host)?;
        let port = match rest.strip_prefix(':') {
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| "the port is beyond 65535")?)
            }
            Some(_) => return Err("the port is not a number"),
            None if rest.is_empty() => None,
            None => return Err("only a port may follow the IPv6 address"),
        };
        Ok(Self { host, port })
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("the host is empty");
    }
    if let Some(bracketed) = host.strip_prefix('[') {
        let address = bracketed.trim_end_matches(']');
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("the text in brackets is not an IPv6 address"),
        };
    }
    let mut bytes = host.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(|byte| byte.is_ascii_hexdigit())),
            b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !fits {
            return Err("a character does not belong in a host name");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_with_and_without_a_port() {
        for (text, host, port) in [
            ("example.org", "example.org", None),
            ("example.org:", "example.org", None),
            ("127.0.0.1:9001", "127.0.0.1", Some(9001)),
            ("[::1]", "[::1]", None),
            ("[::1]:65535", "[::1]", Some(65535)),
            ("a_b%20c", "a_b%20c", None),
        ] {
            assert_eq!(Authority::parse(text), Ok(Authority { host, port }), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_host_and_port_is_refused() {
        for text in [
            "", ":80", "a b", "u@h", "u:p@h", "h/p", "h?q", "h#f", "h:65536", "h:-1", "h:+1",
            "h:8a", "h:1:2", "::1", "[::1", "[::1]x", "[]", "[::g]", "[::1]]", "h\u{e9}", "h\0",
            "h%", "h%2", "h%zz", "h\\",
        ] {
            assert!(Authority::parse(text).is_err(), "{text:?}");
        }
    }
}
