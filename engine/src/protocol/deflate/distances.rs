//! How far the references of a compressed message reach back (RFC 1951 section 3.2). It restores
//! nothing and judges nothing else: a message comes here after it has been restored, so what it reads
//! is sound.
//!
//! The inflater's library works with the largest window whatever it is told, so a reference within a
//! message could reach back farther than was agreed.

use std::sync::LazyLock;

use super::block::{LENGTH_ORDER, LENGTH_SYMBOLS};
use super::huffman::{CODE_BITS_MAX, Code, SYMBOLS_MAX};

/// Codes of at most this many bits are found in one look; more would take long to set up for blocks
/// that are short.
const LOOK_BITS: u32 = 9;
const END_OF_BLOCK: usize = 256;
const DISTANCE_SYMBOLS: usize = 32;

/// Whether a message that can be restored refers to bytes more than 2^`window_bits` before.
#[must_use]
pub fn refers_beyond(compressed: &[u8], window_bits: u8) -> bool {
    let mut bits = Bits { rest: compressed, held: 0, count: 0 };
    // The end may lie anywhere in what senders leave out of the last block.
    Walk { window_bytes: 1 << window_bits }.walk(&mut bits).unwrap_or(false)
}

struct Walk {
    window_bytes: usize,
}

impl Walk {
    /// `None` at the end of the message.
    fn walk(&self, bits: &mut Bits<'_>) -> Option<bool> {
        loop {
            let header = bits.take(3)?;
            let beyond = match header >> 1 {
                0 => bits.skip_stored().map(|()| false)?,
                1 => self.walk_block(bits, &FIXED_CODES.0, &FIXED_CODES.1)?,
                2 => {
                    let (literals, distances) = own_codes(bits)?;
                    self.walk_block(bits, &literals, &distances)?
                }
                _ => return None,
            };
            if beyond {
                return Some(true);
            }
            if header & 1 == 1 {
                // Behind a last block another stream may begin, with the next byte.
                bits.align();
            }
        }
    }

    fn walk_block(
        &self,
        bits: &mut Bits<'_>,
        literals: &Decoder,
        distances: &Decoder,
    ) -> Option<bool> {
        loop {
            let symbol = literals.next(bits)?;
            if symbol < END_OF_BLOCK {
                continue;
            }
            if symbol == END_OF_BLOCK {
                return Some(false);
            }
            // Section 3.2.5.
            let length_bits = match symbol - END_OF_BLOCK - 1 {
                ..8 | 28 => 0,
                code => code as u32 / 4 - 1,
            };
            bits.take(length_bits)?;
            let code = distances.next(bits)?;
            let extra_bits = (code as u32 / 2).saturating_sub(1);
            let base = if code < 4 { code } else { (2 + code % 2) << extra_bits };
            let distance = base + bits.take(extra_bits)? + 1;
            if distance > self.window_bytes {
                return Some(true);
            }
        }
    }
}

/// The codes of section 3.2.6, for literals and for distances. They are made once: a message may be
/// nothing but short blocks.
static FIXED_CODES: LazyLock<(Decoder, Decoder)> = LazyLock::new(|| {
    let mut lengths = [8; SYMBOLS_MAX];
    lengths[144..256].fill(9);
    lengths[256..280].fill(7);
    (Decoder::new(&lengths), Decoder::new(&[5; DISTANCE_SYMBOLS]))
});

