//! Bounds on an opening handshake. This module does not enforce them and knows no deadline: the
//! scanner counts bytes and lines, whoever drives the connection counts seconds.

/// The most header lines a head may carry, whatever [`HandshakeLimits::header_lines_max`] says.
pub const HEADER_LINES_CAP: usize = 100;

/// What a head may cost before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeLimits {
    /// Bytes of the whole head, start line and closing empty line included. Beyond it: 431.
    pub head_bytes_max: usize,
    /// Header lines, at most [`HEADER_LINES_CAP`]. Beyond it: 431.
    pub header_lines_max: usize,
    /// Bytes of the request target. Beyond it: 414.
    pub target_bytes_max: usize,
}

impl Default for HandshakeLimits {
    /// 16 KiB, 100 lines and 8 KiB: above what browsers send with large cookies, and what common
    /// proxies let through.
    fn default() -> Self {
        Self {
            head_bytes_max: 16 * 1024,
            header_lines_max: HEADER_LINES_CAP,
            target_bytes_max: 8 * 1024,
        }
    }
}
