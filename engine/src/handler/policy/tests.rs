//! Each policy against requests that it lets in and such that it does not.

use super::*;
use crate::handler::{Admission, Policy};
use crate::protocol::handshake::{HandshakeLimits, HeaderStorage, Rejection, Request};

/// What the policy says to an upgrade with this target and these header lines.
fn ask(policy: &impl Policy, target: &str, headers: &str) -> Result<Admission, Rejection> {
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let host = if headers.contains("Host:") { "" } else { "Host: a\r\n" };
    let head = format!("GET {target} HTTP/1.1\r\n{host}{upgrade}{headers}\r\n");
    let mut storage = HeaderStorage::new();
    let request =
        Request::parse(head.as_bytes(), &mut storage, &HandshakeLimits::default()).unwrap();
    let mut admission = Admission::default();
    policy.check(&request, &mut admission).map(|()| admission)
}

fn status(outcome: &Result<Admission, Rejection>) -> u16 {
    outcome.as_ref().map_or_else(|rejection| rejection.status.code(), |_| 101)
}

#[test]
fn origins_are_compared_by_scheme_host_and_port() {
    let policy =
        AllowedOrigins::new(["https://Example.org", "http://localhost:3000", "http://[::1]:80"])
            .unwrap();
    for (origin, expected) in [
        ("https://example.org", 101),
        ("https://EXAMPLE.org:443", 101),
        ("http://localhost:3000", 101),
        ("http://[::1]", 101),
        ("http://example.org", 403),
        ("https://example.org:8443", 403),
        ("https://example.org.evil.net", 403),
        ("https://evil-example.org", 403),
        ("https://sub.example.org", 403),
        ("http://localhost", 403),
        ("http://127.0.0.1:3000", 403),
        ("null", 403),
    ] {
        let outcome = ask(&policy, "/", &format!("Origin: {origin}\r\n"));
        assert_eq!(status(&outcome), expected, "{origin}");
    }
    assert_eq!(status(&ask(&policy, "/", "")), 101);
    assert_eq!(status(&ask(&policy, "/", "Origin: \u{ff}\r\n")), 403);
    assert_eq!(status(&ask(&policy.clone().required(), "/", "")), 403);
    for bad in
        ["", "null", "*", "example.org", "https://", "https://a/b", "https://a:b", "http://[a]"]
    {
        let error = AllowedOrigins::new([bad]).unwrap_err().to_string();
        assert!(error.contains(&format!("'{bad}' is no origin")), "{error}");
    }
}

#[test]
fn an_origin_that_is_none_or_not_the_only_one_is_refused() {
    let policy = AllowedOrigins::new(["https://example.org"]).unwrap();
    for headers in [
        "Origin: https://example.org\r\nOrigin: https://evil.net\r\n",
        "Origin: https://evil.net\r\nOrigin: https://example.org\r\n",
        "Origin: https://example.org\r\norigin: https://example.org\r\n",
        "Origin: https://example.org, https://evil.net\r\n",
        "Origin: https://example.org/\r\n",
        "Origin: https://example.org:x\r\n",
        "Origin: example.org\r\n",
        "Origin:\r\n",
        "Origin: \u{ff}\r\n",
    ] {
        assert_eq!(status(&ask(&policy, "/", headers)), 403, "{headers}");
    }
}

#[test]
fn hosts_are_compared_with_their_port_if_it_was_given() {
    let policy = AllowedHosts::new(["Example.org", "localhost:9001", "[::1]"]).unwrap();
    for (host, expected) in [
        ("example.org", 101),
        ("EXAMPLE.ORG:1234", 101),
        ("localhost:9001", 101),
        ("[::1]", 101),
        ("[::1]:9001", 101),
        ("localhost", 421),
        ("localhost:9002", 421),
        ("example.org.evil.net", 421),
        ("127.0.0.1", 421),
    ] {
        let outcome = ask(&policy, "/", &format!("Host: {host}\r\n"));
        assert_eq!(status(&outcome), expected, "{host}");
    }
    // An absolute target goes before the header (RFC 9112 section 3.2.2).
    assert_eq!(status(&ask(&policy, "http://evil.net/", "Host: example.org\r\n")), 421);
    for bad in ["", "a b", "https://example.org"] {
        assert!(AllowedHosts::new([bad]).is_err(), "{bad}");
    }
}

