//! Restores messages (RFC 7692 section 7.2.2). It takes whole messages only, so that what a peer
//! costs while it sends one is what it has sent, and between messages it holds nothing of any
//! connection's: what context takeover needs is in the connection's [`History`].

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{WINDOW_BITS_MAX, WINDOW_BITS_MIN};
use crate::protocol::{MessageKind, ProtocolError};
use crate::simd::Utf8Stream;

/// Bytes restored at a time; limit and UTF-8 are checked after each.
const CHUNK_BYTES: usize = 16 * 1024;
/// Streams one message may consist of. Senders that have no other way to flush end one with each
/// message; more than a few would only cost time.
const STREAMS_MAX: u32 = 1000;
/// What a sender leaves out at the end of each message, and an empty last block, by which it is
/// seen that the message ended where a block does.
const END: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// Restores one message at a time, of any number of connections.
pub struct Inflater {
    stream: Inflate,
    chunk: Box<[u8]>,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inflater").finish_non_exhaustive()
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflater {
    /// An inflater, about 64 KiB.
    #[must_use]
    pub fn new() -> Self {
        let stream = Inflate::new(false, WINDOW_BITS_MAX);
        Self { stream, chunk: vec![0; CHUNK_BYTES].into() }
    }

    /// Appends a message's restored bytes to `out`: at most `message_bytes_max` of them, and text
    /// only while it is UTF-8. `history` is what the connection's messages before it have left; it
    /// is `None` without context takeover.
    ///
    /// # Errors
    /// [`MessageTooBig`](ProtocolError::MessageTooBig), [`InvalidUtf8`](ProtocolError::InvalidUtf8)
    /// and [`CorruptCompression`](ProtocolError::CorruptCompression), each as soon as the bytes
    /// restored so far show it. The history must not be used after.
    pub fn inflate(
        &mut self,
        kind: MessageKind,
        compressed: &[u8],
        mut history: Option<&mut History>,
        message_bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let before = history.as_ref().map_or(&[][..], |history| &history.bytes);
        let start = out.len();
        // Some senders take nothing at all for the compressed form of nothing.
        if !compressed.is_empty() {
            let utf8 = Utf8Stream::default();
            let mut message = Message { utf8, kind, start, out, streams: 1 };
            self.restart(before, &[])?;
            let ended = self.push(&mut message, before, compressed, message_bytes_max)?;
            // A last block that ends with the message ends it well enough.
            if !ended && !self.push(&mut message, before, &END, message_bytes_max)? {
                return Err(ProtocolError::CorruptCompression);
            }
            if !message.utf8.is_complete() {
                return Err(ProtocolError::InvalidUtf8);
            }
        }
        if let Some(history) = &mut history {
            history.keep(&out[start..]);
        }
        Ok(())
    }

    /// Begins a stream that may refer to what was restored before it.
    fn restart(&mut self, before: &[u8], restored: &[u8]) -> Result<(), ProtocolError> {
        self.stream.reset(false);
        for bytes in [before, restored] {
            let kept = &bytes[bytes.len().saturating_sub(1 << WINDOW_BITS_MAX)..];
            if !kept.is_empty() {
                self.stream.set_dictionary(kept).map_err(|_| ProtocolError::CorruptCompression)?;
            }
        }
        Ok(())
    }

    /// Restores what `input` holds; whether it ended with a last block. After a last block another
    /// stream may follow, with the same history (section 7.2.3.5 shows one of an empty block).
    fn push(
        &mut self,
        message: &mut Message<'_>,
        before: &[u8],
        mut input: &[u8],
        message_bytes_max: usize,
    ) -> Result<bool, ProtocolError> {
        loop {
            let room = message_bytes_max - (message.out.len() - message.start);
            // One byte more than there is room for shows that the message does not end there.
            let chunk = &mut self.chunk[..CHUNK_BYTES.min(room.saturating_add(1))];
            let (in_before, out_before) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(input, chunk, InflateFlush::SyncFlush)
                .map_err(|_| ProtocolError::CorruptCompression)?;
            let used = (self.stream.total_in() - in_before) as usize;
            let restored = (self.stream.total_out() - out_before) as usize;
            let filled = restored == chunk.len();
            if restored > room {
                return Err(ProtocolError::MessageTooBig);
            }
            message.append(&chunk[..restored])?;
            input = &input[used..];
            match status {
                Status::StreamEnd if input.is_empty() => return Ok(true),
                Status::StreamEnd if message.streams < STREAMS_MAX => {
                    message.streams += 1;
                    self.restart(before, &message.out[message.start..])?;
                }
                Status::StreamEnd => return Err(ProtocolError::CorruptCompression),
                Status::Ok | Status::BufError if filled => {}
                Status::Ok | Status::BufError if input.is_empty() => return Ok(false),
                Status::Ok | Status::BufError if used > 0 || restored > 0 => {}
                Status::Ok | Status::BufError => return Err(ProtocolError::CorruptCompression),
            }
        }
    }
}

/// The message that is being restored.
struct Message<'o> {
    utf8: Utf8Stream,
    kind: MessageKind,
    /// Where it begins in `out`.
    start: usize,
    out: &'o mut Vec<u8>,
    /// Streams begun so far.
    streams: u32,
}

