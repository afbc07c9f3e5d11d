//! Where a received payload lies: still in the receive buffer, or assembled from pieces. Neither
//! form is validated here.

/// Bytes left free in front of an assembled payload, so that a frame header (at most 14 bytes) can
/// be written before it when the same payload is sent on without a copy.
pub const HEADROOM_BYTES: usize = 16;

/// A whole message's bytes, unmasked.
#[derive(Debug)]
pub enum Payload<'a> {
    /// In the receive buffer itself; gone when the callback returns.
    InPlace(&'a mut [u8]),
    /// In a pooled vector whose first [`HEADROOM_BYTES`] are free. Whoever takes the vector out
    /// leaves an empty one behind and owns the bytes.
    Assembled(&'a mut Vec<u8>),
}

impl Payload<'_> {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::InPlace(bytes) => bytes,
            Self::Assembled(vector) => vector.get(HEADROOM_BYTES..).unwrap_or_default(),
        }
    }

    /// The bytes, to parse or change in place.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::InPlace(bytes) => bytes,
            Self::Assembled(vector) => vector.get_mut(HEADROOM_BYTES..).unwrap_or_default(),
        }
    }
}
