//! Writes blocks (RFC 1951 section 3.2): tokens in whichever of the three forms is shortest. It
//! ends no stream: no block is marked as the last.

use super::bits::BitWriter;
use super::huffman::Code;
use super::matches::Token;

/// Bytes of data in one block, at most what a stored one can hold.
pub(super) const BLOCK_BYTES_MAX: usize = 32 * 1024;
/// Tokens below which a code of the block's own is not tried: its description alone takes more
/// than it can save.
const OWN_CODE_TOKENS_MIN: usize = 48;

const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const END_OF_BLOCK: usize = 256;
pub(super) const LENGTH_SYMBOLS: usize = 19;
const LENGTH_CODE_BITS_MAX: usize = 7;
/// The order in which section 3.2.7 sends the lengths of the code for code lengths.
pub(super) const LENGTH_ORDER: [usize; LENGTH_SYMBOLS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// For each match length less 3: the symbol less 257 and its extra bits (section 3.2.5).
const LENGTH_CODES: [(u8, u8); 256] = {
    let mut codes = [(0, 0); 256];
    let mut length = 0;
    while length < 255 {
        codes[length] = value_code(length, 2);
        length += 1;
    }
    codes[255] = (28, 0);
    codes
};

/// The symbol for a value counted from 0 and how many of its lower bits follow it: each further
/// 2^`shift` symbols stand for twice as many values as those before.
const fn value_code(value: usize, shift: u32) -> (u8, u8) {
    if value < 2 << shift {
        return (value as u8, 0);
    }
    let extra_bits = value.ilog2() - shift;
    let upper = value >> extra_bits;
    ((((extra_bits as usize) << shift) + upper) as u8, extra_bits as u8)
}

/// What the symbols of one block occur how often.
#[derive(Debug)]
struct Frequencies {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// Bits that follow the symbols.
    extra_bits: u64,
}

impl Frequencies {
    fn of(tokens: &[Token]) -> Self {
        let mut counted =
            Self { literals: [0; LITERALS], distances: [0; DISTANCES], extra_bits: 0 };
        counted.literals[END_OF_BLOCK] = 1;
        for token in tokens {
            match token.as_match() {
                None => counted.literals[token.byte()] += 1,
                Some((length, distance)) => {
                    let (length_code, length_extra) = LENGTH_CODES[length];
                    let (distance_code, distance_extra) = value_code(distance, 1);
                    counted.literals[257 + usize::from(length_code)] += 1;
                    counted.distances[usize::from(distance_code)] += 1;
                    counted.extra_bits += u64::from(length_extra) + u64::from(distance_extra);
                }
            }
        }
        counted
    }
}

/// The two codes of a block.
#[derive(Debug)]
struct Codes {
    literals: Code<LITERALS>,
    distances: Code<DISTANCES>,
}

impl Codes {
    /// Those of section 3.2.6.
    fn fixed() -> Self {
        let mut lengths = [8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        let all = Code::<288>::from_lengths(lengths);
        let mut literals = Code { lengths: [0; LITERALS], bits: [0; LITERALS] };
        literals.lengths.copy_from_slice(&all.lengths[..LITERALS]);
        literals.bits.copy_from_slice(&all.bits[..LITERALS]);
        let mut distances = Code { lengths: [5; DISTANCES], bits: [0; DISTANCES] };
        for (code, bits) in distances.bits.iter_mut().enumerate() {
            *bits = (code as u16).reverse_bits() >> 11;
        }
        Self { literals, distances }
    }

    fn cost(&self, frequencies: &Frequencies) -> u64 {
        self.literals.cost(&frequencies.literals)
            + self.distances.cost(&frequencies.distances)
            + frequencies.extra_bits
    }

    fn write(&self, writer: &mut BitWriter<'_>, tokens: &[Token]) {
        for token in tokens {
            let Some((length, distance)) = token.as_match() else {
                let byte = token.byte();
                let count = u32::from(self.literals.lengths[byte]);
                writer.put(self.literals.bits[byte].into(), count);
                continue;
            };
            let (length_code, length_extra) = LENGTH_CODES[length];
            let (distance_code, distance_extra) = value_code(distance, 1);
            let symbol = 257 + usize::from(length_code);
            let mut bits = u64::from(self.literals.bits[symbol]);
            let mut count = u32::from(self.literals.lengths[symbol]);
            bits |= lower_bits(length, length_extra) << count;
            count += u32::from(length_extra);
            let symbol = usize::from(distance_code);
            bits |= u64::from(self.distances.bits[symbol]) << count;
            count += u32::from(self.distances.lengths[symbol]);
            bits |= lower_bits(distance, distance_extra) << count;
            // At most 15 + 5 + 15 + 13 bits.
            writer.put(bits, count + u32::from(distance_extra));
        }
        let count = u32::from(self.literals.lengths[END_OF_BLOCK]);
        writer.put(self.literals.bits[END_OF_BLOCK].into(), count);
    }
}

fn lower_bits(value: usize, count: u8) -> u64 {
    value as u64 & ((1 << count) - 1)
}

/// The lengths of a block's own codes as section 3.2.7 sends them.
#[derive(Debug)]
struct Description {
    /// Symbols of the code for code lengths, each with the extra bits that follow it.
    items: Vec<(u8, u8)>,
    code: Code<LENGTH_SYMBOLS>,
    literals: usize,
    distances: usize,
    lengths_sent: usize,
}

impl Description {
    fn of(codes: &Codes) -> Self {
        let used = |lengths: &[u8], least: usize| {
            lengths.iter().rposition(|&length| length > 0).map_or(least, |last| last + 1).max(least)
        };
        let literals = used(&codes.literals.lengths, 257);
        let distances = used(&codes.distances.lengths, 1);
        let mut all = [0; LITERALS + DISTANCES];
        all[..literals].copy_from_slice(&codes.literals.lengths[..literals]);
        all[literals..literals + distances].copy_from_slice(&codes.distances.lengths[..distances]);
        let items = run_lengths(&all[..literals + distances]);
        let mut frequencies = [0; LENGTH_SYMBOLS];
        for (symbol, _) in &items {
            frequencies[usize::from(*symbol)] += 1;
        }
        let code = Code::for_frequencies(&frequencies, LENGTH_CODE_BITS_MAX);
        let last = LENGTH_ORDER.iter().rposition(|&symbol| code.lengths[symbol] > 0);
        let lengths_sent = last.map_or(4, |last| last + 1).max(4);
        Self { items, code, literals, distances, lengths_sent }
    }

    fn cost(&self) -> u64 {
        let items = self.items.iter().map(|&(symbol, _)| {
            u64::from(self.code.lengths[usize::from(symbol)]) + u64::from(extra_bits_of(symbol))
        });
        14 + 3 * self.lengths_sent as u64 + items.sum::<u64>()
    }

    fn write(&self, writer: &mut BitWriter<'_>) {
        writer.put(self.literals as u64 - 257, 5);
        writer.put(self.distances as u64 - 1, 5);
        writer.put(self.lengths_sent as u64 - 4, 4);
        for &symbol in &LENGTH_ORDER[..self.lengths_sent] {
            writer.put(self.code.lengths[symbol].into(), 3);
        }
        for &(symbol, extra) in &self.items {
            let index = usize::from(symbol);
            let count = u32::from(self.code.lengths[index]);
            let bits = u64::from(self.code.bits[index]) | u64::from(extra) << count;
            writer.put(bits, count + extra_bits_of(symbol));
        }
    }
}

/// Bits after a symbol of the code for code lengths.
fn extra_bits_of(symbol: u8) -> u32 {
    match symbol {
        16 => 2,
        17 => 3,
        18 => 7,
        _ => 0,
    }
}

/// Lengths with their repetitions as symbols 16 to 18.
fn run_lengths(lengths: &[u8]) -> Vec<(u8, u8)> {
    let mut items = Vec::with_capacity(lengths.len());
    for run in lengths.chunk_by(|left, right| left == right) {
        let mut left = run.len();
        let value = run[0];
        if value > 0 {
            items.push((value, 0));
            left -= 1;
        }
        while left >= 3 {
            let (symbol, least, most) = match value {
                0 if left <= 10 => (17, 3, 10),
                0 => (18, 11, 138),
                _ => (16, 3, 6),
            };
            let taken = left.min(most);
            items.push((symbol, (taken - least) as u8));
            left -= taken;
        }
        items.extend(std::iter::repeat_n((value, 0), left));
    }
    items
}

/// Writes blocks; holds the code that never changes.
#[derive(Debug)]
pub(super) struct BlockWriter {
    fixed: Codes,
}

impl BlockWriter {
    pub(super) fn new() -> Self {
        Self { fixed: Codes::fixed() }
    }

    /// Writes one block: `tokens` stand for `bytes`, at most [`BLOCK_BYTES_MAX`].
    pub(super) fn write(&self, writer: &mut BitWriter<'_>, tokens: &[Token], bytes: &[u8]) {
        let mut frequencies = Frequencies::of(tokens);
        let fixed_cost = self.fixed.cost(&frequencies);
        let stored_cost = u64::from((writer.bits_to_alignment() + 5) % 8) + 32;
        let stored_cost = stored_cost + 8 * bytes.len() as u64;
        if tokens.len() >= OWN_CODE_TOKENS_MIN {
            // Section 3.2.7 has a form for a code of no or one distance, which not every decoder
            // reads: two always have a length.
            for code in 0..2 {
                frequencies.distances[code] = frequencies.distances[code].max(1);
            }
            let codes = Codes {
                literals: Code::for_frequencies(&frequencies.literals, 15),
                distances: Code::for_frequencies(&frequencies.distances, 15),
            };
            let description = Description::of(&codes);
            let cost = codes.cost(&frequencies) + description.cost();
            if cost < fixed_cost && cost < stored_cost {
                writer.put(0b100, 3);
                description.write(writer);
                return codes.write(writer, tokens);
            }
        }
        if fixed_cost <= stored_cost {
            writer.put(0b010, 3);
            return self.fixed.write(writer, tokens);
        }
        writer.put(0, 3);
        writer.align();
        let length = bytes.len() as u16;
        writer.bytes(&length.to_le_bytes());
        writer.bytes(&(!length).to_le_bytes());
        writer.bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_distances_have_the_symbols_of_the_rfc() {
        let length = |bytes: usize| LENGTH_CODES[bytes - 3];
        assert_eq!(
            [length(3), length(10), length(11), length(12)],
            [(0, 0), (7, 0), (8, 1), (8, 1)]
        );
        assert_eq!([length(114), length(115), length(257)], [(22, 4), (23, 4), (27, 5)]);
        assert_eq!([length(130), length(131), length(258)], [(23, 4), (24, 5), (28, 0)]);
        let distance = |bytes: usize| value_code(bytes - 1, 1);
        assert_eq!(
            [distance(1), distance(4), distance(5), distance(6)],
            [(0, 0), (3, 0), (4, 1), (4, 1)]
        );
        assert_eq!([distance(256), distance(257), distance(32_768)], [(15, 6), (16, 7), (29, 13)]);
    }

    #[test]
    fn repeated_lengths_are_sent_as_runs() {
        let zeros = [0; 150];
        assert_eq!(run_lengths(&zeros), [(18, 127), (18, 1)]);
        assert_eq!(run_lengths(&[5; 9]), [(5, 0), (16, 3), (5, 0), (5, 0)]);
        assert_eq!(run_lengths(&[0, 0, 3, 0, 0, 0]), [(0, 0), (0, 0), (3, 0), (17, 0)]);
    }
}
