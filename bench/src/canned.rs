//! The bytes that raw servers send: prepared once, valid for as long as the process lives.
//!
//! No handshake is computed. The accept value below answers one fixed key, so a client of a raw
//! server must be told not to verify it.

use crate::frame_sizes::payload_bytes;

/// The reply to whatever ends in an empty line. The accept value is that of the key
/// `dGhlIHNhbXBsZSBub25jZQ==`, the example of RFC 6455 section 1.3.
pub const HANDSHAKE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An unmasked Close frame with code 1000.
pub const CLOSE: &[u8] = &[0x88, 0x02, 0x03, 0xE8];

/// Responses kept in a row hold at least this many bytes, so that what is owed to a pipelining
/// client leaves in one send.
const ROW_BYTES_MIN: usize = 256 * 1024;

/// Unmasked binary frames of zeros, all of one length, one behind another: any run of whole
/// responses is a slice of them.
pub fn responses(response_bytes: usize) -> Result<&'static [u8], String> {
    let payload = payload_bytes(response_bytes)
        .ok_or_else(|| format!("no unmasked frame is {response_bytes} bytes long"))?;
    let mut frame = vec![0x82];
    match u16::try_from(payload) {
        Ok(short @ 0..=125) => frame.push(short as u8),
        Ok(medium) => {
            frame.push(126);
            frame.extend(medium.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend((payload as u64).to_be_bytes());
        }
    }
    frame.resize(response_bytes, 0);
    let count = ROW_BYTES_MIN.div_ceil(response_bytes).max(2);
    Ok(frame.repeat(count).leak())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_whole_frames_in_a_row() {
        let row = responses(22).unwrap();
        assert!(row.len() >= ROW_BYTES_MIN && row.len().is_multiple_of(22));
        assert_eq!(row[..2], [0x82, 20]);
        assert_eq!(row[22..24], [0x82, 20]);
    }

    #[test]
    fn longer_frames_announce_their_length_in_two_or_eight_bytes() {
        assert_eq!(responses(16_388).unwrap()[..4], [0x82, 126, 0x40, 0]);
        assert_eq!(responses((1 << 20) + 10).unwrap()[..10], [0x82, 127, 0, 0, 0, 0, 0, 16, 0, 0]);
    }

    #[test]
    fn a_length_that_no_frame_has_is_refused() {
        assert!(responses(128).is_err());
    }
}
