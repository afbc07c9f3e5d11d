//! A server's answer as a client reads it: it is accepted only with the right accept value, and
//! every error can be shown on one line.

use ringsock::protocol::handshake::{ClientRequest, ClientResponse, accept_value};

pub(super) fn run(data: &[u8]) {
    let request = ClientRequest {
        host: "h".to_owned(),
        target: "/".to_owned(),
        subprotocols: vec!["chat".to_owned(), "feed.v2".to_owned()],
        deflate: None,
        headers: Vec::new(),
        key: *b"the sample nonce",
    };
    match ClientResponse::parse(data, &request) {
        Ok(negotiated) => {
            let expected = accept_value(&request.key_value());
            assert!(data.windows(expected.len()).any(|window| window == expected));
            assert!(negotiated.subprotocol.is_none_or(|name| request.subprotocols.contains(&name)));
        }
        Err(error) => assert!(!error.to_string().contains(['\r', '\n'])),
    }
}
