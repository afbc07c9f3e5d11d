//! The proof that a server read the client's key (RFC 6455 section 1.3). This module does not
//! keep anything secret: the computation is public, and only guards against servers and caches
//! that do not speak WebSocket.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// Appended to every key, in every implementation (RFC 6455 section 1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether the value is a key as section 4.1 wants it: the base64 form of 16 bytes.
pub(super) fn is_key(value: &[u8]) -> bool {
    // A decoder wants room for the bytes that the padding leaves out.
    let mut decoded = [0; 18];
    value.len() == 24 && STANDARD.decode_slice(value, &mut decoded) == Ok(16)
}

/// The `Sec-WebSocket-Accept` value that answers a `Sec-WebSocket-Key` value.
pub fn accept_value(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(28));
    accept
}

/// The `Sec-WebSocket-Key` value for a nonce.
pub(super) fn key_value(nonce: &[u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    let written = STANDARD.encode_slice(nonce, &mut key);
    debug_assert_eq!(written, Ok(24));
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_gives_its_accept_value() {
        let key = key_value(b"the sample nonce");
        assert_eq!(&key, b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(&accept_value(&key), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_the_base64_of_sixteen_bytes_is_a_key() {
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        for bad in [
            &b""[..],
            b"dGhlIHNhbXBsZSBub25j",     // 15 bytes
            b"dGhlIHNhbXBsZSBub25jZWU=", // 17 bytes
            b"dGhlIHNhbXBsZSBub25jZWVl", // 18 bytes
            b"dGhlIHNhbXBsZSBub25jZQ",   // no padding
            b"dGhlIHNhbXBsZSBub25jZR==", // bits after the end
            b"dGhlIHNhbXBsZSBub25j_Q==", // other alphabet
            b"dGhlIHNhbXBs ZSBub25jZQ=",
        ] {
            assert!(!is_key(bad), "{}", bad.escape_ascii());
        }
    }
}
