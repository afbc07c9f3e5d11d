//! Bits to bytes, lowest bit first (RFC 1951 section 3.1.1). It knows no block.

/// Appends bits to a vector.
///
/// Invariant: between calls fewer than 8 bits are held back.
#[derive(Debug)]
pub(super) struct BitWriter<'v> {
    out: &'v mut Vec<u8>,
    held: u64,
    held_bits: u32,
}

impl<'v> BitWriter<'v> {
    pub(super) fn new(out: &'v mut Vec<u8>) -> Self {
        Self { out, held: 0, held_bits: 0 }
    }

    /// Appends the lowest `count` bits of `bits`, at most 56; the others are zero.
    #[inline]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.held |= bits << self.held_bits;
        self.held_bits += count;
        let whole = self.held_bits / 8;
        // Always eight bytes and then back: the length of a copy is known when it is compiled.
        let end = self.out.len() + whole as usize;
        self.out.extend_from_slice(&self.held.to_le_bytes());
        self.out.truncate(end);
        self.held >>= 8 * whole;
        self.held_bits %= 8;
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        let missing = (8 - self.held_bits) % 8;
        self.put(0, missing);
    }

    /// How many bits are missing until the next byte begins.
    pub(super) fn bits_to_alignment(&self) -> u32 {
        (8 - self.held_bits) % 8
    }

    /// Appends whole bytes. Only where a byte begins.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.held_bits, 0, "bytes begin where a byte begins");
        self.out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_fill_bytes_from_the_lowest_on() {
        let mut out = vec![0xaa];
        let mut writer = BitWriter::new(&mut out);
        writer.put(0b1, 1);
        writer.put(0b10, 2);
        writer.put(0b1_0110, 5);
        writer.put(0xffff_ffff_ffff, 48);
        writer.put(1, 1);
        assert_eq!(writer.bits_to_alignment(), 7);
        writer.align();
        writer.bytes(b"z");
        let expected = [0xaa, 0b1011_0101, 255, 255, 255, 255, 255, 255, 1, b'z'];
        assert_eq!(out, expected);
    }
}
