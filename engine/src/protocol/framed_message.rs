//! A message that a server frames once for any number of connections: as it is, and compressed for
//! each window that was agreed on somewhere (RFC 7692 without context takeover). It sends nothing.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::deflate::{Compressor, WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use super::{Encoder, MessageKind, Role};

/// How many windows there are.
const WINDOWS: usize = (WINDOW_BITS_MAX - WINDOW_BITS_MIN) as usize + 1;

/// A message and its frames, shared by all copies of it.
#[derive(Clone, Debug)]
pub(crate) struct FramedMessage {
    kind: MessageKind,
    plain: Bytes,
    header_bytes: usize,
    /// By window; made by whoever needs it first, `None` where it would not be shorter.
    compressed: Arc<[OnceLock<Option<Bytes>>; WINDOWS]>,
}

impl FramedMessage {
    pub(crate) fn new(kind: MessageKind, payload: &[u8]) -> Self {
        let mut frame = Vec::new();
        let encoder = Encoder::new(Role::Server);
        encoder.frame(&mut frame, kind.opcode(), true, payload, &mut || [0; 4]);
        let header_bytes = frame.len() - payload.len();
        Self { kind, plain: frame.into(), header_bytes, compressed: Arc::default() }
    }

    pub(crate) fn kind(&self) -> MessageKind {
        self.kind
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.plain[self.header_bytes..]
    }

    /// The frame as it is.
    pub(crate) fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// The frame in compressed form for a window of 2^`bits` bytes, if that is shorter.
    pub(crate) fn compressed(&self, bits: u8, compressor: &mut Compressor) -> Option<&Bytes> {
        let known = self.compressed.get(usize::from(bits.checked_sub(WINDOW_BITS_MIN)?))?;
        let mut make = || compressed_frame(self.kind, self.payload(), bits, compressor);
        known.get_or_init(|| Some(make()?.into())).as_ref()
    }
}

/// A message as one compressed frame for a window of 2^`bits` bytes, if that is shorter.
pub(crate) fn compressed_frame(
    kind: MessageKind,
    payload: &[u8],
    bits: u8,
    compressor: &mut Compressor,
) -> Option<Vec<u8>> {
    let mut compressed = Vec::with_capacity(payload.len() / 4);
    if !compressor.compress(payload, bits, &mut compressed) {
        return None;
    }
    let mut frame = Vec::with_capacity(compressed.len() + super::HEADER_BYTES_MAX);
    let encoder = Encoder::new(Role::Server);
    encoder.compressed_message(&mut frame, kind, &compressed, &mut || [0; 4]);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_has_a_frame_of_its_own_that_is_made_once() {
        let message = FramedMessage::new(MessageKind::Text, "again and ".repeat(100).as_bytes());
        let copy = message.clone();
        let mut compressor = Compressor::new();
        for bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
            let frame = message.compressed(bits, &mut compressor).unwrap();
            assert_eq!(frame[0], 0xc1, "RSV1 says that it is compressed");
            assert!(frame.len() < 100, "{}", frame.len());
            let again = copy.compressed(bits, &mut compressor).unwrap();
            assert_eq!(again.as_ptr(), frame.as_ptr());
        }
        assert_eq!(message.compressed(7, &mut compressor), None);
        let short = FramedMessage::new(MessageKind::Binary, b"xyz");
        assert_eq!(short.compressed(15, &mut compressor), None, "it would become longer");
        assert_eq!((&short.plain()[..], short.payload()), (&b"\x82\x03xyz"[..], &b"xyz"[..]));
    }
}
