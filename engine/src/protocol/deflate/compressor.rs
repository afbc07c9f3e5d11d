//! Compresses messages (RFC 7692 section 7.2.1). It frames nothing and decides nothing: which
//! messages are worth it is for the caller to say.
//!
//! One [`Compressor`] serves any number of connections: between messages it holds nothing of
//! theirs. What a connection with context takeover keeps from one message to the next is in its
//! [`CompressionContext`].

use super::bits::BitWriter;
use super::block::{BLOCK_BYTES_MAX, BlockWriter};
use super::matches::{Matcher, Sequence};
use super::{WINDOW_BITS_MAX, WINDOW_BITS_MIN};

/// Longest message that is compressed: positions are counted in 32 bits.
const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// Entries of the shared table as a power of two: 32 KiB, which stay in the nearest caches.
const SHARED_HASH_BITS: u32 = 13;

/// Compresses one message at a time.
#[derive(Debug)]
pub struct Compressor {
    matcher: Matcher,
    blocks: BlockWriter,
    sequences: Vec<Sequence>,
    keeps_longer: bool,
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor {
    /// A compressor, about 170 KiB with what it needs while it works.
    #[must_use]
    pub fn new() -> Self {
        let matcher = Matcher::new(SHARED_HASH_BITS);
        Self { matcher, blocks: BlockWriter::new(), sequences: Vec::new(), keeps_longer: false }
    }

    /// The same, but messages that become longer are compressed as well.
    #[must_use]
    pub fn keeping_longer(mut self) -> Self {
        self.keeps_longer = true;
        self
    }

    /// Appends the compressed form of a message that refers to nothing before it, and to nothing
    /// farther back than 2^`window_bits` bytes (8 to 15). `false`, and nothing appended, when that
    /// would not be shorter than the message itself.
    pub fn compress(&mut self, message: &[u8], window_bits: u8, out: &mut Vec<u8>) -> bool {
        if message.len() > MESSAGE_BYTES_MAX {
            return false;
        }
        let window_bytes = window_bytes(window_bits);
        let before = out.len();
        let (sequences, blocks) = (&mut self.sequences, &self.blocks);
        self.matcher.narrow_to(message.len());
        write_message(&mut self.matcher, blocks, sequences, message, 0, window_bytes, out);
        self.matcher.forget(message.len());
        self.keeps_longer || keep_if_shorter(out, before, message.len())
    }

    /// [`compress`](Self::compress) with references to the messages before it on the same
    /// connection. When it returns `false` the message must be sent as it is; the peer's history
    /// does not change by that, and neither does the context.
    pub fn compress_on(
        &mut self,
        context: &mut CompressionContext,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        if message.len() > MESSAGE_BYTES_MAX {
            return false;
        }
        let window_bytes = window_bytes(context.window_bits);
        context.make_room(message.len());
        let (before, from) = (out.len(), context.history.len());
        let (sequences, blocks) = (&mut self.sequences, &self.blocks);
        let (matcher, history) = (&mut context.matcher, &mut context.history);
        history.extend_from_slice(message);
        write_message(matcher, blocks, sequences, history, from, window_bytes, out);
        let kept = self.keeps_longer || keep_if_shorter(out, before, message.len());
        if !kept {
            history.truncate(from);
        }
        context.shrink();
        kept
    }
}

/// What a connection keeps of the messages it has sent: the last of their bytes and where to find
/// them again.
#[derive(Debug)]
pub struct CompressionContext {
    history: Vec<u8>,
    matcher: Matcher,
    window_bits: u8,
}

impl CompressionContext {
    /// An empty one for a window of 2^`window_bits` bytes (8 to 15).
    #[must_use]
    pub fn new(window_bits: u8) -> Self {
        let window_bits = window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
        let matcher = Matcher::new(hash_bits(window_bits));
        Self { history: Vec::new(), matcher, window_bits }
    }

    /// Memory that one of this window holds between messages, in bytes: the window twice, and its
    /// table. 1.5 KiB for 8 bits, 16 KiB for 12, 96 KiB for 15.
    #[must_use]
    pub fn memory_bytes(window_bits: u8) -> usize {
        let window_bits = window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
        2 * window_bytes(window_bits) + Matcher::memory_bytes(hash_bits(window_bits))
    }

    /// Memory that it holds now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.history.capacity() + Matcher::memory_bytes(hash_bits(self.window_bits))
    }

    /// Makes room for a message: beyond twice the window only for one that is longer.
    fn make_room(&mut self, bytes: usize) {
        let most = 2 * window_bytes(self.window_bits);
        if self.history.len() + bytes > most {
            self.keep_window();
        }
        let needed = self.history.len() + bytes;
        if self.history.capacity() < needed {
            let capacity = (2 * self.history.capacity()).min(most).max(needed);
            self.history.reserve_exact(capacity - self.history.len());
        }
    }

    /// Lets go of what a long message took, whether or not it was kept.
    fn shrink(&mut self) {
        let most = 2 * window_bytes(self.window_bits);
        if self.history.len() > most {
            self.keep_window();
        }
        if self.history.capacity() > most {
            self.history.shrink_to(most);
        }
    }

    /// Drops what lies beyond the window.
    fn keep_window(&mut self) {
        let gone = self.history.len().saturating_sub(window_bytes(self.window_bits));
        self.history.drain(..gone);
        self.matcher.slide(gone);
    }
}

fn window_bytes(window_bits: u8) -> usize {
    1 << window_bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX)
}

/// One entry for each four bytes of the window, within what pays.
fn hash_bits(window_bits: u8) -> u32 {
    u32::from(window_bits - 2).min(SHARED_HASH_BITS)
}

/// Writes `data[from..]` as blocks, then the first byte of the empty block that ends a message
/// (section 7.2.1: the other four are left out).
fn write_message(
    matcher: &mut Matcher,
    blocks: &BlockWriter,
    sequences: &mut Vec<Sequence>,
    data: &[u8],
    from: usize,
    window_bytes: usize,
    out: &mut Vec<u8>,
) {
    let mut writer = BitWriter::new(out);
    let mut at = from;
    while at < data.len() {
        let end = data.len().min(at + BLOCK_BYTES_MAX);
        sequences.clear();
        matcher.find(data, at, end, window_bytes, sequences);
        blocks.write(&mut writer, sequences, &data[at..end]);
        at = end;
    }
    writer.write(3, |mut room| {
        room.put(0, 3);
        room
    });
    writer.finish();
}

fn keep_if_shorter(out: &mut Vec<u8>, before: usize, message_bytes: usize) -> bool {
    let shorter = out.len() - before < message_bytes;
    if !shorter {
        out.truncate(before);
    }
    shorter
}
