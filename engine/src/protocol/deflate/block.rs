//! Writes blocks (RFC 1951 section 3.2): sequences in whichever of the three forms is shortest. It
//! ends no stream: no block is marked as the last.

use super::bits::{BitRoom, BitWriter};
use super::huffman::Code;
use super::matches::Sequence;

/// Bytes of data in one block, at most what a stored one can hold.
pub(super) const BLOCK_BYTES_MAX: usize = 32 * 1024;
/// Literals and matches below which a code of the block's own is not tried: its description alone
/// takes more than it can save.
const OWN_CODE_SYMBOLS_MIN: u32 = 48;

const LITERALS: usize = 286;
const DISTANCES: usize = 30;
const END_OF_BLOCK: usize = 256;
pub(super) const LENGTH_SYMBOLS: usize = 19;
const LENGTH_CODE_BITS_MAX: usize = 7;
/// The order in which section 3.2.7 sends the lengths of the code for code lengths.
pub(super) const LENGTH_ORDER: [usize; LENGTH_SYMBOLS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// A symbol of section 3.2.5: it stands for values from `base` on, counted from 0, and the
/// difference follows it in so many bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value {
    symbol: u8,
    extra_bits: u8,
    base: u16,
}

impl Value {
    /// The one for this value: each further 2^`shift` symbols stand for twice as many values as
    /// those before.
    const fn of(value: usize, shift: u32) -> Self {
        if value < 2 << shift {
            return Self { symbol: value as u8, extra_bits: 0, base: value as u16 };
        }
        let extra_bits = value.ilog2() - shift;
        let upper = value >> extra_bits;
        Self {
            symbol: ((extra_bits as usize) << shift) as u8 + upper as u8,
            extra_bits: extra_bits as u8,
            base: (upper << extra_bits) as u16,
        }
    }
}

/// For each match length less 3; symbols less 257.
const LENGTH_VALUES: [Value; 256] = {
    let mut values = [Value::of(0, 2); 256];
    let mut length = 0;
    while length < 255 {
        values[length] = Value::of(length, 2);
        length += 1;
    }
    values[255] = Value { symbol: 28, extra_bits: 0, base: 255 };
    values
};

/// For each distance less 1. From 256 on distances with the same upper bits have the same symbol:
/// those are in the second half.
const DISTANCE_VALUES: [Value; 512] = {
    let mut values = [Value::of(0, 1); 512];
    let mut index = 0;
    while index < 256 {
        values[index] = Value::of(index, 1);
        values[256 + index] = Value::of(index << 7, 1);
        index += 1;
    }
    values
};

#[inline]
fn distance_value(distance: usize) -> Value {
    let index = if distance < 256 { distance } else { 256 + (distance >> 7) };
    DISTANCE_VALUES[index % DISTANCE_VALUES.len()]
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
    fn of(sequences: &[Sequence], bytes: &[u8]) -> Self {
        let mut counted =
            Self { literals: [0; LITERALS], distances: [0; DISTANCES], extra_bits: 0 };
        counted.literals[END_OF_BLOCK] = 1;
        let (mut at, mut extra_bits) = (0, 0);
        for sequence in sequences {
            let literals_end = at + sequence.literals();
            for &byte in &bytes[at..literals_end] {
                counted.literals[usize::from(byte)] += 1;
            }
            let Some((length, distance)) = sequence.as_match() else { continue };
            let (length_value, distance_value) = (LENGTH_VALUES[length], distance_value(distance));
            counted.literals[257 + usize::from(length_value.symbol)] += 1;
            counted.distances[usize::from(distance_value.symbol)] += 1;
            extra_bits += u32::from(length_value.extra_bits + distance_value.extra_bits);
            at = literals_end + length + 3;
        }
        counted.extra_bits = extra_bits.into();
        counted
    }

    /// Literals and matches, and the end of the block.
    fn symbols(&self) -> u32 {
        sum(&self.literals)
    }

    /// What the code of section 3.2.6 takes for it: 8 bits for most symbols, 9 for literals from
    /// 144 on, 7 up to the length 114, 5 for distances.
    fn fixed_cost(&self) -> u64 {
        let longer = sum(&self.literals[144..256]);
        let shorter = sum(&self.literals[256..280]);
        let distances = sum(&self.distances);
        u64::from(8 * self.symbols() + longer - shorter + 5 * distances) + self.extra_bits
    }
}

