//! The value of `Sec-WebSocket-Extensions`: names and parameters are tokens, and what is read comes
//! from the text.

use ringsock::protocol::handshake::{HandshakeLimits, HeaderStorage, Request};

fn is_token(text: &str) -> bool {
    let separator = |byte: u8| b"()<>@,;:\\\"/[]?={} \t".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !separator(byte))
}

pub(super) fn run(data: &[u8]) {
    let mut head = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Extensions: "
        .to_vec();
    head.extend_from_slice(data);
    head.extend_from_slice(b"\r\n\r\n");
    let mut storage = HeaderStorage::new();
    let limits = HandshakeLimits { head_bytes_max: head.len(), ..HandshakeLimits::default() };
    let Ok(request) = Request::parse(&head, &mut storage, &limits) else { return };
    for offer in request.extensions() {
        assert!(is_token(offer.name()), "{:?}", offer.name());
        for (name, value) in offer.params() {
            assert!(is_token(name), "{name:?}");
            // RFC 6455 section 9.1: a quoted value is a token once its quotes are gone. The empty one
            // is let through, to be declined by whoever knows the parameter.
            let fits = |value: &str| value.is_empty() || is_token(value);
            assert!(value.as_deref().is_none_or(fits), "{value:?}");
        }
    }
}
