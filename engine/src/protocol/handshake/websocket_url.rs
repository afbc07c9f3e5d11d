//! `ws://` and `wss://` addresses (RFC 6455 section 3). This module does not resolve names and
//! does not connect.

use std::fmt;
use std::str::FromStr;

use super::authority::Authority;

/// A WebSocket address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketUrl {
    /// Whether TLS is asked for (`wss`).
    pub secure: bool,
    /// The host; an IPv6 address is without brackets.
    pub host: String,
    /// The port; 80 for `ws` and 443 for `wss` unless the address names one.
    pub port: u16,
    /// Path and query as the request line wants them; starts with `/`.
    pub target: String,
}

impl WebSocketUrl {
    /// Reads an address such as `wss://example.org:8443/feed?room=1`.
    ///
    /// # Errors
    ///
    /// Says which part of the address is wrong and what belongs there.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let fail = |detail: &str| {
            let shown = without_secrets(text);
            UrlError { url: excerpt(shown.as_bytes()), detail: detail.into() }
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| fail("there is no scheme: begin with ws:// or wss://"))?;
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("ws") => false,
            _ if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(fail("the scheme is neither ws nor wss")),
        };
        if rest.contains('#') {
            return Err(fail("a fragment (#) does not belong in a WebSocket address"));
        }
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(fail("a character is not visible ASCII: percent-encode it"));
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let Authority { host, port } = Authority::parse(authority).map_err(fail)?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        if port == Some(0) {
            return Err(fail("port 0 cannot be connected to"));
        }
        Ok(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.unwrap_or(if secure { 443 } else { 80 }),
            target: format!("{slash}{target}"),
        })
    }

    /// The value for the `Host` header: brackets around an IPv6 address, and the port unless it
    /// is the scheme's own.
    pub fn host_header(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.secure, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl FromStr for WebSocketUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

impl fmt::Display for WebSocketUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(formatter, "{scheme}://{}{}", self.host_header(), self.target)
    }
}

/// Why a text is not a WebSocket address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError {
    url: String,
    detail: String,
}

impl fmt::Display for UrlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "not a WebSocket address: \"{}\": {}", self.url, self.detail)
    }
}

impl std::error::Error for UrlError {}

/// An address as errors and logs may show it: without credentials, query and fragment. It need not be
/// a good one.
pub(crate) fn without_secrets(text: &str) -> String {
    let (front, rest) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
    let (scheme, after) = match front.split_once("://") {
        Some((scheme, after)) => (format!("{scheme}://"), after),
        None => (String::new(), front),
    };
    let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{host}{path}"),
        // The question mark may stand in a password.
        None if path.is_empty() && rest.contains('@') => format!("{scheme}…"),
        None => front.to_owned(),
    }
}

/// Bytes of somebody else's, made fit for a message to a person: escaped, and cut if long.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    const EXCERPT_BYTES_MAX: usize = 120;
    let shown = &bytes[..bytes.len().min(EXCERPT_BYTES_MAX)];
    let cut = if shown.len() < bytes.len() { "…" } else { "" };
    format!("{}{cut}", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_put_together_again() {
        for (text, secure, host, port, target, host_header) in [
            ("ws://h", false, "h", 80, "/", "h"),
            ("WSS://h/", true, "h", 443, "/", "h"),
            ("ws://h:9001/a/b?c=d", false, "h", 9001, "/a/b?c=d", "h:9001"),
            ("ws://h?q", false, "h", 80, "/?q", "h"),
            ("wss://h:80", true, "h", 80, "/", "h:80"),
            ("ws://[::1]:9001/", false, "::1", 9001, "/", "[::1]:9001"),
            ("ws://[2001:db8::1]", false, "2001:db8::1", 80, "/", "[2001:db8::1]"),
        ] {
            let url = WebSocketUrl::parse(text).unwrap();
            assert_eq!(
                (url.secure, url.host.as_str(), url.port, url.target.as_str()),
                (secure, host, port, target),
                "{text}"
            );
            assert_eq!(url.host_header(), host_header, "{text}");
            assert_eq!(url.to_string().parse(), Ok(url), "{text}");
        }
    }

    #[test]
    fn credentials_and_queries_are_not_shown() {
        for (text, shown) in [
            ("ws://h:80/feed", "ws://h:80/feed"),
            ("wss://h/feed?token=s3cret", "wss://h/feed"),
            ("wss://h?token=s3cret", "wss://h"),
            ("ws://h/a@b?mail=c@d", "ws://h/a@b"),
            ("ws://u:s3cret@h/feed", "ws://h/feed"),
            ("ws://u:s3cr@et@h/feed#s3cret", "ws://h/feed"),
            ("ws://u:s3c?ret@h/feed", "ws://…"),
            ("ws://u:s3c#ret@h", "ws://…"),
            ("u:s3cret@h", "h"),
        ] {
            assert_eq!(without_secrets(text), shown, "{text}");
            if let Err(error) = WebSocketUrl::parse(text) {
                let error = error.to_string();
                assert!(!error.contains("s3c") && !error.contains("ret"), "{error}");
            }
        }
    }

    #[test]
    fn a_wrong_address_is_told_what_is_wrong_with_it() {
        for (text, word) in [
            ("h:80", "scheme"),
            ("http://h", "neither ws nor wss"),
            ("ws://", "empty"),
            ("ws://h#f", "fragment"),
            ("ws://u:p@h", "credentials"),
            ("ws://h:x", "port"),
            ("ws://h:0", "port 0"),
            ("ws://h:65536", "65535"),
            ("ws://[::1", "bracket"),
            ("ws://[x]", "IPv6"),
            ("ws://h/a b", "percent-encode"),
            ("ws://h/\r\nX: y", "percent-encode"),
        ] {
            let error = WebSocketUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text:?}: {error}");
            assert!(!error.contains(['\r', '\n']), "{error:?}");
        }
    }
}
