//! PROXY headers: a header is found at the same place however it comes, no prefix of one is refused,
//! and what was refused stays refused whatever follows. Forwarding headers are read without a panic.

use ringsock::protocol::ProxyHeader;
use ringsock::protocol::handshake::{ForwardedHeader, HandshakeLimits, HeaderStorage, Request};

const BYTES_MAX: usize = 300;

fn forwarded(value: &[u8]) {
    let head =
        [b"GET / HTTP/1.1\r\nHost: a\r\nForwarded: ", value, b"\r\nX-Forwarded-For: ", value];
    let head = [&head.concat(), &b"\r\n\r\n"[..]].concat();
    let mut storage = HeaderStorage::new();
    if let Ok(request) = Request::parse(&head, &mut storage, &HandshakeLimits::default()) {
        assert!(request.forwarded(ForwardedHeader::XForwardedFor).len() <= value.len() + 1);
        assert!(request.forwarded(ForwardedHeader::Forwarded).len() <= value.len() + 1);
    }
}

pub(super) fn run(data: &[u8]) {
    forwarded(data);
    let mut settled = None;
    for end in 0..=data.len().min(BYTES_MAX + 1) {
        let outcome = ProxyHeader::parse(&data[..end], BYTES_MAX);
        if let Ok(Some(header)) = outcome {
            assert!(header.bytes <= end && header.bytes <= BYTES_MAX);
        }
        match &settled {
            Some(before) => assert_eq!(before, &outcome.ok(), "at {end}"),
            None if outcome != Ok(None) => settled = Some(outcome.ok()),
            None => {}
        }
    }
    assert!(settled.is_some() || data.len() < BYTES_MAX, "it waits for ever");
}
