//! What a server answers to handshakes and other requests.

use super::*;

const GET: &str = "GET / HTTP/1.1";

/// Each row: the status expected, the request line, and the header lines changed.
fn check_rows(rows: &[(u16, &str, &[&str])]) {
    assert!(!rows.is_empty());
    for &(status, request_line, changes) in rows {
        let outcome = serve_every_way(&handshake_with(request_line, changes));
        assert_eq!(outcome.status(), status, "{request_line} with {changes:?}: {outcome:?}");
        if let Outcome::Switch { accept, following_bytes } = outcome {
            assert_eq!((accept, following_bytes), (ACCEPT, 0));
        }
    }
}

#[test]
fn methods_other_than_get_are_refused() {
    check_rows(&[
        (101, GET, &[]),
        (405, "POST / HTTP/1.1", &[]),
        (405, "PUT / HTTP/1.1", &[]),
        (405, "HEAD / HTTP/1.1", &[]),
        (405, "OPTIONS * HTTP/1.1", &[]),
        (405, "CONNECT h:80 HTTP/1.1", &[]),
        (501, "get / HTTP/1.1", &[]),
        (501, "BREW / HTTP/1.1", &[]),
        (501, &format!("{} / HTTP/1.1", "G".repeat(200)), &[]),
        (400, "G@T / HTTP/1.1", &[]),
        (405, "POST / HTTP/1.1", &["-Upgrade", "-Sec-WebSocket-Key"]),
        (200, "HEAD / HTTP/1.1", &["-Upgrade", "-Sec-WebSocket-Key"]),
        (200, GET, &["-Upgrade", "-Sec-WebSocket-Key"]),
    ]);
}

#[test]
fn versions_other_than_http_1_1_are_refused() {
    check_rows(&[
        (400, "GET / HTTP/1.0", &[]),
        (505, "GET / HTTP/9.9", &[]),
        (505, "GET / HTTP/2.0", &[]),
        (505, "PRI * HTTP/2.0", &[]),
        (505, "GET / HTTP/1.2", &[]),
        (400, "GET / HTTP/1.1x", &[]),
        (400, "GET / HTTP/1.", &[]),
        (400, "GET / http/1.1", &[]),
        (400, "GET / HTTP/x.1", &[]),
        (400, "GET / HTTP/1.1 ", &[]),
        (400, "GET /", &[]),
        (400, "GET / ", &[]),
        (400, "GET", &[]),
        (400, "", &[]),
        (400, "GET  / HTTP/1.1", &[]),
        (400, "GET /  HTTP/1.1", &[]),
        (400, "GET\t/ HTTP/1.1", &[]),
        (400, " GET / HTTP/1.1", &[]),
        (200, "GET / HTTP/1.0", &["-Upgrade", "-Sec-WebSocket-Key", "-Host"]),
    ]);
}

#[test]
fn there_is_exactly_one_valid_host() {
    check_rows(&[
        (400, GET, &["-Host"]),
        (400, GET, &["Host: a", "Host: a"]),
        (400, GET, &["Host: a", "host: b"]),
        (400, GET, &["Host:"]),
        (400, GET, &["Host: u@h"]),
        (400, GET, &["Host: h/p"]),
        (400, GET, &["Host: a b"]),
        (400, GET, &["Host: h:x"]),
        (400, GET, &["Host: h:65536"]),
        (400, GET, &["Host: h\u{7f}"]),
        (400, GET, &["Host: h\u{e9}"]),
        (101, GET, &["HOST:example.org:80"]),
        (101, GET, &["Host: \t [::1]:9001 \t"]),
        (400, GET, &["-Host", "-Upgrade", "-Sec-WebSocket-Key"]),
    ]);
}

