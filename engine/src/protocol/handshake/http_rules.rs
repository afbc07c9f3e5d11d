//! What holds for every request, upgrade or not (RFC 9110 and 9112). This module does not know
//! WebSocket.

use super::authority::Authority;
use super::rejection::Rejection;
use super::request::Request;
use super::status::Status;
use super::tokens::list_elements;

/// Checks the version at the end of the request line. A head that has passed the scanner has
/// eight bytes there; whatever has the form `HTTP/d.d` but is not spoken here gets a 505.
pub(super) fn check_version(head: &[u8]) -> Result<(), Rejection> {
    let line_bytes = head.iter().position(|&byte| byte == b'\r').unwrap_or(head.len());
    match head[..line_bytes].last_chunk::<8>() {
        Some(b"HTTP/1.1" | b"HTTP/1.0") => Ok(()),
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Rejection::new(Status::VERSION_NOT_SUPPORTED, "use HTTP/1.1"))
        }
        _ => Err(Rejection::bad_request("the request line does not end in an HTTP version")),
    }
}

/// One `Host`, and a valid one (RFC 9112 section 3.2); HTTP/1.0 may go without.
pub(super) fn check_host(request: &Request<'_>) -> Result<(), Rejection> {
    let mut hosts = request.values("host");
    let Some(host) = hosts.next() else {
        if request.version_minor() == 0 {
            return Ok(());
        }
        return Err(Rejection::bad_request("there is no Host header: send exactly one"));
    };
    if hosts.next().is_some() {
        return Err(Rejection::bad_request("there are two Host headers: send exactly one"));
    }
    std::str::from_utf8(host)
        .map_err(|_| "not ASCII")
        .and_then(Authority::parse)
        .map(|_| ())
        .map_err(|why| Rejection::new(Status::BAD_REQUEST, format!("the Host header: {why}")))
}

/// The framing headers (RFC 9112 section 6); says whether a body is announced. Whatever two
/// parsers could read differently is refused, since that is how requests are smuggled.
pub(super) fn check_framing(request: &Request<'_>) -> Result<bool, Rejection> {
    let length = content_length(request)?;
    let chunked = is_chunked(request)?;
    if chunked && length.is_some() {
        return Err(Rejection::bad_request("both Content-Length and Transfer-Encoding were sent"));
    }
    if chunked && request.version_minor() == 0 {
        return Err(Rejection::bad_request("HTTP/1.0 has no Transfer-Encoding"));
    }
    Ok(chunked || length.is_some_and(|bytes| bytes > 0))
}

fn content_length(request: &Request<'_>) -> Result<Option<u64>, Rejection> {
    let mut values = request.values("content-length");
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Rejection::bad_request("there are two Content-Length headers: send one"));
    }
    // `parse` would take a leading plus sign.
    std::str::from_utf8(value)
        .ok()
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .map(Some)
        .ok_or(const { Rejection::bad_request("Content-Length is not a decimal number of bytes") })
}

fn is_chunked(request: &Request<'_>) -> Result<bool, Rejection> {
    let mut chunked = false;
    for coding in request.values("transfer-encoding").flat_map(list_elements) {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(Rejection::new(
                Status::NOT_IMPLEMENTED,
                "the only Transfer-Encoding known here is chunked",
            ));
        }
        if std::mem::replace(&mut chunked, true) {
            return Err(Rejection::bad_request("Transfer-Encoding names chunked twice"));
        }
    }
    Ok(chunked)
}
