//! Finds repetitions (RFC 1951 section 4): bytes to literals and matches. One look back for each
//! position, into a table of where four bytes were seen last; it never searches further, because a
//! server compresses far more often than a file is written.

/// Bytes that are compared at once. Four of them are hashed, and are the shortest match taken.
const WORD_BYTES: usize = 8;
/// Longest match (section 3.2.5).
pub(super) const MATCH_BYTES_MAX: usize = 258;
/// Farthest a match may lie back (section 3.2.5).
pub(super) const DISTANCE_MAX: usize = 32 * 1024;
/// Entries that are used however short the data.
const HASHES_MIN: usize = 256;
/// Positions of literals in a row after which some are skipped: what does not repeat is not
/// looked at byte by byte.
const SKIP_AFTER_SHIFT: u32 = 6;
/// Positions below this are nowhere; beyond the other the table starts afresh.
const BASE_MIN: u32 = 1 << 16;
const BASE_MAX: u32 = 1 << 31;

/// Bytes that stand for themselves, and the match that follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    /// How many literals.
    literals: u16,
    /// Of the match; 0 where none follows.
    length: u16,
    /// Less 1: the farthest, 32 KiB, fits.
    distance: u16,
}

impl Sequence {
    /// Literals and a match; at most as many as a block has bytes.
    pub(super) fn new(literals: usize, length: usize, distance: usize) -> Self {
        Self {
            literals: literals as u16,
            length: length as u16,
            distance: distance.wrapping_sub(1) as u16,
        }
    }

    /// Literals that no match follows: the last of a block.
    pub(super) fn last(literals: usize) -> Self {
        Self::new(literals, 0, 1)
    }

    #[inline]
    pub(super) fn literals(self) -> usize {
        self.literals.into()
    }

    /// The length less 3 and the distance less 1 of the match.
    #[inline]
    pub(super) fn as_match(self) -> Option<(usize, usize)> {
        (self.length > 0).then(|| (usize::from(self.length) - 3, self.distance.into()))
    }
}

/// Where the same four bytes stand, and in which bits the eight there differ.
struct Found {
    at: usize,
    differing: u64,
}

/// Where four bytes were seen last.
///
/// Invariant: an entry is a position that was looked at, counted from `base`; whether the same
/// bytes still stand there is seen when it is used, so a wrong entry costs a match and nothing else.
#[derive(Debug)]
pub(super) struct Matcher {
    last_seen: Box<[u32]>,
    /// Of the part that is in use, as a power of two.
    hash_bits: u32,
    base: u32,
}

impl Matcher {
    /// A matcher with 2^`hash_bits` entries of four bytes.
    pub(super) fn new(hash_bits: u32) -> Self {
        Self { last_seen: vec![0; 1 << hash_bits].into(), hash_bits, base: BASE_MIN }
    }

    /// Uses no more of the table than pays for so many bytes: what was not touched need not come
    /// from farther caches. What was noted before is not found any more.
    pub(super) fn narrow_to(&mut self, bytes: usize) {
        let whole = self.last_seen.len().ilog2();
        self.hash_bits = bytes.max(HASHES_MIN).ilog2().min(whole);
    }

    /// Appends the sequences for `data[from..to]`, at most a block, with matches back to
    /// `distance_max` bytes, within `data`.
    pub(super) fn find(
        &mut self,
        data: &[u8],
        from: usize,
        to: usize,
        distance_max: usize,
        sequences: &mut Vec<Sequence>,
    ) {
        let data = &data[..to];
        let mut at = from;
        let mut literals_from = from;
        // The last seven bytes are found as the end of a match or not at all.
        while let Some(word) = word_at(data, at) {
            let Some(found) = self.look(data, at, word, distance_max) else {
                at += 1 + ((at - literals_from) >> SKIP_AFTER_SHIFT);
                continue;
            };
            let length = match found.differing {
                0 => {
                    let most = &data[..to.min(at + MATCH_BYTES_MAX)];
                    WORD_BYTES
                        + common_prefix(&most[at + WORD_BYTES..], &data[found.at + WORD_BYTES..])
                }
                differing => same_bytes(differing),
            };
            sequences.push(Sequence::new(at - literals_from, length, at - found.at));
            // What the match covers is found again by its second and its last bytes.
            self.note(at + 1, (word >> 8) as u32);
            at += length;
            if let Some(four) = four_at(data, at - 2) {
                self.note(at - 2, four);
            }
            literals_from = at;
        }
        sequences.push(Sequence::last(to - literals_from));
    }

