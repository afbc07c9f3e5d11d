//! Where a received payload lies: still in the receive buffer, or assembled from pieces. Neither
//! form is validated here.

/// Bytes left free in front of an assembled payload, so that a frame header (at most 14 bytes) can
/// be written before it when the same payload is sent on without a copy.
pub const HEADROOM_BYTES: usize = 16;

/// A run of bytes in the receive buffer, with what stands in front of it in the same buffer.
#[derive(Debug)]
pub struct InPlace<'a> {
    bytes: &'a mut [u8],
    start: usize,
}

impl<'a> InPlace<'a> {
    /// The bytes from `start` on; those before are free to be overwritten.
    ///
    /// # Panics
    /// When `start` lies behind the end.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a mut [u8], start: usize) -> Self {
        assert!(start <= bytes.len(), "the payload begins within the frame");
        Self { bytes, start }
    }

    /// The payload.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The payload.
    #[inline]
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// Writes `header` directly in front of the payload and says where both lie as one run: its
    /// address and length. `None` when there is no room.
    pub(crate) fn prepend(&mut self, header: &[u8]) -> Option<(usize, usize)> {
        let start = self.start.checked_sub(header.len())?;
        self.bytes[start..self.start].copy_from_slice(header);
        let run = &self.bytes[start..];
        Some((run.as_ptr().addr(), run.len()))
    }
}

/// A whole message's bytes, unmasked.
#[derive(Debug)]
pub enum Payload<'a> {
    /// In the receive buffer itself; gone when the callback returns.
    InPlace(InPlace<'a>),
    /// In a pooled vector whose first [`HEADROOM_BYTES`] are free. Whoever takes the vector out
    /// leaves an empty one behind and owns the bytes.
    Assembled(&'a mut Vec<u8>),
}

impl<'a> From<&'a mut [u8]> for Payload<'a> {
    /// Bytes with nothing in front of them.
    fn from(bytes: &'a mut [u8]) -> Self {
        Self::InPlace(InPlace::new(bytes, 0))
    }
}

impl Payload<'_> {
    /// The bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::InPlace(payload) => payload.bytes(),
            Self::Assembled(vector) => vector.get(HEADROOM_BYTES..).unwrap_or_default(),
        }
    }

    /// The bytes, to parse or change in place.
    #[inline]
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::InPlace(payload) => payload.bytes_mut(),
            Self::Assembled(vector) => vector.get_mut(HEADROOM_BYTES..).unwrap_or_default(),
        }
    }
}
