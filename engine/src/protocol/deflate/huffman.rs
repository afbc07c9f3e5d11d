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
    /// The best code of at most `bits_max` bits for symbols that occur this often, and how many bits
    /// they take in it. There must be at least two that occur.
    pub(super) fn for_frequencies(frequencies: &[u32; SYMBOLS], bits_max: usize) -> (Self, u64) {
        let mut occurring = [0; SYMBOLS];
        let occurring = find_occurring(frequencies, &mut occurring);
        let mut by_frequency = [0; SYMBOLS];
        let by_frequency = sort_by_frequency(frequencies, occurring, &mut by_frequency);
        let counts = limited_counts(by_frequency, bits_max);
        let mut code = Self { lengths: [0; SYMBOLS], bits: [0; SYMBOLS] };
        let mut cost = 0;
        // The rarest symbols get the longest codes.
        let mut rarest = by_frequency.iter();
        for length in (1..=bits_max).rev() {
            for entry in rarest.by_ref().take(counts[length].into()) {
                code.lengths[symbol_of(*entry)] = length as u8;
                cost += u64::from(frequency_of(*entry)) * length as u64;
            }
        }
        code.number(&counts, occurring.iter().map(|symbol| usize::from(*symbol)));
        (code, cost)
    }

    /// The canonical code with these lengths.
    pub(super) fn from_lengths(lengths: [u8; SYMBOLS]) -> Self {
        let mut counts = [0u16; CODE_BITS_MAX + 1];
        for &length in &lengths {
            counts[usize::from(length)] += 1;
        }
        counts[0] = 0;
        let mut code = Self { lengths, bits: [0; SYMBOLS] };
        code.number(&counts, 0..SYMBOLS);
        code
    }

    /// A symbol's code and how many bits that has.
    #[inline]
    pub(super) fn get(&self, symbol: usize) -> (u64, u32) {
        (self.bits[symbol].into(), self.lengths[symbol].into())
    }

    /// Gives symbols, in their order, the codes of section 3.2.2: so many there are of each length.
    fn number(&mut self, counts: &LengthCounts, symbols: impl Iterator<Item = usize>) {
        let mut next = [0u16; CODE_BITS_MAX + 1];
        let mut code = 0;
        for length in 1..=CODE_BITS_MAX {
            code = (code + counts[length - 1]) << 1;
            next[length] = code;
        }
        for symbol in symbols {
            let length = self.lengths[symbol];
            if length > 0 {
                let next = &mut next[usize::from(length)];
                self.bits[symbol] = next.reverse_bits() >> (16 - length);
                *next += 1;
            }
        }
    }
}

/// How many codes there are of each length.
type LengthCounts = [u16; CODE_BITS_MAX + 1];

/// A symbol with its frequency before it, so that they sort by that.
fn entry(frequency: u32, symbol: u16) -> u32 {
    frequency << 9 | u32::from(symbol)
}

fn frequency_of(entry: u32) -> u32 {
    entry >> 9
}

fn symbol_of(entry: u32) -> usize {
    (entry & 511) as usize
}

/// The symbols that occur, in their order.
fn find_occurring<'s>(frequencies: &[u32], symbols: &'s mut [u16]) -> &'s [u16] {
    let mut found = 0;
    let (eights, rest) = frequencies.as_chunks::<8>();
    let mut note = |symbol: usize, frequency: u32| {
        // Written whether it counts or not: no branch to guess wrong.
        symbols[found] = symbol as u16;
        found += usize::from(frequency > 0);
    };
    for (number, eight) in eights.iter().enumerate() {
        // Text leaves most of the alphabet out.
        if eight.iter().fold(0, |any, frequency| any | frequency) > 0 {
            (0..8).for_each(|index| note(8 * number + index, eight[index]));
        }
    }
    for (index, &frequency) in rest.iter().enumerate() {
        note(8 * eights.len() + index, frequency);
    }
    &symbols[..found]
}

