//! Reads a server's answer to a client's handshake (RFC 6455 section 4.1, second part). This
//! module does not follow redirects and does not answer authentication challenges.

use super::accept_key::accept_value;
use super::client_request::ClientRequest;
use super::extensions;
use super::handshake_error::HandshakeError;
use super::limits::{HEADER_LINES_CAP, HandshakeLimits};
use super::rejection::Rejection;
use super::scanner::HeadScanner;
use super::status::Status;
use super::tokens::list_names;
use super::websocket_url::excerpt;
use crate::protocol::deflate::DeflateAgreement;

/// What client and server agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The subprotocol the server chose among those offered.
    pub subprotocol: Option<String>,
    /// What was agreed on compression.
    pub deflate: Option<DeflateAgreement>,
}

/// A server's answer; never more than a step on the way to [`Negotiated`].
#[derive(Clone, Copy, Debug)]
pub struct ClientResponse<'h> {
    headers: &'h [httparse::Header<'h>],
}

impl ClientResponse<'_> {
    /// Checks a whole head, up to the end that [`HeadScanner::for_response`] found, against the
    /// request it answers.
    ///
    /// # Errors
    ///
    /// Whatever section 4.1 tells a client to fail the connection for: another status, a wrong or
    /// repeated `Upgrade`, `Connection` or `Sec-WebSocket-Accept`, an extension not asked for, a
    /// subprotocol not offered, or a head that is not HTTP/1.1.
    pub fn parse(head: &[u8], request: &ClientRequest) -> Result<Negotiated, HandshakeError> {
        // How long a head may be was decided while it arrived; here it is only read strictly.
        let limits = HandshakeLimits { head_bytes_max: head.len(), ..HandshakeLimits::default() };
        if HeadScanner::for_response().scan(head, &limits)? != Some(head.len()) {
            return Err(malformed("the head does not end where its bytes do"));
        }
        let mut storage = [httparse::EMPTY_HEADER; HEADER_LINES_CAP];
        let mut parsed = httparse::Response::new(&mut storage);
        let whole = parsed.parse(head).is_ok_and(|parsed| parsed.is_complete());
        let status = parsed.code.and_then(Status::new).filter(|_| whole);
        let status = status.ok_or_else(|| malformed("it is not an HTTP/1.1 response"))?;
        if parsed.version != Some(1) {
            return Err(malformed("it is HTTP/1.0; expected HTTP/1.1"));
        }
        let response = ClientResponse { headers: parsed.headers };
        response.check(status, request)
    }

    fn check(&self, status: Status, request: &ClientRequest) -> Result<Negotiated, HandshakeError> {
        if status != Status::SWITCHING_PROTOCOLS {
            let location = self.values("location").next().map(excerpt);
            return Err(HandshakeError::Status { status, location });
        }
        self.check_header("Upgrade", "websocket", |value| {
            value.eq_ignore_ascii_case(b"websocket")
        })?;
        if !self.values("connection").any(|value| list_names(value, "upgrade")) {
            return Err(self.wrong_header("Connection", "Upgrade"));
        }
        let accept = accept_value(&request.key_value());
        let expected = accept.escape_ascii().to_string();
        self.check_header("Sec-WebSocket-Accept", &expected, |value| value == accept)?;
        let deflate = self.check_extensions(request)?;
        let Some(sent) = self.joined("sec-websocket-protocol") else {
            return Ok(Negotiated { subprotocol: None, deflate });
        };
        if !request.subprotocols.contains(&sent) {
            let offered = request.subprotocols.clone();
            return Err(HandshakeError::Subprotocol { sent, offered });
        }
        Ok(Negotiated { subprotocol: Some(sent), deflate })
    }

    /// Nothing, or one answer to what was offered (section 9.1).
    fn check_extensions(
        &self,
        request: &ClientRequest,
    ) -> Result<Option<DeflateAgreement>, HandshakeError> {
        let Some(sent) = self.joined("sec-websocket-extensions") else { return Ok(None) };
        let refuse = |expected| Err(HandshakeError::Extension { sent: sent.clone(), expected });
        let Some(wanted) = &request.deflate else {
            return refuse("no extension, as none was offered");
        };
        let lines = || self.values("sec-websocket-extensions");
        if extensions::check(lines()).is_err() {
            return refuse("a list of extensions");
        }
        let texts = lines().filter_map(|line| std::str::from_utf8(line).ok());
        let mut answers = texts.flat_map(extensions::offers).filter_map(Result::ok);
        match (answers.next(), answers.next()) {
            (Some(answer), None) => wanted.accept(&answer).map(Some).or_else(refuse),
            _ => refuse("one answer to the one extension offered"),
        }
    }

    /// Exactly one header of this name, with a value that fits.
    fn check_header(
        &self,
        name: &'static str,
        expected: &str,
        fits: impl Fn(&[u8]) -> bool,
    ) -> Result<(), HandshakeError> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (Some(value), None) if fits(value) => Ok(()),
            _ => Err(self.wrong_header(name, expected)),
        }
    }

    fn wrong_header(&self, name: &'static str, expected: &str) -> HandshakeError {
        HandshakeError::Header { name, sent: self.joined(name), expected: expected.to_owned() }
    }

    /// All values of a header as one text for people; `None` without such a header.
    fn joined(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.values(name).collect();
        if values.is_empty() { None } else { Some(excerpt(&values.join(&b", "[..]))) }
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }
}

fn malformed(detail: &'static str) -> HandshakeError {
    HandshakeError::Malformed { detail: detail.into() }
}

impl From<Rejection> for HandshakeError {
    /// What a scanner would answer a client with, said of a server's answer.
    fn from(rejection: Rejection) -> Self {
        Self::Malformed { detail: rejection.detail }
    }
}