#[test]
fn credentials_are_found_where_they_may_be() {
    let secrets = Secrets::new([("ada", "s3cret"), ("bob", "other"), ("eve", "")]);
    let policy =
        Authentication::new(secrets).basic("a \"b\"").bearer().cookie("session").query("t");
    for (target, headers, expected) in [
        ("/", "Authorization: Basic YWRhOnMzY3JldA==\r\n", Some("ada")),
        ("/", "authorization: basic YWRhOnMzY3JldA==\r\n", Some("ada")),
        ("/", "Authorization: Bearer other\r\n", Some("bob")),
        ("/", "Cookie: x=y; session=s3cret\r\n", Some("ada")),
        ("/?t=s3cret", "", Some("ada")),
        ("/?t=wrong", "Cookie: session=s3cret\r\n", Some("ada")),
        ("/?t=s3cret", "Authorization: Bearer wrong\r\n", None),
        ("/", "Authorization: Basic Ym9iOnMzY3JldA==\r\n", None),
        ("/", "Authorization: Basic YWRhOg==\r\n", None),
        ("/", "Authorization: Basic YWRh\r\n", None),
        ("/", "Authorization: Basic ???\r\n", None),
        ("/", "Authorization: Basic ZXZlOg==\r\n", None),
        ("/", "Authorization: Bearer\r\n", None),
        ("/", "Authorization: Digest other\r\n", None),
        ("/?t=", "", None),
        ("/?t=S3CRET", "", None),
        ("/", "", None),
    ] {
        let outcome = ask(&policy, target, headers);
        let identity = outcome.as_ref().ok().and_then(|admission| admission.identity.as_deref());
        assert_eq!(identity, expected, "{target} {headers}");
        if let Err(rejection) = outcome {
            let mut written = Vec::new();
            rejection.write_to(&mut written, false);
            let text = String::from_utf8(written).unwrap();
            assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
            let challenge = "WWW-Authenticate: Basic realm=\"a 'b'\", charset=\"UTF-8\"\r\n";
            assert!(text.contains(challenge) && text.contains("WWW-Authenticate: Bearer\r\n"));
        }
    }
}

#[test]
fn nobody_comes_in_where_no_place_was_named() {
    let policy = Authentication::new(|_: &Credentials| Some("anybody".to_owned()));
    assert_eq!(status(&ask(&policy, "/", "Authorization: Bearer x\r\n")), 401);
}

#[test]
fn secrets_are_compared_exactly_and_never_shown() {
    assert!(secrets_equal("", "") && secrets_equal("abc", "abc"));
    assert!(!secrets_equal("abc", "abd") && !secrets_equal("abc", "ab"));
    let shown = format!("{:?}", Secrets::new([("ada", "s3cret")]));
    assert!(shown.contains("ada") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn the_servers_favourite_subprotocol_wins() {
    let policy = Subprotocols::new(["chat.v2", "chat.v1"]).unwrap();
    for (offer, expected) in [
        ("chat.v1, chat.v2", Some("chat.v2")),
        ("chat.v1", Some("chat.v1")),
        ("Chat.v1", None),
        ("other", None),
    ] {
        let header = format!("Sec-WebSocket-Protocol: {offer}\r\n");
        let admission = ask(&policy, "/", &header).unwrap();
        assert_eq!(admission.subprotocol.as_deref(), expected, "{offer}");
        let outcome = ask(&policy.clone().required(), "/", &header);
        assert_eq!(status(&outcome), if expected.is_some() { 101 } else { 400 }, "{offer}");
    }
    assert!(Subprotocols::new(["a b"]).is_err() && Subprotocols::new([""]).is_err());
}

#[test]
fn headers_go_with_every_answer_and_cannot_break_it() {
    let policy = ResponseHeaders::new([("X-One", "1"), ("X-Two", "2")]).unwrap();
    let admission = ask(&policy, "/", "").unwrap();
    assert_eq!(admission.headers.len(), 2);
    assert!(ResponseHeaders::new([("X", "a\r\nSet-Cookie: b")]).is_err());
    assert!(ResponseHeaders::new([("", "a")]).is_err());
}