/// Entries of these symbols, the rarest first.
fn sort_by_frequency<'e>(
    frequencies: &[u32],
    symbols: &[u16],
    entries: &'e mut [u32],
) -> &'e [u32] {
    /// Frequencies from here on share a place, and what is there is sorted afterwards.
    const PLACES: usize = 32;
    let place_of = |symbol: u16| (frequencies[usize::from(symbol)] as usize).min(PLACES) - 1;
    let mut starts = [0u16; PLACES + 1];
    for &symbol in symbols {
        starts[place_of(symbol) + 1] += 1;
    }
    for place in 1..PLACES {
        starts[place] += starts[place - 1];
    }
    let shared = usize::from(starts[PLACES - 1]);
    for &symbol in symbols {
        let start = &mut starts[place_of(symbol)];
        entries[usize::from(*start)] = entry(frequencies[usize::from(symbol)], symbol);
        *start += 1;
    }
    entries[shared..symbols.len()].sort_unstable();
    &entries[..symbols.len()]
}

/// How many leaves of the Huffman tree over these symbols, rarest first, lie at each depth; those
/// that lie too deep are moved up, and others down until the code is a prefix code again.
fn limited_counts(by_frequency: &[u32], bits_max: usize) -> LengthCounts {
    let leaves = by_frequency.len();
    let mut weights = [0u32; SYMBOLS_MAX];
    let mut leaf_parents = [0u16; SYMBOLS_MAX];
    let mut inner_parents = [0u16; SYMBOLS_MAX];
    // Two queues, both in order of weight: the leaves, and the inner nodes as they are made.
    let (mut leaf, mut inner) = (0, 0);
    for made in 0..leaves.saturating_sub(1) {
        let mut weight = 0;
        for _ in 0..2 {
            let next = by_frequency.get(leaf).map(|entry| frequency_of(*entry));
            match next {
                Some(frequency) if inner == made || frequency <= weights[inner] => {
                    weight += frequency;
                    leaf_parents[leaf] = made as u16;
                    leaf += 1;
                }
                _ => {
                    weight += weights[inner];
                    inner_parents[inner] = made as u16;
                    inner += 1;
                }
            }
        }
        weights[made] = weight;
    }
    let mut depths = [0u8; SYMBOLS_MAX];
    let deeper = |depth: u8| (usize::from(depth) + 1).min(bits_max);
    for node in (0..leaves.saturating_sub(2)).rev() {
        depths[node] = deeper(depths[usize::from(inner_parents[node])]) as u8;
    }
    let mut counts = [0; CODE_BITS_MAX + 1];
    for parent in &leaf_parents[..leaves] {
        counts[deeper(depths[usize::from(*parent)])] += 1;
    }
    balance(&mut counts, bits_max);
    counts
}

/// Moves leaves down until those that were moved up to `bits_max` fit.
fn balance(counts: &mut LengthCounts, bits_max: usize) {
    let space = 1 << bits_max;
    let taken = (1..=bits_max).map(|depth| u32::from(counts[depth]) << (bits_max - depth));
    let mut taken: u32 = taken.sum();
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
        let (code, cost) = Code::<5>::for_frequencies(&[10, 1, 0, 20, 5], 15);
        assert_eq!(code.lengths, [2, 3, 0, 1, 3]);
        assert_eq!(code.bits, [0b01, 0b011, 0, 0, 0b111]);
        assert_eq!(cost, 20 + 3 + 20 + 15);
    }

    #[test]
    fn no_code_is_longer_than_allowed_and_every_code_is_complete() {
        let mut fibonacci = [1u32; 24];
        for index in 2..24 {
            fibonacci[index] = fibonacci[index - 1] + fibonacci[index - 2];
        }
        for bits_max in [5, 7, 10, 15] {
            let (code, cost) = Code::for_frequencies(&fibonacci, bits_max);
            assert!(code.lengths.iter().all(|&length| usize::from(length) <= bits_max));
            assert_eq!(space(&code.lengths), 1 << 15, "{bits_max}");
            let costs = fibonacci.iter().zip(&code.lengths);
            let costs = costs.map(|(often, length)| u64::from(*often) * u64::from(*length));
            assert_eq!(costs.sum::<u64>(), cost, "{bits_max}");
        }
        let (code, cost) = Code::<288>::for_frequencies(&[1; 288], 15);
        assert_eq!((space(&code.lengths), cost), (1 << 15, 224 * 8 + 64 * 9));
        let (code, cost) = Code::<2>::for_frequencies(&[1, 9], 7);
        assert_eq!((code.lengths, cost), ([1, 1], 10));
    }
}
