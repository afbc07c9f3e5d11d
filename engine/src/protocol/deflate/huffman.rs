//! Huffman codes of limited length (RFC 1951 section 3.2.2): lengths from frequencies, codes from
//! lengths. It writes nothing.

/// Symbols of the largest alphabet, of literals and lengths.
pub(super) const SYMBOLS_MAX: usize = 288;
/// Longest code of section 3.2.7.
pub(super) const CODE_BITS_MAX: usize = 15;

/// A code for each symbol of an alphabet; length 0 for a symbol that does not occur.
#[derive(Clone, Debug)]
pub(super) struct Code<const SYMBOLS: usize> {
    pub(super) lengths: [u8; SYMBOLS],
    /// With the bits in the order in which they are sent.
    pub(super) bits: [u16; SYMBOLS],
}

impl<const SYMBOLS: usize> Code<SYMBOLS> {
    /// The best code of at most `bits_max` bits for symbols that occur this often.
    pub(super) fn for_frequencies(frequencies: &[u32; SYMBOLS], bits_max: usize) -> Self {
        let mut lengths = [0; SYMBOLS];
        assign_lengths(frequencies, bits_max, &mut lengths);
        Self::from_lengths(lengths)
    }

    /// The canonical code with these lengths.
    pub(super) fn from_lengths(lengths: [u8; SYMBOLS]) -> Self {
        let mut counts = [0u16; CODE_BITS_MAX + 1];
        for &length in &lengths {
            counts[usize::from(length)] += 1;
        }
        counts[0] = 0;
        let mut next = [0u16; CODE_BITS_MAX + 1];
        let mut code = 0;
        for length in 1..=CODE_BITS_MAX {
            code = (code + counts[length - 1]) << 1;
            next[length] = code;
        }
        let mut bits = [0; SYMBOLS];
        for (bits, &length) in bits.iter_mut().zip(&lengths) {
            if length > 0 {
                let next = &mut next[usize::from(length)];
                *bits = next.reverse_bits() >> (16 - length);
                *next += 1;
            }
        }
        Self { lengths, bits }
    }

    /// Bits that symbols of these frequencies take.
    pub(super) fn cost(&self, frequencies: &[u32; SYMBOLS]) -> u64 {
        let costs = frequencies.iter().zip(&self.lengths);
        costs.map(|(&frequency, &length)| u64::from(frequency) * u64::from(length)).sum()
    }
}

/// Lengths of a best prefix code, shortened to `bits_max` where it is longer. There must be at
/// least two symbols that occur.
fn assign_lengths(frequencies: &[u32], bits_max: usize, lengths: &mut [u8]) {
    let mut order = [0u32; SYMBOLS_MAX];
    let mut used = 0;
    for (symbol, &frequency) in frequencies.iter().enumerate() {
        if frequency > 0 {
            order[used] = frequency << 9 | symbol as u32;
            used += 1;
        }
    }
    let order = &mut order[..used];
    order.sort_unstable();
    let mut counts = depth_counts(order);
    limit_depths(&mut counts, bits_max);
    // The rarest symbols get the longest codes.
    let mut rarest = order.iter();
    for length in (1..=bits_max).rev() {
        for entry in rarest.by_ref().take(counts[length] as usize) {
            lengths[(entry & 511) as usize] = length as u8;
        }
    }
}

/// How many leaves of the Huffman tree over these symbols, rarest first, lie at each depth.
fn depth_counts(order: &[u32]) -> [u32; SYMBOLS_MAX] {
    let leaves = order.len();
    let mut counts = [0; SYMBOLS_MAX];
    let mut weights = [0u32; SYMBOLS_MAX];
    let mut parents = [0u16; 2 * SYMBOLS_MAX];
    // Two queues, both in order of weight: the leaves, and the inner nodes as they are made.
    let (mut leaf, mut inner) = (0, 0);
    for made in 0..leaves.saturating_sub(1) {
        for _ in 0..2 {
            let leaf_is_next =
                leaf < leaves && (inner == made || order[leaf] >> 9 <= weights[inner]);
            if leaf_is_next {
                weights[made] += order[leaf] >> 9;
                parents[leaf] = made as u16;
                leaf += 1;
            } else {
                weights[made] += weights[inner];
                parents[leaves + inner] = made as u16;
                inner += 1;
            }
        }
    }
    let root = leaves.saturating_sub(2);
    let mut depths = [0u16; SYMBOLS_MAX];
    for node in (0..root).rev() {
        depths[node] = depths[usize::from(parents[leaves + node])] + 1;
    }
    for leaf in 0..leaves {
        counts[usize::from(depths[usize::from(parents[leaf])]) + 1] += 1;
    }
    counts
}

/// Moves leaves that lie too deep up, and others down until the code is a prefix code again.
fn limit_depths(counts: &mut [u32; SYMBOLS_MAX], bits_max: usize) {
    for depth in bits_max + 1..SYMBOLS_MAX {
        counts[bits_max] += std::mem::take(&mut counts[depth]);
    }
    let space = 1 << bits_max;
    let mut taken: u32 = (1..=bits_max).map(|depth| counts[depth] << (bits_max - depth)).sum();
    while taken > space {
        counts[bits_max] -= 1;
        let Some(depth) = (1..bits_max).rev().find(|&depth| counts[depth] > 0) else { return };
        counts[depth] -= 1;
        counts[depth + 1] += 2;
        taken -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of 2^-length, in units of 2^-15.
    fn space(lengths: &[u8]) -> u32 {
        lengths.iter().filter(|&&length| length > 0).map(|length| 1 << (15 - length)).sum()
    }

    #[test]
    fn frequent_symbols_get_short_codes() {
        let code = Code::<5>::for_frequencies(&[10, 1, 0, 20, 5], 15);
        assert_eq!(code.lengths, [2, 3, 0, 1, 3]);
        assert_eq!(code.bits, [0b01, 0b011, 0, 0, 0b111]);
        assert_eq!(code.cost(&[10, 1, 0, 20, 5]), 20 + 3 + 20 + 15);
    }

    #[test]
    fn no_code_is_longer_than_allowed_and_every_code_is_complete() {
        let mut fibonacci = [1u32; 24];
        for index in 2..24 {
            fibonacci[index] = fibonacci[index - 1] + fibonacci[index - 2];
        }
        for bits_max in [5, 7, 10, 15] {
            let code = Code::for_frequencies(&fibonacci, bits_max);
            assert!(code.lengths.iter().all(|&length| usize::from(length) <= bits_max));
            assert_eq!(space(&code.lengths), 1 << 15, "{bits_max}");
        }
        let code = Code::<288>::for_frequencies(&[1; 288], 15);
        assert_eq!(space(&code.lengths), 1 << 15);
        let code = Code::<2>::for_frequencies(&[1, 9], 7);
        assert_eq!(code.lengths, [1, 1]);
    }
}
