//! Addresses: what is read is written as something that reads the same.

use ringsock::protocol::handshake::WebSocketUrl;

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let url = match WebSocketUrl::parse(text) {
        Ok(url) => url,
        Err(error) => return assert!(!error.to_string().contains(['\r', '\n'])),
    };
    assert!(url.target.starts_with('/') && url.port != 0);
    assert_eq!(WebSocketUrl::parse(&url.to_string()), Ok(url));
}