#[test]
fn header_lines_follow_the_grammar() {
    check_rows(&[
        (400, GET, &["X-A : b"]),
        (400, GET, &["X-A\t: b"]),
        (400, GET, &["X-A: b\r\n c"]),
        (400, GET, &["X-A: b\r\n\tc"]),
        (400, GET, &[" X-A: b"]),
        (400, GET, &["no colon"]),
        (400, GET, &["nocolon"]),
        (400, GET, &[": b"]),
        (400, GET, &["X@A: b"]),
        (400, GET, &["X\u{e9}: b"]),
        (400, GET, &["X-A: b\nX-B: c"]),
        (400, GET, &["X-A: b\rX-B: c"]),
        (101, GET, &["X-A:"]),
        (101, GET, &["X-A:\tb\u{e9} \u{ff} c\t"]),
    ]);
    for byte in 0..=255u8 {
        let mut head = b"GET / HTTP/1.1\r\nHost: h\r\nX-A: some long value ".to_vec();
        head.extend([byte, b'!']);
        head.extend(b"\r\n\r\n");
        let expected = if tokens::is_value_byte(byte) { 200 } else { 400 };
        assert_eq!(serve_every_way(&head).status(), expected, "byte {byte:#04x}");
    }
}

#[test]
fn the_protocol_to_upgrade_to_is_websocket() {
    check_rows(&[
        (426, GET, &["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "-Sec-WebSocket-Key"]),
        (426, GET, &["Upgrade: h2c"]),
        (426, GET, &["Upgrade: web socket"]),
        (426, GET, &["Upgrade: websocket/13"]),
        (426, GET, &["Upgrade:"]),
        (426, GET, &["-Upgrade"]),
        (101, GET, &["Upgrade: WebSocket"]),
        (101, GET, &["Upgrade: h2c, websocket"]),
        (101, GET, &["Upgrade: h2c", "Upgrade: websocket"]),
    ]);
}

#[test]
fn the_connection_header_names_upgrade() {
    check_rows(&[
        (400, GET, &["-Connection"]),
        (400, GET, &["Connection: keep-alive"]),
        (400, GET, &["Connection: notupgrade"]),
        (400, GET, &["Connection: upgrade-x"]),
        (400, GET, &["Connection: keep-alive Upgrade"]),
        (101, GET, &["Connection: keep-alive, Upgrade"]),
        (101, GET, &["Connection: keep-alive,UPGRADE"]),
        (101, GET, &["connection: keep-alive", "Connection: uPgRaDe"]),
    ]);
}

#[test]
fn other_websocket_versions_are_told_ours() {
    check_rows(&[
        (426, GET, &["Sec-WebSocket-Version: 7"]),
        (426, GET, &["Sec-WebSocket-Version: 8"]),
        (426, GET, &["Sec-WebSocket-Version: 14"]),
        (426, GET, &["Sec-WebSocket-Version: 99"]),
        (426, GET, &["Sec-WebSocket-Version: 0"]),
        (400, GET, &["-Sec-WebSocket-Version"]),
        (400, GET, &["Sec-WebSocket-Version:"]),
        (400, GET, &["Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"]),
        (400, GET, &["Sec-WebSocket-Version: 13, 8"]),
        (400, GET, &["Sec-WebSocket-Version: 013"]),
        (400, GET, &["Sec-WebSocket-Version: +13"]),
        (400, GET, &["Sec-WebSocket-Version: 256"]),
        (400, GET, &["Sec-WebSocket-Version: thirteen"]),
    ]);
}

#[test]
fn there_is_exactly_one_key_of_sixteen_bytes() {
    check_rows(&[
        (400, GET, &["-Sec-WebSocket-Key"]),
        (400, GET, &["Sec-WebSocket-Key:"]),
        (400, GET, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"]),
        (400, GET, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU="]),
        (400, GET, &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25*ZQ=="]),
        (
            400,
            GET,
            &[
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ],
        ),
    ]);
}

#[test]
fn a_handshake_has_no_body_and_no_ambiguous_length() {
    check_rows(&[
        (400, GET, &["Content-Length: 5"]),
        (400, GET, &["Transfer-Encoding: chunked"]),
        (400, GET, &["Content-Length: 0", "Transfer-Encoding: chunked"]),
        (400, GET, &["Content-Length: 5", "Content-Length: 6"]),
        (400, GET, &["Content-Length: 0", "Content-Length: 0"]),
        (400, GET, &["Content-Length: 0, 0"]),
        (400, GET, &["Content-Length: +5"]),
        (400, GET, &["Content-Length: 0x5"]),
        (400, GET, &["Content-Length: -0"]),
        (400, GET, &["Content-Length: +0"]),
        (400, GET, &["Content-Length: 36893488147419103232"]),
        (400, GET, &["Content-Length:"]),
        (501, GET, &["Transfer-Encoding: xchunked"]),
        (501, GET, &["Transfer-Encoding: gzip, chunked"]),
        (501, GET, &["Transfer-Encoding:"]),
        (400, GET, &["Transfer-Encoding: chunked, chunked"]),
        (400, "GET / HTTP/1.0", &["Transfer-Encoding: chunked"]),
        (101, GET, &["Content-Length: 0"]),
        (400, GET, &["Content-Length: 5", "-Upgrade", "-Sec-WebSocket-Key"]),
    ]);
}

/// Whoever parses a request without judging it as a handshake must not meet these either.
#[test]
fn ambiguous_lengths_are_refused_by_the_parser_itself() {
    for (version, lines, word) in [
        ("1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "both"),
        ("1.1", "Content-Length: 5\r\nContent-Length: 5\r\n", "two"),
        ("1.0", "Transfer-Encoding: chunked\r\n", "HTTP/1.0"),
    ] {
        let head = format!("POST / HTTP/{version}\r\nHost: h\r\n{lines}\r\n");
        let mut storage = HeaderStorage::new();
        let parsed = Request::parse(head.as_bytes(), &mut storage, &HandshakeLimits::default());
        let rejection = parsed.unwrap_err();
        assert_eq!(rejection.status, Status::BAD_REQUEST, "{head:?}");
        assert!(rejection.detail.contains(word), "{rejection}");
    }
}

#[test]
fn an_origin_is_sent_once_and_has_the_form_of_one() {
    check_rows(&[
        (101, GET, &["Origin: null"]),
        (101, GET, &["Origin: https://example.org:8443"]),
        (101, GET, &["Origin: file://"]),
        (101, GET, &["Origin: moz-extension://0a1b-2c3d"]),
        (400, GET, &["Origin: https://a", "Origin: https://a"]),
        (400, GET, &["Origin:"]),
        (400, GET, &["Origin: example.org"]),
        (400, GET, &["Origin: https://a/b"]),
        (400, GET, &["Origin: https://a https://b"]),
        (400, GET, &["Origin: 1://a"]),
        (400, GET, &["Origin: https://u@a"]),
        (400, GET, &["Origin: https://\u{e9}"]),
    ]);
}

#[test]
fn subprotocols_are_distinct_tokens() {
    let many = |count: usize| {
        let names: Vec<_> = (0..count).map(|number| format!("p{number}")).collect();
        format!("Sec-WebSocket-Protocol: {}", names.join(", "))
    };
    check_rows(&[
        (101, GET, &["Sec-WebSocket-Protocol: chat, superchat"]),
        (101, GET, &["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: superchat"]),
        (101, GET, &["Sec-WebSocket-Protocol: chat,, Chat,"]),
        (400, GET, &["Sec-WebSocket-Protocol:"]),
        (400, GET, &["Sec-WebSocket-Protocol: ,"]),
        (400, GET, &["Sec-WebSocket-Protocol: chat, chat"]),
        (400, GET, &["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: chat"]),
        (400, GET, &["Sec-WebSocket-Protocol: a b"]),
        (400, GET, &["Sec-WebSocket-Protocol: \u{e9}"]),
        (400, GET, &["Sec-WebSocket-Protocol: a\rSet-Cookie: b"]),
        (400, GET, &["Sec-WebSocket-Protocol: a/b"]),
        (101, GET, &[&many(SUBPROTOCOLS_MAX)]),
        (400, GET, &[&many(SUBPROTOCOLS_MAX + 1)]),
        (400, GET, &[&format!("Sec-WebSocket-Protocol: {}", ", ".repeat(7_900))]),
        (400, GET, &[&format!("Sec-WebSocket-Protocol: a{}", ",".repeat(15_000))]),
    ]);
}

#[test]
fn extension_offers_have_the_form_of_the_rfc() {
    check_rows(&[
        (101, GET, &["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]),
        (101, GET, &["Sec-WebSocket-Extensions: permessage-deflate; unknown; unknown=7"]),
        (101, GET, &["Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=\"\""]),
        (101, GET, &["Sec-WebSocket-Extensions: a, b", "Sec-WebSocket-Extensions: c"]),
        (400, GET, &["Sec-WebSocket-Extensions: a; b=\"\\c\\c"]),
        (400, GET, &["Sec-WebSocket-Extensions: ;"]),
        (400, GET, &["Sec-WebSocket-Extensions: =x"]),
        (400, GET, &["Sec-WebSocket-Extensions:"]),
        (400, GET, &["Sec-WebSocket-Extensions: a b"]),
        (400, GET, &[&format!("Sec-WebSocket-Extensions: a; b=\"{}", "\\c".repeat(7_900))]),
    ]);
}

#[test]
fn only_targets_with_a_path_are_served() {
    check_rows(&[
        (101, "GET http://h/ HTTP/1.1", &[]),
        (101, "GET ws://other:80/chat?x HTTP/1.1", &[]),
        (400, "GET http://u@h/ HTTP/1.1", &[]),
        (400, "GET http:///x HTTP/1.1", &[]),
        (400, "GET * HTTP/1.1", &[]),
        (400, "GET h:80 HTTP/1.1", &[]),
        (400, "GET /%00 HTTP/1.1", &[]),
        (400, "GET /..%2f HTTP/1.1", &[]),
        (400, "GET /a#b HTTP/1.1", &[]),
        (400, "GET /\u{e9} HTTP/1.1", &[]),
        (400, "GET /\u{1} HTTP/1.1", &[]),
        (101, "GET /?a=%00 HTTP/1.1", &[]),
    ]);
}

#[test]
fn what_follows_the_head_is_left_to_others() {
    let mut bytes = handshake_with(GET, &[]);
    let head_bytes = bytes.len();
    bytes.extend_from_slice(&[0x81, 0x80, 1, 2, 3, 4]);
    let expected = Outcome::Switch { accept: ACCEPT, following_bytes: 6 };
    assert_eq!(serve([&bytes[..]].into_iter()), expected);
    assert_eq!(serve(bytes.chunks(head_bytes - 1)), expected);
    assert_eq!(serve(bytes.chunks(1)), expected);
}

#[test]
fn requests_are_read_as_they_were_sent() {
    let head =
        b"GET http://a:81/chat/x?name=J%C3%BCrgen&k=1 HTTP/1.1\r\nhost: b\r\nOrigin: null\r\n\
        Sec-WebSocket-Protocol: v2, v1\r\nX-Raw: \xff\r\nSec-WebSocket-Protocol: v0\r\n\
        Sec-WebSocket-Extensions: a;b=\"c\", d\r\n\r\n";
    let mut storage = HeaderStorage::new();
    let request = Request::parse(head, &mut storage, &HandshakeLimits::default()).unwrap();
    assert_eq!((request.method(), request.path()), ("GET", "/chat/x"));
    assert_eq!(request.target(), "http://a:81/chat/x?name=J%C3%BCrgen&k=1");
    assert_eq!(request.query_string(), Some("name=J%C3%BCrgen&k=1"));
    assert_eq!(request.query("name").as_deref(), Some("J\u{fc}rgen"));
    assert_eq!((request.host(), request.header("HOST")), (Some("a:81"), Some("b")));
    assert_eq!((request.origin(), request.header("x-raw")), (Some("null"), None));
    assert_eq!(request.headers().nth(3), Some(("X-Raw", &b"\xff"[..])));
    assert_eq!(request.headers().count(), 6);
    assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["v2", "v1", "v0"]);
    let names: Vec<_> = request.extensions().map(|offer| offer.name()).collect();
    assert_eq!(names, ["a", "d"]);
    assert!(!request.is_upgrade() && !request.has_body());
    assert_eq!(choose_subprotocol(&["v3", "v1", "v2"], &request), Some("v1"));
    assert_eq!(choose_subprotocol(&["V1"], &request), None);
}

#[test]
fn a_head_is_parsed_only_whole_and_alone() {
    let head = handshake_with(GET, &[]);
    let mut longer = head.clone();
    longer.push(b'x');
    for bytes in [&head[..head.len() - 1], &longer, b"", b"\r\n"] {
        let mut storage = HeaderStorage::new();
        let error = Request::parse(bytes, &mut storage, &HandshakeLimits::default()).unwrap_err();
        assert_eq!(error.status, Status::BAD_REQUEST, "{}", bytes.escape_ascii());
    }
}
