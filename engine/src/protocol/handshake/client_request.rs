//! A client's opening handshake (RFC 6455 section 4.1). This module does not connect and does not
//! read the answer.

use super::accept_key::key_value;
use super::handshake_error::HandshakeError;
use super::response::write_header;
use super::tokens::{is_token, is_valid_header};
use super::websocket_url::{WebSocketUrl, excerpt};
use crate::protocol::deflate::Deflate;

/// Headers that the handshake itself writes.
const OWN_HEADERS: [&str; 7] = [
    "Host",
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
];

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRequest {
    /// Value of the `Host` header: host, and port unless it is the scheme's own.
    pub host: String,
    /// Path and query; starts with `/`.
    pub target: String,
    /// Subprotocols to offer, the favourite first.
    pub subprotocols: Vec<String>,
    /// The compression to offer, if any (RFC 7692).
    pub deflate: Option<Deflate>,
    /// Further header lines: cookies, authorization, origin.
    pub headers: Vec<(String, String)>,
    /// The nonce: 16 bytes nobody can guess, new for each connection.
    pub key: [u8; 16],
}

impl ClientRequest {
    /// A request for this address with a fresh key, without subprotocols or further headers.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::NoRandomness`] if the system has no random bytes to give.
    pub fn new(url: &WebSocketUrl) -> Result<Self, HandshakeError> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|_| HandshakeError::NoRandomness)?;
        Ok(Self {
            host: url.host_header(),
            target: url.target.clone(),
            subprotocols: Vec::new(),
            deflate: None,
            headers: Vec::new(),
            key,
        })
    }

    /// The value sent as `Sec-WebSocket-Key`.
    pub fn key_value(&self) -> [u8; 24] {
        key_value(&self.key)
    }

    /// Appends the request.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::InvalidRequest`] if a field could not be written as one header line, or
    /// repeats a header of the handshake's own; nothing is written then.
    pub fn write_to(&self, out: &mut Vec<u8>) -> Result<(), HandshakeError> {
        self.check()?;
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        write_header(out, "Host", &self.host);
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ");
        out.extend_from_slice(&self.key_value());
        out.extend_from_slice(b"\r\nSec-WebSocket-Version: 13\r\n");
        if !self.subprotocols.is_empty() {
            write_header(out, "Sec-WebSocket-Protocol", &self.subprotocols.join(", "));
        }
        if let Some(deflate) = &self.deflate {
            write_header(out, "Sec-WebSocket-Extensions", &deflate.offer());
        }
        for (name, value) in &self.headers {
            write_header(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn check(&self) -> Result<(), HandshakeError> {
        let fail = |what: &str, value: &str| {
            let value = excerpt(value.as_bytes());
            Err(HandshakeError::InvalidRequest { detail: format!("{what}: \"{value}\"") })
        };
        if let Some(Err(detail)) = self.deflate.map(|deflate| deflate.validate()) {
            return fail("the compression cannot be offered", &detail);
        }
        if self.host.is_empty() || !is_valid_header("Host", &self.host) {
            return fail("the host cannot be sent", &self.host);
        }
        let visible = self.target.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.target.starts_with('/') || !visible {
            return fail("the target is not a path in visible ASCII", &self.target);
        }
        for (at, name) in self.subprotocols.iter().enumerate() {
            if !is_token(name.as_bytes()) {
                return fail("a subprotocol is not a token", name);
            }
            if self.subprotocols[..at].contains(name) {
                return fail("a subprotocol is named twice", name);
            }
        }
        for (name, value) in &self.headers {
            if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
                return fail("the handshake sets this header itself", name);
            }
            if !is_valid_header(name, value) {
                return fail("a header cannot be sent as one line", name);
            }
        }
        Ok(())
    }
}
