//! What a client sends, and which answers it accepts.

use super::*;

fn request() -> ClientRequest {
    let url = WebSocketUrl::parse("ws://h:9001/chat").unwrap();
    ClientRequest {
        key: *b"the sample nonce",
        subprotocols: vec!["v1".to_owned(), "v2".to_owned()],
        ..ClientRequest::new(&url).unwrap()
    }
}

fn answer(head: &str) -> Result<Negotiated, HandshakeError> {
    ClientResponse::parse(head.as_bytes(), &request())
}

const SOUND: [&str; 4] = [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

/// The sound answer with one of its lines replaced; a number beyond them adds a line.
fn answer_with(line_number: usize, line: &str) -> Result<Negotiated, HandshakeError> {
    let mut lines = SOUND.to_vec();
    match lines.get_mut(line_number) {
        Some(sound) => *sound = line,
        None => lines.push(line),
    }
    answer(&(lines.join("\r\n") + "\r\n\r\n"))
}

#[test]
fn the_request_is_one_that_our_server_accepts() {
    let mut request = request();
    request.headers.push(("Authorization".to_owned(), "Bearer x".to_owned()));
    let mut head = Vec::new();
    request.write_to(&mut head).unwrap();
    assert_eq!(
        String::from_utf8(head.clone()).unwrap(),
        "GET /chat HTTP/1.1\r\nHost: h:9001\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: v1, v2\r\nAuthorization: Bearer x\r\n\r\n"
    );
    let expected = Outcome::Switch { accept: ACCEPT, following_bytes: 0 };
    assert_eq!(serve_every_way(&head), expected);
    let mut response = Vec::new();
    write_switching_protocols(&mut response, &ACCEPT, Some("v2"), None, Some("ringsock"), &[]);
    let limits = HandshakeLimits::default();
    assert_eq!(HeadScanner::for_response().scan(&response, &limits), Ok(Some(response.len())));
    let negotiated = ClientResponse::parse(&response, &request).unwrap();
    assert_eq!(negotiated.subprotocol.as_deref(), Some("v2"));
}

#[test]
fn each_request_has_a_key_of_its_own() {
    let url = WebSocketUrl::parse("ws://h").unwrap();
    assert_ne!(ClientRequest::new(&url).unwrap().key, ClientRequest::new(&url).unwrap().key);
}

#[test]
fn a_request_that_would_not_be_one_request_is_not_sent() {
    let header = |name: &str, value: &str| ClientRequest {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..request()
    };
    for wrong in [
        header("X", "a\r\nY: b"),
        header("X Y", "a"),
        header("host", "other"),
        header("Sec-WebSocket-Extensions", "a"),
        ClientRequest { target: "/a b".to_owned(), ..request() },
        ClientRequest { target: "a".to_owned(), ..request() },
        ClientRequest { host: "h\r\nX: y".to_owned(), ..request() },
        ClientRequest { host: String::new(), ..request() },
        ClientRequest { subprotocols: vec!["a b".to_owned()], ..request() },
        ClientRequest { subprotocols: vec!["a".to_owned(), "a".to_owned()], ..request() },
    ] {
        let mut out = Vec::new();
        let error = wrong.write_to(&mut out).unwrap_err();
        assert!(matches!(error, HandshakeError::InvalidRequest { .. }), "{error}");
        assert!(out.is_empty());
    }
}

#[test]
fn sound_answers_are_accepted() {
    let none = Negotiated { subprotocol: None, deflate: None };
    assert_eq!(answer_with(9, "X-A: b"), Ok(none.clone()));
    assert_eq!(answer_with(0, "HTTP/1.1 101 "), Ok(none.clone()));
    assert_eq!(answer_with(1, "upgrade: WebSocket"), Ok(none.clone()));
    assert_eq!(answer_with(2, "Connection: keep-alive, UPGRADE"), Ok(none));
    let chosen = answer_with(9, "Sec-WebSocket-Protocol: v2");
    assert_eq!(chosen, Ok(Negotiated { subprotocol: Some("v2".to_owned()), deflate: None }));
}

#[test]
fn wrong_answers_say_what_was_sent_and_what_was_expected() {
    let accept = SOUND[3];
    let twice = format!("{accept}\r\n{accept}");
    for (line_number, line, sent, expected) in [
        (0, "HTTP/1.1 200 OK", "200 OK", "101"),
        (0, "HTTP/1.1 301 Moved\r\nLocation: ws://x/", "ws://x/", "101"),
        (0, "HTTP/1.1 103 Early Hints", "103", "101"),
        (0, "HTTP/1.1 401 No", "401 Unauthorized", "101"),
        (0, "HTTP/1.0 101 Switching Protocols", "HTTP/1.0", "HTTP/1.1"),
        (0, "HTTP/1.1 1O1 Switching Protocols", "", "response"),
        (0, "SSH-2.0-OpenSSH", "", "response"),
        (0, "", "", "response"),
        (1, "X: y", "no Upgrade", "websocket"),
        (1, "Upgrade: h2c", "h2c", "websocket"),
        (1, "Upgrade: websocket\r\nUpgrade: websocket", "websocket, websocket", "websocket"),
        (2, "X: y", "no Connection", "Upgrade"),
        (2, "Connection: close", "close", "Upgrade"),
        (3, "X: y", "no Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        (3, "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "S3pPL", "s3pPL"),
        (3, "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==", "dGhl", "s3pPL"),
        (3, &twice, "xOo=, s3p", "s3pPL"),
        (9, "Sec-WebSocket-Extensions: permessage-deflate", "permessage-deflate", "no extension"),
        (9, "Sec-WebSocket-Extensions:", "", "no extension"),
        (9, "Sec-WebSocket-Protocol: v3", "v3", "v1, v2"),
        (9, "Sec-WebSocket-Protocol: v1, v2", "v1, v2", "v1, v2"),
        (9, "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v1", "v1, v1", "v1, v2"),
        (9, "Sec-WebSocket-Protocol:", "", "v1, v2"),
        (9, "X-A: \u{1}", "control character", ""),
        (9, "X-A : b", "blank", ""),
    ] {
        let error = answer_with(line_number, line).unwrap_err().to_string();
        assert!(error.contains(sent) && error.contains(expected), "{line:?}: {error}");
    }
}

#[test]
fn what_a_server_sends_is_escaped_and_cut_in_messages() {
    let long = format!("HTTP/1.1 302 Found\r\nLocation: \u{9b}{}", "x".repeat(5000));
    let error = answer_with(0, &long).unwrap_err();
    let HandshakeError::Status { status, location: Some(location) } = &error else {
        panic!("{error}")
    };
    assert_eq!(status, &Status::FOUND);
    assert!(location.starts_with(r"\xc2\x9bxx") && location.chars().count() < 150, "{location}");
}

#[test]
fn an_answer_beyond_the_limit_is_refused_however_it_is_cut() {
    let head = SOUND.join("\r\n") + &format!("\r\nX: {}\r\n\r\n", "a".repeat(17 * 1024));
    let limits = HandshakeLimits::default();
    let mut scanner = HeadScanner::for_response();
    let refused = head.as_bytes().chunks(1).find_map(|piece| scanner.scan(piece, &limits).err());
    assert_eq!(refused.as_ref().map(|rejection| rejection.status.code()), Some(431));
    assert_eq!(HeadScanner::for_response().scan(head.as_bytes(), &limits).err(), refused);
    let error = HandshakeError::from(refused.unwrap()).to_string();
    assert!(error.contains("longer than 16384 bytes"), "{error}");
}

#[test]
fn every_cut_of_a_sound_answer_leaves_its_end_where_it_is() {
    let head = SOUND.join("\r\n") + "\r\n\r\n\x01\x02";
    let limits = HandshakeLimits::default();
    for cut in 0..head.len() - 2 {
        let (first, second) = head.as_bytes().split_at(cut);
        let mut scanner = HeadScanner::for_response();
        assert_eq!(scanner.scan(first, &limits), Ok(None), "cut at {cut}");
        assert_eq!(scanner.scan(second, &limits), Ok(Some(second.len() - 2)), "cut at {cut}");
    }
}