    /// Notes this position and tells where the same four bytes stood before.
    #[inline]
    fn look(&mut self, data: &[u8], at: usize, word: u64, distance_max: usize) -> Option<Found> {
        let distance = self.note(at, word as u32);
        if distance.wrapping_sub(1) >= distance_max || distance > at {
            return None;
        }
        let candidate = at - distance;
        let differing = word ^ word_at(data, candidate)?;
        (differing as u32 == 0).then_some(Found { at: candidate, differing })
    }

    /// Notes that these four bytes stand here, and tells how far back something was noted in the
    /// same place: farther than data can reach where nothing was.
    #[inline]
    fn note(&mut self, at: usize, four: u32) -> usize {
        let here = self.base.wrapping_add(at as u32);
        let slot = four.wrapping_mul(0x9e37_79b1).wrapping_shr(32 - self.hash_bits);
        here.wrapping_sub(std::mem::replace(&mut self.last_seen[slot as usize], here)) as usize
    }

    /// Counts positions from `bytes` further on: what was at index `bytes` is at index 0 from now.
    pub(super) fn slide(&mut self, bytes: usize) {
        self.base += bytes as u32;
        if self.base > BASE_MAX {
            self.last_seen.fill(0);
            self.base = BASE_MIN;
        }
    }

    /// Forgets what it saw in `bytes` bytes of data: puts it out of reach.
    pub(super) fn forget(&mut self, bytes: usize) {
        self.slide(bytes + DISTANCE_MAX + 1);
    }

    /// Memory it holds.
    pub(super) fn memory_bytes(hash_bits: u32) -> usize {
        4 << hash_bits
    }
}

#[inline]
fn four_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}

#[inline]
fn word_at(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// How many bytes are the same before these bits differ.
#[inline]
fn same_bytes(differing: u64) -> usize {
    differing.trailing_zeros() as usize / 8
}

/// How many bytes both begin with; the left ones are not more.
#[inline]
fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    let mut length = 0;
    while let (Some(one), Some(other)) = (word_at(left, length), word_at(right, length)) {
        if one != other {
            return length + same_bytes(one ^ other);
        }
        length += WORD_BYTES;
    }
    let rest = left[length..].iter().zip(&right[length..]);
    length + rest.take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What sequences of these bytes stand for.
    fn expand(sequences: &[Sequence], bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for sequence in sequences {
            out.extend_from_slice(&bytes[out.len()..][..sequence.literals()]);
            let Some((length, distance)) = sequence.as_match() else { continue };
            for _ in 0..length + 3 {
                out.push(out[out.len() - distance - 1]);
            }
        }
        out
    }

    #[test]
    fn sequences_stand_for_the_bytes_they_were_made_from() {
        let mut matcher = Matcher::new(8);
        let text = b"abcabcabcabc, and again: abcabcabcabc; ".repeat(40);
        for distance_max in [1, 3, 30, 250, 32_768] {
            let mut sequences = Vec::new();
            matcher.find(&text, 0, text.len(), distance_max, &mut sequences);
            assert_eq!(expand(&sequences, &text), text, "{distance_max}");
            let far = sequences.iter().filter_map(|sequence| sequence.as_match());
            assert!(far.clone().all(|(_, distance)| distance < distance_max));
            assert_eq!(far.count() > 0, distance_max >= 3, "{distance_max}");
            matcher.forget(text.len());
        }
    }

    #[test]
    fn what_was_forgotten_is_not_found_and_what_was_kept_is() {
        let mut matcher = Matcher::new(10);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        matcher.find(b"only once here", 0, 14, 100, &mut first);
        matcher.forget(14);
        matcher.find(b"only once here", 0, 14, 100, &mut second);
        assert_eq!(
            (&first[..], &second[..]),
            (&[Sequence::last(14)][..], &[Sequence::last(14)][..])
        );
        let mut kept = Vec::new();
        matcher.find(b"only once hereonly once here", 14, 28, 100, &mut kept);
        assert_eq!(kept, [Sequence::new(0, 14, 14), Sequence::last(0)]);
    }

    #[test]
    fn the_longest_and_the_farthest_match_and_a_block_of_literals_have_room() {
        let widest = Sequence::new(32 * 1024, MATCH_BYTES_MAX, DISTANCE_MAX);
        assert_eq!((widest.literals(), widest.as_match()), (32_768, Some((255, 32_767))));
        assert_eq!(Sequence::new(0, 3, 1).as_match(), Some((0, 0)));
        assert_eq!(Sequence::last(7).as_match(), None);
    }

    #[test]
    fn positions_start_afresh_long_before_they_overflow() {
        let mut matcher = Matcher::new(4);
        let text = b"abcdabcd";
        for _ in 0..10 {
            let mut sequences = Vec::new();
            matcher.find(text, 0, 8, 100, &mut sequences);
            assert_eq!(expand(&sequences, text), text);
            matcher.forget(1 << 29);
        }
    }
}
