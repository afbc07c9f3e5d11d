//! Judges a request as a WebSocket handshake (RFC 6455 section 4.2.1). This module does not ask
//! the application, and it chooses neither subprotocol nor extension: it says whether the
//! client's side of the handshake is right.

use super::accept_key::{accept_value, is_key};
use super::extensions;
use super::rejection::Rejection;
use super::request::Request;
use super::status::Status;
use super::tokens::{EMPTY_ELEMENTS_MAX, is_token, list_elements, list_names};

/// The protocol version of RFC 6455. The drafts before it are not spoken.
const VERSION: &[u8] = b"13";

/// Subprotocols one handshake may offer: they are compared pairwise.
pub const SUBPROTOCOLS_MAX: usize = 64;

/// What a sound handshake yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradeFacts {
    /// The value of `Sec-WebSocket-Accept`, ready to write.
    pub accept: [u8; 28],
}

impl Request<'_> {
    /// Checks everything that section 4.2.1 asks of a client's handshake.
    ///
    /// # Errors
    ///
    /// The rejection to answer with: 405 or 501 for another method, 426 for another protocol or
    /// version, otherwise 400. Whether the origin is welcome (403) and the path is served (404)
    /// is for the caller to say.
    pub fn check(&self) -> Result<UpgradeFacts, Rejection> {
        check_method(self.method(), &["GET"])?;
        if self.version_minor() == 0 {
            return Err(Rejection::bad_request("HTTP/1.0 has no upgrade: use HTTP/1.1"));
        }
        if self.has_body() {
            return Err(Rejection::bad_request("a WebSocket handshake has no body"));
        }
        if !self.values("upgrade").any(|value| list_names(value, "websocket")) {
            return Err(Rejection::upgrade_required());
        }
        if !self.values("connection").any(|value| list_names(value, "upgrade")) {
            return Err(Rejection::bad_request("Connection does not name Upgrade"));
        }
        check_version(self)?;
        let key = only_value(self, "sec-websocket-key")?;
        if !is_key(key) {
            return Err(Rejection::bad_request("Sec-WebSocket-Key is not 16 bytes in base64"));
        }
        check_origin(self)?;
        check_subprotocols(self)?;
        extensions::check(self.values("sec-websocket-extensions")).map_err(|_| {
            Rejection::bad_request("Sec-WebSocket-Extensions is not a list of extensions")
        })?;
        Ok(UpgradeFacts { accept: accept_value(key) })
    }

    /// Checks a request that is to be answered over plain HTTP, with a page: `GET` or `HEAD`,
    /// without a body.
    ///
    /// # Errors
    ///
    /// The rejection to answer with: 405, 501 or 400.
    pub fn check_http(&self) -> Result<(), Rejection> {
        check_method(self.method(), &["GET", "HEAD"])?;
        if self.has_body() {
            return Err(Rejection::bad_request("a request for a page has no body"));
        }
        Ok(())
    }

    /// Whether the client offered this subprotocol. Names are compared exactly.
    pub fn offers_subprotocol(&self, name: &str) -> bool {
        self.subprotocols().any(|offered| offered == name)
    }
}

/// The first of the server's subprotocols, its favourite first, that the client offered.
pub fn choose_subprotocol<'s>(
    server_preference: &[&'s str],
    request: &Request<'_>,
) -> Option<&'s str> {
    server_preference.iter().copied().find(|name| request.offers_subprotocol(name))
}

/// 405 for a method that exists, 501 for one nobody has heard of (RFC 9110 section 9.1).
fn check_method(method: &str, allowed: &'static [&'static str]) -> Result<(), Rejection> {
    const KNOWN: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    if allowed.contains(&method) {
        return Ok(());
    }
    if !KNOWN.contains(&method) {
        return Err(Rejection::new(Status::NOT_IMPLEMENTED, "the method is not known: use GET"));
    }
    Err(Rejection::new(Status::METHOD_NOT_ALLOWED, "the method is not allowed here: use GET")
        .with_header("Allow", allowed.join(", ")))
}

fn only_value<'h>(request: &Request<'h>, name: &'static str) -> Result<&'h [u8], Rejection> {
    let mut values = request.values(name);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        (None, _) => Err(Rejection::new(Status::BAD_REQUEST, format!("there is no {name} header"))),
        (Some(_), Some(_)) => Err(Rejection::new(
            Status::BAD_REQUEST,
            format!("there are two {name} headers: send exactly one"),
        )),
    }
}

/// Another version gets the 426 that names ours (section 4.4); what is not a version, a 400.
fn check_version(request: &Request<'_>) -> Result<(), Rejection> {
    let value = only_value(request, "sec-websocket-version")?;
    if value == VERSION {
        return Ok(());
    }
    let is_version = value.iter().all(u8::is_ascii_digit)
        && (value.len() == 1 || value.first() != Some(&b'0'))
        && std::str::from_utf8(value).is_ok_and(|digits| digits.parse::<u8>().is_ok());
    if !is_version {
        return Err(Rejection::bad_request("Sec-WebSocket-Version is not one number: send 13"));
    }
    Err(Rejection::new(Status::UPGRADE_REQUIRED, "the only WebSocket version spoken here is 13"))
}

/// At most one `Origin`, and one that has the form of an origin (RFC 6454 section 7.1). Browser
/// extensions and local files have schemes of their own, some with nothing behind them.
fn check_origin(request: &Request<'_>) -> Result<(), Rejection> {
    let mut origins = request.values("origin");
    let Some(origin) = origins.next() else { return Ok(()) };
    if origins.next().is_some() {
        return Err(Rejection::bad_request("there are two Origin headers"));
    }
    let fits = origin == b"null"
        || std::str::from_utf8(origin)
            .ok()
            .and_then(|text| text.split_once("://"))
            .is_some_and(|(scheme, host)| is_scheme(scheme) && is_origin_host(host));
    if fits { Ok(()) } else { Err(Rejection::bad_request("Origin is not an origin")) }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn is_origin_host(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@\\,\"<>".contains(&byte))
}

/// Sections 4.1(10) and 11.3.4: tokens, each offered once. A few empty list elements are
/// tolerated (RFC 9110 section 5.6.1.2), but the header must not be empty as a whole.
fn check_subprotocols(request: &Request<'_>) -> Result<(), Rejection> {
    let mut offered = [&b""[..]; SUBPROTOCOLS_MAX];
    let mut offered_count = 0;
    let mut empty_elements = 0;
    let mut header_seen = false;
    for line in request.values("sec-websocket-protocol") {
        header_seen = true;
        for element in list_elements(line) {
            if element.is_empty() && empty_elements < EMPTY_ELEMENTS_MAX {
                empty_elements += 1;
                continue;
            }
            if !is_token(element) {
                return Err(Rejection::bad_request(
                    "Sec-WebSocket-Protocol is not a list of tokens",
                ));
            }
            if offered[..offered_count].contains(&element) {
                return Err(Rejection::bad_request("Sec-WebSocket-Protocol names one twice"));
            }
            let Some(slot) = offered.get_mut(offered_count) else {
                return Err(Rejection::bad_request("Sec-WebSocket-Protocol names too many"));
            };
            *slot = element;
            offered_count += 1;
        }
    }
    if header_seen && offered_count == 0 {
        return Err(Rejection::bad_request("Sec-WebSocket-Protocol is empty: leave it out"));
    }
    Ok(())
}
