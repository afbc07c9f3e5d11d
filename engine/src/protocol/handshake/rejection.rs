//! An HTTP answer that refuses a handshake. This module does not decide to refuse, and it never
//! keeps a connection open: after a rejection nothing more that arrives is a request.

use std::borrow::Cow;
use std::fmt;

use super::response::write_page_with_headers;
use super::status::Status;
use super::tokens::is_valid_header;

/// Why a handshake is refused, ready to be written as an HTTP response.
///
/// Some statuses need more headers than are written by themselves (RFC 9110 section 15): give a
/// 401 its `WWW-Authenticate`, a 429 or 503 its `Retry-After`, with
/// [`with_header`](Self::with_header).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status to answer with.
    pub status: Status,
    /// What was wrong and what to do instead, in one line.
    pub detail: Cow<'static, str>,
    headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

impl Rejection {
    /// A refusal with this status; `detail` is the body: one line that says what was wrong and
    /// what to do instead.
    pub fn new(status: Status, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), headers: Vec::new() }
    }

    /// The answer to a plain request where only a WebSocket is offered: 426 with the protocol and
    /// version to ask for.
    pub fn upgrade_required() -> Self {
        Self::new(
            Status::UPGRADE_REQUIRED,
            "this address speaks WebSocket: send Upgrade: websocket with Sec-WebSocket-Version: 13",
        )
    }

    /// The answer while the server is going away: 503, to be tried again in a second.
    pub fn going_away() -> Self {
        Self::new(Status::SERVICE_UNAVAILABLE, "the server is going away: connect again")
            .with_header("Retry-After", "1")
    }

    pub(super) const fn bad_request(detail: &'static str) -> Self {
        Self { status: Status::BAD_REQUEST, detail: Cow::Borrowed(detail), headers: Vec::new() }
    }

    /// Adds a header line. One that is not valid (see [`is_valid_header`]) is not written.
    #[must_use]
    pub fn with_header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Appends the whole response: `Connection: close`, a length and a text body. A 405 names the
    /// method allowed (`GET`), a 426 the protocol and version, unless the rejection has a header of
    /// that name already. Control characters of the detail are written as `?`. `head_only` leaves
    /// the body out, as a `HEAD` request wants it.
    pub fn write_to(&self, out: &mut Vec<u8>, head_only: bool) {
        let mut headers: Vec<(&str, &str)> = Vec::with_capacity(self.headers.len() + 3);
        for (name, value) in &self.headers {
            if is_valid_header(name, value) {
                headers.push((name, value));
            }
        }
        let always = &("X-Content-Type-Options", "nosniff");
        for &(name, value) in self.status_headers().iter().chain([always]) {
            if !self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
                headers.push((name, value));
            }
        }
        let mut body: String =
            self.detail.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        body.push('\n');
        write_page_with_headers(
            out,
            self.status,
            "text/plain; charset=utf-8",
            body.as_bytes(),
            head_only,
            &headers,
        );
    }

    fn status_headers(&self) -> &'static [(&'static str, &'static str)] {
        match self.status {
            Status::METHOD_NOT_ALLOWED => &[("Allow", "GET")],
            Status::UPGRADE_REQUIRED => {
                &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
            }
            _ => &[],
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.status, self.detail)
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(rejection: &Rejection) -> String {
        let mut out = Vec::new();
        rejection.write_to(&mut out, false);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_rejection_is_a_whole_response_that_closes_the_connection() {
        assert_eq!(
            written(&Rejection::new(Status::NOT_FOUND, "nothing here")),
            "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\
             X-Content-Type-Options: nosniff\r\n\r\nnothing here\n"
        );
    }

    #[test]
    fn a_405_names_the_method_and_a_426_the_protocol_and_version() {
        let text = written(&Rejection::new(Status::METHOD_NOT_ALLOWED, "no"));
        assert!(text.contains("\r\nAllow: GET\r\n"), "{text}");
        let own =
            Rejection::new(Status::METHOD_NOT_ALLOWED, "no").with_header("allow", "GET, HEAD");
        assert_eq!(written(&own).to_ascii_lowercase().matches("allow:").count(), 1);
        let own =
            Rejection::new(Status::NOT_FOUND, "no").with_header("X-Content-Type-Options", "x");
        assert_eq!(written(&own).matches("X-Content-Type-Options").count(), 1);
        let text = written(&Rejection::upgrade_required());
        assert!(text.contains("\r\nUpgrade: websocket\r\n"), "{text}");
        assert!(text.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{text}");
        assert!(text.contains("\r\nConnection: close, Upgrade\r\n"), "{text}");
    }

    #[test]
    fn nothing_in_a_detail_or_header_can_split_the_response() {
        let rejection = Rejection::new(Status::FORBIDDEN, "no\r\n\r\nHTTP/1.1 200 OK\u{1b}[2J")
            .with_header("X-Reason", "a\r\nSet-Cookie: b");
        let text = written(&rejection);
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "no????HTTP/1.1 200 OK?[2J\n");
        assert!(!text.contains("Set-Cookie"));
    }

    #[test]
    fn a_head_request_is_answered_without_a_body_but_with_its_length() {
        let mut out = Vec::new();
        Rejection::new(Status::NOT_FOUND, "nope").write_to(&mut out, true);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Content-Length: 5\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }
}