/// The codes that stand at the beginning of a block (section 3.2.7).
fn own_codes(bits: &mut Bits<'_>) -> Option<(Decoder, Decoder)> {
    let literals = 257 + bits.take(5)?;
    let distances = 1 + bits.take(5)?;
    let sent = 4 + bits.take(4)?;
    let mut lengths = [0; LENGTH_SYMBOLS];
    for &symbol in &LENGTH_ORDER[..sent] {
        lengths[symbol] = bits.take(3)? as u8;
    }
    let code = Decoder::new(&lengths);
    let mut lengths = [0; SYMBOLS_MAX + DISTANCE_SYMBOLS];
    let all = lengths.get_mut(..literals + distances)?;
    let mut at = 0;
    while at < all.len() {
        let symbol = code.next(bits)?;
        let (value, times) = match symbol {
            16 => (*all.get(at.checked_sub(1)?)?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            length => (length as u8, 1),
        };
        all.get_mut(at..at + times)?.fill(value);
        at += times;
    }
    Some((Decoder::new(&all[..literals]), Decoder::new(&all[literals..])))
}

/// Symbols from bits.
struct Decoder {
    /// By the next [`LOOK_BITS`] bits: a symbol and how long its code is; 0 for a longer code.
    look: Box<[u16; 1 << LOOK_BITS]>,
    /// How many codes there are of each length.
    counts: [u16; CODE_BITS_MAX + 1],
    /// The symbols in the order of their codes.
    ordered: Vec<u16>,
}

impl Decoder {
    fn new(lengths: &[u8]) -> Self {
        let mut padded = [0; SYMBOLS_MAX];
        padded[..lengths.len()].copy_from_slice(lengths);
        let code = Code::<SYMBOLS_MAX>::from_lengths(padded);
        let mut look = Box::new([0; 1 << LOOK_BITS]);
        let mut counts = [0; CODE_BITS_MAX + 1];
        let mut ordered: Vec<u16> = Vec::with_capacity(lengths.len());
        for (symbol, &length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            counts[usize::from(length)] += 1;
            ordered.push(symbol as u16);
            if u32::from(length) <= LOOK_BITS {
                let places = (usize::from(code.bits[symbol])..1 << LOOK_BITS).step_by(1 << length);
                places.for_each(|place| look[place] = (symbol as u16) << 4 | u16::from(length));
            }
        }
        ordered.sort_by_key(|&symbol| lengths[usize::from(symbol)]);
        Self { look, counts, ordered }
    }

    #[inline]
    fn next(&self, bits: &mut Bits<'_>) -> Option<usize> {
        bits.refill();
        let found = self.look[bits.held as usize % (1 << LOOK_BITS)];
        if found > 0 {
            bits.drop(u32::from(found & 15))?;
            return Some(usize::from(found >> 4));
        }
        self.next_long(bits)
    }

    /// Bit by bit: the codes of each length follow those of the one before.
    #[cold]
    fn next_long(&self, bits: &mut Bits<'_>) -> Option<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for length in 1..=CODE_BITS_MAX {
            code |= bits.held as usize >> (length - 1) & 1;
            let count = usize::from(self.counts[length]);
            if code < first + count {
                bits.drop(length as u32)?;
                let symbol = self.ordered.get((index + code).checked_sub(first)?)?;
                return Some(usize::from(*symbol));
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

/// Bits of bytes, lowest first.
struct Bits<'a> {
    rest: &'a [u8],
    held: u64,
    count: u32,
}

impl Bits<'_> {
    /// Holds at least 56 bits, if there are so many.
    #[inline]
    fn refill(&mut self) {
        while self.count <= 56
            && let Some((&byte, rest)) = self.rest.split_first()
        {
            self.held |= u64::from(byte) << self.count;
            self.count += 8;
            self.rest = rest;
        }
    }

    #[inline]
    fn drop(&mut self, count: u32) -> Option<()> {
        self.count = self.count.checked_sub(count)?;
        self.held >>= count;
        Some(())
    }

    #[inline]
    fn take(&mut self, count: u32) -> Option<usize> {
        if self.count < count {
            self.refill();
        }
        let bits = self.held as usize & ((1 << count) - 1);
        self.drop(count).map(|()| bits)
    }

    fn align(&mut self) {
        let _always_there = self.drop(self.count % 8);
    }

    /// Passes over a stored block (section 3.2.4).
    fn skip_stored(&mut self) -> Option<()> {
        self.align();
        let length = self.take(16)?;
        self.take(16)?;
        let held = (self.count / 8) as usize;
        self.drop(8 * held.min(length) as u32)?;
        self.rest = self.rest.get(length.saturating_sub(held)..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MessageKind;
    use crate::protocol::deflate::bits::BitWriter;
    use crate::protocol::deflate::block::BlockWriter;
    use crate::protocol::deflate::matches::Sequence;
    use crate::protocol::deflate::{Compressor, Inflater};

    /// A message that refers back exactly so far, in blocks of the form that its size calls for.
    fn referring(distance: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..distance).map(|at| (at * 7 % 251) as u8).collect();
        // Stored blocks have no references: whatever this is compared with is longer.
        bytes.resize(60_000, 0);
        let sequences = [Sequence::new(distance, 4, distance), Sequence::last(0)];
        let mut out = Vec::new();
        let mut writer = BitWriter::new(&mut out);
        BlockWriter::new().write(&mut writer, &sequences, &bytes);
        writer.write(3, |mut room| {
            room.put(0, 3);
            room
        });
        writer.finish();
        out
    }

    #[test]
    fn the_farthest_reference_decides() {
        for bits in 8..=14 {
            let window = 1 << bits;
            for (distance, beyond) in [
                (1, false),
                (window - 1, false),
                (window, false),
                (window + 1, true),
                (32_768, true),
            ] {
                let compressed = referring(distance);
                let mut out = Vec::new();
                let restored = Inflater::new().inflate(
                    MessageKind::Binary,
                    &compressed,
                    None,
                    1 << 20,
                    &mut out,
                );
                assert_eq!(restored, Ok(()));
                assert_eq!(refers_beyond(&compressed, bits), beyond, "{bits} bits: {distance}");
                // Wherever else blocks of all forms stand around it.
                let stored = [&[0, 2, 0, 0xfd, 0xff][..], b"ab"].concat();
                let last = [0x01, 1, 0, 0xfe, 0xff, b'x'];
                let empty = &compressed[compressed.len()..];
                for around in [&stored[..], &last, empty] {
                    // The empty block that ends the message lacks what is left out there.
                    let whole = [around, &compressed, &[0, 0, 0xff, 0xff], around].concat();
                    assert_eq!(refers_beyond(&whole, bits), beyond, "{bits} bits: {distance}");
                }
            }
        }
        assert!(!refers_beyond(&referring(32_768), 15));
    }

    #[test]
    fn what_was_compressed_for_a_window_stays_within_it() {
        let text: String = (0..6_000).map(|it| format!("{{\"n\":{}}},", it * it % 7_919)).collect();
        for bits in 8..=15 {
            let mut compressed = Vec::new();
            assert!(Compressor::new().compress(text.as_bytes(), bits, &mut compressed));
            for below in 8..15 {
                assert_eq!(refers_beyond(&compressed, below), below < bits, "{bits} bits");
            }
        }
    }

    #[test]
    fn cut_or_corrupt_bytes_are_read_to_their_end_and_no_farther() {
        let compressed = referring(9_000);
        for end in 0..compressed.len() {
            let _either = refers_beyond(&compressed[..end], 8);
        }
        let mut state = 1u32;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..40)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            let _either = refers_beyond(&bytes, 8);
        }
    }
}