/// A block has at most 32 KiB, so nothing wraps; said so, it is added up four at a time.
fn sum(numbers: &[u32]) -> u32 {
    numbers.iter().fold(0, |sum, &number| sum.wrapping_add(number))
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

    /// The best for these frequencies, and what the block takes with them.
    fn own(frequencies: &mut Frequencies) -> (Self, u64) {
        // Section 3.2.7 has a form for a code of no or one distance, which not every decoder
        // reads: two always have a length.
        for code in 0..2 {
            frequencies.distances[code] = frequencies.distances[code].max(1);
        }
        let (literals, literals_cost) = Code::for_frequencies(&frequencies.literals, 15);
        let (distances, distances_cost) = Code::for_frequencies(&frequencies.distances, 15);
        (Self { literals, distances }, literals_cost + distances_cost + frequencies.extra_bits)
    }

    /// Writes the sequences of these bytes and the end of the block.
    fn write<'r>(&self, room: BitRoom<'r>, sequences: &[Sequence], bytes: &[u8]) -> BitRoom<'r> {
        let (mut room, mut at) = (room.own(), 0);
        for sequence in sequences {
            let literals_end = at + sequence.literals();
            for &byte in &bytes[at..literals_end] {
                let (bits, count) = self.literals.get(byte.into());
                room.put(bits, count);
            }
            let Some((length, distance)) = sequence.as_match() else { continue };
            let value = LENGTH_VALUES[length];
            let (mut bits, mut count) = self.literals.get(257 + usize::from(value.symbol));
            bits |= (length as u64 - u64::from(value.base)).wrapping_shl(count);
            count += u32::from(value.extra_bits);
            let value = distance_value(distance);
            let (distance_bits, distance_count) = self.distances.get(value.symbol.into());
            bits |= distance_bits.wrapping_shl(count);
            count += distance_count;
            bits |= (distance as u64 - u64::from(value.base)).wrapping_shl(count);
            // At most 15 + 5 + 15 + 13 bits.
            room.put(bits, count + u32::from(value.extra_bits));
            at = literals_end + length + 3;
        }
        let (bits, count) = self.literals.get(END_OF_BLOCK);
        room.put(bits, count);
        room
    }
}

/// The lengths of a block's own codes as section 3.2.7 sends them.
#[derive(Debug)]
struct Description {
    lengths: RunLengths,
    code: Code<LENGTH_SYMBOLS>,
    literals: usize,
    distances: usize,
    lengths_sent: usize,
    cost: u64,
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
        let lengths = RunLengths::of(&all[..literals + distances]);
        let mut frequencies = [0; LENGTH_SYMBOLS];
        let mut extra_bits = 0;
        for (symbol, _) in lengths.items() {
            frequencies[usize::from(*symbol)] += 1;
            extra_bits += u64::from(extra_bits_of(*symbol));
        }
        let (code, code_cost) = Code::for_frequencies(&frequencies, LENGTH_CODE_BITS_MAX);
        let last = LENGTH_ORDER.iter().rposition(|&symbol| code.lengths[symbol] > 0);
        let lengths_sent = last.map_or(4, |last| last + 1).max(4);
        let cost = 14 + 3 * lengths_sent as u64 + code_cost + extra_bits;
        Self { lengths, code, literals, distances, lengths_sent, cost }
    }

    fn write<'r>(&self, mut room: BitRoom<'r>) -> BitRoom<'r> {
        room.put(self.literals as u64 - 257, 5);
        room.put(self.distances as u64 - 1, 5);
        room.put(self.lengths_sent as u64 - 4, 4);
        for &symbol in &LENGTH_ORDER[..self.lengths_sent] {
            room.put(self.code.lengths[symbol].into(), 3);
        }
        for &(symbol, extra) in self.lengths.items() {
            let (bits, count) = self.code.get(symbol.into());
            let bits = bits | u64::from(extra).wrapping_shl(count);
            room.put(bits, count + extra_bits_of(symbol));
        }
        room
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
#[derive(Debug)]
struct RunLengths {
    /// Symbols of the code for code lengths, each with what its extra bits say.
    items: [(u8, u8); LITERALS + DISTANCES],
    count: usize,
}

impl RunLengths {
    fn of(lengths: &[u8]) -> Self {
        let mut all = Self { items: [(0, 0); LITERALS + DISTANCES], count: 0 };
        let mut rest = lengths;
        while let Some(&value) = rest.first() {
            let run = rest.iter().position(|&length| length != value).unwrap_or(rest.len());
            all.push_run(value, run);
            rest = &rest[run..];
        }
        all
    }

