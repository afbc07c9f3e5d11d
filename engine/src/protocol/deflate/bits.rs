//! Bits to bytes, lowest bit first (RFC 1951 section 3.1.1). It knows no block.

/// Bytes that each [`BitWriter::put`] writes, whether it has so many bits or not.
const WORD_BYTES: usize = 8;

/// Appends bits to a vector.
#[derive(Debug)]
pub(super) struct BitWriter<'v> {
    /// The whole bytes.
    out: &'v mut Vec<u8>,
    bits: HeldBits,
}

/// Bits that are no whole byte yet.
///
/// Invariant: fewer than 8.
#[derive(Clone, Copy, Debug, Default)]
struct HeldBits {
    bits: u64,
    count: u32,
}

impl<'v> BitWriter<'v> {
    pub(super) fn new(out: &'v mut Vec<u8>) -> Self {
        Self { out, bits: HeldBits::default() }
    }

    /// How many bits are missing until the next byte begins.
    pub(super) fn bits_to_alignment(&self) -> u32 {
        self.bits.missing()
    }

    /// Writes at most so many bits.
    pub(super) fn write(
        &mut self,
        bits_max: u64,
        write: impl for<'r> FnOnce(BitRoom<'r>) -> BitRoom<'r>,
    ) {
        let begin = self.out.len();
        self.out.resize(begin + (bits_max / 8) as usize + 1 + WORD_BYTES, 0);
        let written = write(BitRoom { room: &mut self.out[begin..], at: 0, held: self.bits });
        self.bits = written.held;
        let end = begin + written.at;
        self.out.truncate(end);
    }

    /// Fills the last byte with zeros.
    pub(super) fn finish(mut self) {
        self.write(7, |room| room.align());
    }
}

/// Room for the bits of one block, handed from one writer to the next.
#[derive(Debug)]
pub(super) struct BitRoom<'r> {
    room: &'r mut [u8],
    at: usize,
    held: HeldBits,
}

impl<'r> BitRoom<'r> {
    /// The same as the caller's own: one that was handed over lies in memory, and every bit that is
    /// put would be stored there.
    #[inline(always)]
    pub(super) fn own(self) -> BitRoom<'r> {
        BitRoom { room: self.room, at: self.at, held: self.held }
    }

    /// Appends the lowest `count` bits of `bits`, at most 56; the others are zero.
    #[inline]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        let held = self.held.bits | bits.wrapping_shl(self.held.count);
        let held_count = self.held.count.wrapping_add(count);
        // Always eight bytes, of which the next ones replace what was not whole: the length of a
        // copy is known when it is compiled.
        self.room[self.at..][..WORD_BYTES].copy_from_slice(&held.to_le_bytes());
        self.at = self.at.wrapping_add((held_count / 8) as usize);
        self.held = HeldBits { bits: held.wrapping_shr(held_count & !7), count: held_count % 8 };
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(mut self) -> Self {
        self.put(0, self.held.missing());
        self
    }

    /// Appends whole bytes. Only where a byte begins.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.held.count, 0, "bytes begin where a byte begins");
        self.room[self.at..][..bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

impl HeldBits {
    fn missing(self) -> u32 {
        (8 - self.count) % 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_fill_bytes_from_the_lowest_on() {
        let mut out = vec![0xaa];
        let mut writer = BitWriter::new(&mut out);
        writer.write(57, |mut room| {
            room.put(0b1, 1);
            room.put(0b10, 2);
            room.put(0b1_0110, 5);
            room.put(0xffff_ffff_ffff, 48);
            room.put(1, 1);
            room
        });
        assert_eq!(writer.bits_to_alignment(), 7);
        writer.write(7 + 8, |room| {
            let mut room = room.align();
            room.bytes(b"z");
            room
        });
        writer.finish();
        let expected = [0xaa, 0b1011_0101, 255, 255, 255, 255, 255, 255, 1, b'z'];
        assert_eq!(out, expected);
    }

    #[test]
    fn room_is_enough_for_as_many_bits_as_it_was_made_for() {
        for bits in 1..200 {
            let mut out = Vec::new();
            let mut writer = BitWriter::new(&mut out);
            // Bits that were held back before have their room as well.
            for _ in 0..3 {
                writer.write(bits, |mut room| {
                    (0..bits).for_each(|_| room.put(1, 1));
                    room
                });
            }
            writer.finish();
            let whole = (3 * bits / 8) as usize;
            assert!(out[..whole].iter().all(|&byte| byte == 255), "{bits}");
            assert_eq!(out.len(), (3 * bits).div_ceil(8) as usize);
        }
    }
}
