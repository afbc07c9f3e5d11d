//! How long a frame of a given payload is on the wire (RFC 6455 section 5.2).
//!
//! No frame is built or read here.

/// Bytes of the whole frame: header, masking key if `masked`, and payload.
///
/// ```
/// use ringsock_bench::frame_sizes::frame_bytes;
///
/// assert_eq!(frame_bytes(20, true), 26);
/// assert_eq!(frame_bytes(16_384, false), 16_388);
/// ```
pub fn frame_bytes(payload_bytes: usize, masked: bool) -> usize {
    let length_bytes = match payload_bytes {
        0..=125 => 0,
        126..=65_535 => 2,
        _ => 8,
    };
    2 + length_bytes + if masked { 4 } else { 0 } + payload_bytes
}

/// Bytes of payload in an unmasked frame of `frame_bytes` bytes, `None` if no frame is that long.
pub fn payload_bytes(frame_bytes: usize) -> Option<usize> {
    [2, 4, 10]
        .into_iter()
        .filter_map(|header_bytes| frame_bytes.checked_sub(header_bytes))
        .find(|&payload| self::frame_bytes(payload, false) == frame_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_bytes_is_the_inverse_of_frame_bytes_at_every_change_of_header() {
        for payload in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
            assert_eq!(payload_bytes(frame_bytes(payload, false)), Some(payload));
        }
    }

    #[test]
    fn lengths_between_two_headers_belong_to_no_frame() {
        for frame in [0, 1, 128, 129, 65_540, 65_545] {
            assert_eq!(payload_bytes(frame), None, "{frame}");
        }
    }
}