    fn push_run(&mut self, value: u8, mut left: usize) {
        if value > 0 {
            self.push(value, 0);
            left -= 1;
        }
        while left >= 3 {
            let (symbol, least, most) = match value {
                0 if left <= 10 => (17, 3, 10),
                0 => (18, 11, 138),
                _ => (16, 3, 6),
            };
            let taken = left.min(most);
            self.push(symbol, (taken - least) as u8);
            left -= taken;
        }
        (0..left).for_each(|_| self.push(value, 0));
    }

    fn push(&mut self, symbol: u8, extra: u8) {
        self.items[self.count] = (symbol, extra);
        self.count += 1;
    }

    fn items(&self) -> &[(u8, u8)] {
        &self.items[..self.count]
    }
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

    /// Writes one block: `sequences` stand for `bytes`, at most [`BLOCK_BYTES_MAX`].
    pub(super) fn write(&self, writer: &mut BitWriter<'_>, sequences: &[Sequence], bytes: &[u8]) {
        let mut frequencies = Frequencies::of(sequences, bytes);
        let fixed_cost = frequencies.fixed_cost();
        let stored_cost = u64::from((writer.bits_to_alignment() + 5) % 8) + 32;
        let stored_cost = stored_cost + 8 * bytes.len() as u64;
        if frequencies.symbols() > OWN_CODE_SYMBOLS_MIN {
            let (codes, cost) = Codes::own(&mut frequencies);
            let description = Description::of(&codes);
            let cost = cost + description.cost;
            if cost < fixed_cost && cost < stored_cost {
                return writer.write(3 + cost, |mut room| {
                    room.put(0b100, 3);
                    codes.write(description.write(room), sequences, bytes)
                });
            }
        }
        if fixed_cost <= stored_cost {
            return writer.write(3 + fixed_cost, |mut room| {
                room.put(0b010, 3);
                self.fixed.write(room, sequences, bytes)
            });
        }
        writer.write(3 + stored_cost, |mut room| {
            room.put(0, 3);
            let mut room = room.align();
            let length = bytes.len() as u16;
            room.bytes(&length.to_le_bytes());
            room.bytes(&(!length).to_le_bytes());
            room.bytes(bytes);
            room
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_distances_have_the_symbols_of_the_rfc() {
        let of = |value: Value| (value.symbol, value.extra_bits, value.base);
        let length = |bytes: usize| of(LENGTH_VALUES[bytes - 3]);
        assert_eq!([length(3), length(10)], [(0, 0, 0), (7, 0, 7)]);
        assert_eq!([length(11), length(12)], [(8, 1, 8), (8, 1, 8)]);
        assert_eq!([length(114), length(115)], [(22, 4, 96), (23, 4, 112)]);
        assert_eq!([length(257), length(258)], [(27, 5, 224), (28, 0, 255)]);
        let distance = |bytes: usize| of(distance_value(bytes - 1));
        assert_eq!([distance(1), distance(4)], [(0, 0, 0), (3, 0, 3)]);
        assert_eq!([distance(5), distance(6)], [(4, 1, 4), (4, 1, 4)]);
        assert_eq!([distance(256), distance(257)], [(15, 6, 192), (16, 7, 256)]);
        assert_eq!(distance(32_768), (29, 13, 24_576));
    }

    #[test]
    fn repeated_lengths_are_sent_as_runs() {
        let items = |lengths: &[u8]| RunLengths::of(lengths).items().to_vec();
        assert_eq!(items(&[0; 150]), [(18, 127), (18, 1)]);
        assert_eq!(items(&[5; 9]), [(5, 0), (16, 3), (5, 0), (5, 0)]);
        assert_eq!(items(&[0, 0, 3, 0, 0, 0]), [(0, 0), (0, 0), (3, 0), (17, 0)]);
    }

    #[test]
    fn every_distance_has_the_symbol_of_its_value() {
        for distance in 0..32 * 1024 {
            assert_eq!(distance_value(distance), Value::of(distance, 1), "{distance}");
        }
    }

    #[test]
    fn the_fixed_code_costs_what_it_writes() {
        let bytes: Vec<u8> = (0..=255).chain(0..=255).chain(*b"abc").collect();
        let sequences = [Sequence::new(256, 256, 256), Sequence::new(1, 115, 3), Sequence::last(2)];
        let bytes = [&bytes[..], &[0; 120][..]].concat();
        let cost = Frequencies::of(&sequences, &bytes).fixed_cost();
        let mut out = Vec::new();
        let mut writer = BitWriter::new(&mut out);
        writer.write(cost, |room| Codes::fixed().write(room, &sequences, &bytes));
        writer.finish();
        assert_eq!(out.len() as u64, cost.div_ceil(8));
    }
}