impl Message<'_> {
    fn append(&mut self, restored: &[u8]) -> Result<(), ProtocolError> {
        if self.kind == MessageKind::Text {
            self.utf8.push(restored).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        self.out.extend_from_slice(restored);
        Ok(())
    }
}

/// The last bytes of what one connection has sent, to which its next message may refer.
#[derive(Debug)]
pub struct History {
    bytes: Vec<u8>,
    window_bytes: usize,
}

impl History {
    /// An empty one for a window of 2^`window_bits` bytes (8 to 15).
    #[must_use]
    pub fn new(window_bits: u8) -> Self {
        let window_bits = window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
        Self { bytes: Vec::new(), window_bytes: 1 << window_bits }
    }

    /// Most memory that one of this window holds, in bytes: the window, 32 KiB for 15 bits. It
    /// grows with what was received.
    #[must_use]
    pub fn memory_bytes(window_bits: u8) -> usize {
        1 << window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX)
    }

    fn keep(&mut self, restored: &[u8]) {
        let fresh = &restored[restored.len().saturating_sub(self.window_bytes)..];
        let surplus = (self.bytes.len() + fresh.len()).saturating_sub(self.window_bytes);
        self.bytes.drain(..surplus);
        if self.bytes.capacity() < self.bytes.len() + fresh.len() {
            let doubled = (2 * self.bytes.capacity()).clamp(256, self.window_bytes);
            let capacity = doubled.max(self.bytes.len() + fresh.len());
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::deflate::Compressor;

    fn restore(compressed: &[u8], message_bytes_max: usize) -> Result<Vec<u8>, ProtocolError> {
        let mut out = Vec::new();
        let inflater = &mut Inflater::new();
        inflater.inflate(MessageKind::Binary, compressed, None, message_bytes_max, &mut out)?;
        Ok(out)
    }

    /// The examples of RFC 7692 sections 7.2.3.1 to 7.2.3.6, and what else is sound.
    #[test]
    fn every_form_of_hello_is_restored() {
        let fixed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        let last_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        let two_blocks =
            [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        let last_block_alone = &last_block[..7];
        for compressed in [&fixed[..], &stored, &last_block, &two_blocks, last_block_alone] {
            assert_eq!(restore(compressed, 5).as_deref(), Ok(&b"Hello"[..]), "{compressed:02x?}");
        }
        for empty in [&[][..], &[0], &[2, 0], &[3, 0], &[0, 0, 0, 0xff, 0xff, 0]] {
            assert_eq!(restore(empty, 0), Ok(Vec::new()), "{empty:02x?}");
        }
    }

    #[test]
    fn messages_share_a_history_whatever_ends_their_blocks() {
        let mut inflater = Inflater::new();
        let mut history = History::new(15);
        let messages: [&[u8]; 5] = [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            // Section 7.2.3.2: the same again, as a reference.
            &[0xf2, 0x00, 0x11, 0x00, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x00, 0x11, 0x00, 0x00],
            // A last block, and a reference across it within one message.
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x02, 0x13, 0x00, 0x00],
        ];
        for (number, compressed) in messages.into_iter().enumerate() {
            let mut out = Vec::new();
            let history = Some(&mut history);
            let restored = inflater.inflate(MessageKind::Text, compressed, history, 100, &mut out);
            assert_eq!(restored, Ok(()), "{number}");
            assert!(out.starts_with(b"Hello"), "{number}: {out:?}");
        }
    }

    #[test]
    fn what_is_corrupt_or_cut_off_is_refused() {
        let fixed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        for compressed in [
            // A reserved block type; a stored block whose lengths disagree.
            &[0x06][..],
            &[0x00, 0x05, 0x00, 0xfb, 0xff, 0x48],
            // References to what is not there.
            &[0xf2, 0x00, 0x11, 0x00, 0x00],
            &[0x02, 0x13, 0x00, 0x00],
            // Cut inside a block of each type.
            &fixed[..3],
            &fixed[..5],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65],
            &[0x04, 0xc0],
            &[0xff; 40],
        ] {
            let restored = restore(compressed, 1000);
            assert_eq!(restored, Err(ProtocolError::CorruptCompression), "{compressed:02x?}");
        }
    }

    #[test]
    fn a_message_is_held_to_its_limit_to_the_byte() {
        let mut compressor = Compressor::new();
        for size in [100, 16 * 1024, 100_000] {
            for (message, kind) in
                [(vec![0; size], "zeros"), (b"abcdefg".repeat(size / 7), "words")]
            {
                let mut compressed = Vec::new();
                assert!(compressor.compress(&message, 15, &mut compressed));
                assert!(restore(&compressed, message.len()).is_ok(), "{size} {kind}");
                for below in [1, 2, message.len()] {
                    let limit = message.len() - below;
                    let restored = restore(&compressed, limit);
                    assert_eq!(restored, Err(ProtocolError::MessageTooBig), "{size} {kind}");
                }
            }
        }
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_limit() {
        let mut compressed = Vec::new();
        assert!(Compressor::new().compress(&vec![0; 4 << 20], 15, &mut compressed));
        assert!(compressed.len() < 1 << 16);
        let mut out = Vec::new();
        let restored =
            Inflater::new().inflate(MessageKind::Binary, &compressed, None, 1 << 18, &mut out);
        assert_eq!(restored, Err(ProtocolError::MessageTooBig));
        assert!(out.capacity() <= 1 << 19);
        // Streams that restore to nothing are not followed for ever.
        let restored = restore(&[3, 0].repeat(100_000), 1 << 20);
        assert_eq!(restored, Err(ProtocolError::CorruptCompression));
    }

    #[test]
    fn text_fails_at_its_first_bad_byte() {
        let mut message = "é".repeat(20_000).into_bytes();
        message.extend_from_slice(b"\xff");
        message.extend(std::iter::repeat_n(b'.', 1 << 18));
        let mut compressed = Vec::new();
        assert!(Compressor::new().compress(&message, 15, &mut compressed));
        let mut out = Vec::new();
        let restored =
            Inflater::new().inflate(MessageKind::Text, &compressed, None, 1 << 24, &mut out);
        assert_eq!(restored, Err(ProtocolError::InvalidUtf8));
        assert!(out.len() <= 40_000, "what follows was not restored");
        // A character cut off by the end of the message.
        let mut out = Vec::new();
        let cut = [0x00, 0x01, 0x00, 0xfe, 0xff, 0xc3, 0x00];
        let restored = Inflater::new().inflate(MessageKind::Text, &cut, None, 10, &mut out);
        assert_eq!(restored, Err(ProtocolError::InvalidUtf8));
    }

    #[test]
    fn a_history_holds_its_window_and_no_more() {
        for bits in [8, 12, 15] {
            let mut history = History::new(bits);
            for size in [1, 100, 5000, 40_000, 3] {
                history.keep(&vec![1; size]);
                assert!(history.bytes.capacity() <= History::memory_bytes(bits));
            }
            assert_eq!(history.bytes.len(), 1 << bits);
        }
    }
}
