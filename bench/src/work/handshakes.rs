//! The opening handshake of a server: finding the end, reading, judging, answering.
//!
//! The request is what a browser sends today, cookies aside.

use std::hint::black_box;

use ringsock::protocol::handshake::{
    HandshakeLimits, HeadScanner, HeaderStorage, Request, accept_value,
};

use super::{Pass, Work};

const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

const HEAD: &[u8] = b"GET /chat?room=lobby HTTP/1.1\r\n\
    Host: example.org\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://example.org\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

pub(super) fn all() -> impl Iterator<Item = Work> {
    let accept = || -> Pass {
        Box::new(|| {
            for _ in 0..16 {
                black_box(accept_value(black_box(KEY)));
            }
        })
    };
    let scan = || -> Pass {
        Box::new(|| {
            let found = HeadScanner::new().scan(black_box(HEAD), &HandshakeLimits::default());
            assert_eq!(found, Ok(Some(HEAD.len())));
        })
    };
    let parse = || -> Pass {
        Box::new(|| {
            let mut storage = HeaderStorage::default();
            let limits = HandshakeLimits::default();
            let request = Request::parse(black_box(HEAD), &mut storage, &limits);
            assert!(request.is_ok_and(|request| black_box(request.check()).is_ok()));
        })
    };
    [
        Work::new("accept key", 16, None, accept),
        Work::new("handshake scan", 1, None, scan),
        Work::new("handshake parse and check", 1, None, parse),
    ]
    .into_iter()
}
