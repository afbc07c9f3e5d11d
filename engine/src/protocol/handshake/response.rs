//! Writes a server's answers: the switch to WebSocket, and plain pages. This module does not
//! check the request, and it never writes a header that would split the response.

use super::status::Status;
use super::tokens::{is_token, is_valid_header};

/// Appends the 101 response of RFC 6455 section 4.2.2.
///
/// `accept` is the value of `Sec-WebSocket-Accept`; `subprotocol` must be one that the client
/// offered, `extensions` an answer to what it offered. A subprotocol that is not a token and a
/// header that is not valid (see [`is_valid_header`]) are left out.
pub fn write_switching_protocols(
    out: &mut Vec<u8>,
    accept: &[u8; 28],
    subprotocol: Option<&str>,
    extensions: Option<&str>,
    server: Option<&str>,
    extra_headers: &[(String, String)],
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\n\
          Upgrade: websocket\r\n\
          Connection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n");
    if let Some(subprotocol) = subprotocol.filter(|name| is_token(name.as_bytes())) {
        write_header(out, "Sec-WebSocket-Protocol", subprotocol);
    }
    if let Some(extensions) = extensions {
        write_header(out, "Sec-WebSocket-Extensions", extensions);
    }
    if let Some(server) = server {
        write_header(out, "Server", server);
    }
    for (name, value) in extra_headers {
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a plain answer that closes the connection: what a browser gets that asks for a page.
/// `head_only` leaves the body out (its length stays), as a `HEAD` request wants it.
pub fn write_page(
    out: &mut Vec<u8>,
    status: Status,
    content_type: &str,
    body: &[u8],
    head_only: bool,
) {
    write_page_with_headers(out, status, content_type, body, head_only, &[]);
}

/// [`write_page`] with header lines of the caller's.
pub fn write_page_with_headers(
    out: &mut Vec<u8>,
    status: Status,
    content_type: &str,
    body: &[u8],
    head_only: bool,
    headers: &[(&str, &str)],
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&status.digits());
    out.push(b' ');
    out.extend_from_slice(status.reason_phrase().as_bytes());
    // Whoever sends `Upgrade` must list it as a connection option (RFC 9110 section 7.8).
    let upgrades = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Upgrade"));
    let connection = if upgrades { "close, Upgrade" } else { "close" };
    out.extend_from_slice(b"\r\n");
    write_header(out, "Connection", connection);
    write_header(out, "Content-Type", content_type);
    write_header(out, "Content-Length", &body.len().to_string());
    for (name, value) in headers {
        write_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    if !head_only {
        out.extend_from_slice(body);
    }
}

/// Appends one header line, or nothing if it would not be one line.
pub(super) fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    if !is_valid_header(name, value) {
        return;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_is_written_as_the_rfc_shows_it() {
        let mut out = Vec::new();
        let headers = [("X-Shard".to_owned(), "3".to_owned())];
        let accept = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        write_switching_protocols(
            &mut out,
            accept,
            Some("chat"),
            Some("permessage-deflate"),
            Some("ringsock"),
            &headers,
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\nServer: ringsock\r\nX-Shard: 3\r\n\r\n"
        );
    }

    #[test]
    fn no_argument_can_split_the_switch() {
        let mut out = Vec::new();
        let evil = [("X".to_owned(), "a\r\nSet-Cookie: b".to_owned())];
        write_switching_protocols(&mut out, &[b'a'; 28], Some("a\r\nb: c"), None, None, &evil);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    #[test]
    fn a_page_has_its_length_and_a_head_request_gets_no_body() {
        let mut page = Vec::new();
        write_page(&mut page, Status::OK, "text/html", b"<p>hi", false);
        assert_eq!(
            String::from_utf8(page.clone()).unwrap(),
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\n\
             Content-Length: 5\r\n\r\n<p>hi"
        );
        let mut head = Vec::new();
        write_page(&mut head, Status::OK, "text/html", b"<p>hi", true);
        assert_eq!(head, page[..page.len() - 5]);
    }
}
