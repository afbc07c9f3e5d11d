//! Finds repetitions (RFC 1951 section 4): bytes to literals and matches. One look back for each
//! position, into a table of where four bytes were seen last; it never searches further, because a
//! server compresses far more often than a file is written.

/// Bytes that are hashed, and the shortest match taken.
const HASHED_BYTES: usize = 4;
/// Longest match (section 3.2.5).
pub(super) const MATCH_BYTES_MAX: usize = 258;
/// Farthest a match may lie back (section 3.2.5).
pub(super) const DISTANCE_MAX: usize = 32 * 1024;
/// Positions of literals in a row after which some are skipped: what does not repeat is not
/// looked at byte by byte.
const SKIP_AFTER_SHIFT: u32 = 6;
/// Positions below this are nowhere; beyond the other the table starts afresh.
const BASE_MIN: u32 = 1 << 16;
const BASE_MAX: u32 = 1 << 31;

/// A literal, or a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(u32);

impl Token {
    const MATCH: u32 = 1 << 31;

    pub(super) fn literal(byte: u8) -> Self {
        Self(u32::from(byte))
    }

    pub(super) fn of_match(length: usize, distance: usize) -> Self {
        Self(Self::MATCH | (length as u32 - 3) << 16 | (distance as u32 - 1))
    }

    /// The length less 3 and the distance less 1, if it is a match.
    #[inline]
    pub(super) fn as_match(self) -> Option<(usize, usize)> {
        (self.0 & Self::MATCH != 0)
            .then_some((((self.0 >> 16) & 255) as usize, (self.0 & 0x7fff) as usize))
    }

    /// The byte, if it is a literal.
    #[inline]
    pub(super) fn byte(self) -> usize {
        (self.0 & 255) as usize
    }
}

/// Where four bytes were seen last.
///
/// Invariant: an entry is a position that was looked at, counted from `base`; whether the same
/// bytes still stand there is seen when it is used, so a wrong entry costs a match and nothing else.
#[derive(Debug)]
pub(super) struct Matcher {
    last_seen: Box<[u32]>,
    hash_bits: u32,
    base: u32,
}

impl Matcher {
    /// A matcher with 2^`hash_bits` entries of four bytes.
    pub(super) fn new(hash_bits: u32) -> Self {
        Self { last_seen: vec![0; 1 << hash_bits].into(), hash_bits, base: BASE_MIN }
    }

    /// Appends the tokens for `data[from..to]`, with matches back to `distance_max` bytes, within
    /// `data`.
    pub(super) fn find(
        &mut self,
        data: &[u8],
        from: usize,
        to: usize,
        distance_max: usize,
        tokens: &mut Vec<Token>,
    ) {
        let data = &data[..to];
        let mut at = from;
        let mut literals_from = from;
        while at + HASHED_BYTES <= to {
            let four = four_at(data, at);
            let Some(candidate) = self.look(at, four, distance_max, data) else {
                at += 1 + ((at - literals_from) >> SKIP_AFTER_SHIFT);
                continue;
            };
            let length = HASHED_BYTES
                + common_prefix(
                    &data[at + HASHED_BYTES..to.min(at + MATCH_BYTES_MAX)],
                    &data[candidate + HASHED_BYTES..],
                );
            push_literals(tokens, &data[literals_from..at]);
            tokens.push(Token::of_match(length, at - candidate));
            let end = at + length;
            // What the match covers is found again by its second and its last bytes.
            self.note(data, at + 1);
            self.note(data, end - 2);
            at = end;
            literals_from = end;
        }
        push_literals(tokens, &data[literals_from..]);
    }

    /// Notes this position and tells where the same four bytes stood before.
    #[inline]
    fn look(&mut self, at: usize, four: u32, distance_max: usize, data: &[u8]) -> Option<usize> {
        let here = self.base + at as u32;
        let slot = self.slot(four);
        let distance = here.wrapping_sub(std::mem::replace(&mut self.last_seen[slot], here));
        let distance = distance as usize;
        if distance.wrapping_sub(1) >= distance_max || distance > at {
            return None;
        }
        let candidate = at - distance;
        (four_at(data, candidate) == four).then_some(candidate)
    }

    #[inline]
    fn note(&mut self, data: &[u8], at: usize) {
        if at + HASHED_BYTES <= data.len() {
            let slot = self.slot(four_at(data, at));
            self.last_seen[slot] = self.base + at as u32;
        }
    }

    #[inline]
    fn slot(&self, four: u32) -> usize {
        (four.wrapping_mul(0x9e37_79b1) >> (32 - self.hash_bits)) as usize
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
fn four_at(data: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&data[at..at + 4]);
    u32::from_le_bytes(four)
}

fn push_literals(tokens: &mut Vec<Token>, bytes: &[u8]) {
    tokens.extend(bytes.iter().map(|&byte| Token::literal(byte)));
}

/// How many bytes both begin with.
#[inline]
fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    let mut length = 0;
    let (left_words, _) = left.as_chunks::<8>();
    let (right_words, _) = right.as_chunks::<8>();
    for (left, right) in left_words.iter().zip(right_words) {
        let differing = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if differing != 0 {
            return length + differing.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let rest = left[length..].iter().zip(&right[length..]);
    length + rest.take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What tokens stand for.
    fn expand(tokens: &[Token], before: &[u8]) -> Vec<u8> {
        let mut out = before.to_vec();
        for token in tokens {
            match token.as_match() {
                Some((length, distance)) => {
                    for _ in 0..length + 3 {
                        out.push(out[out.len() - distance - 1]);
                    }
                }
                None => out.push(token.byte() as u8),
            }
        }
        out.split_off(before.len())
    }

    #[test]
    fn tokens_stand_for_the_bytes_they_were_made_from() {
        let mut matcher = Matcher::new(8);
        let text = b"abcabcabcabc, and again: abcabcabcabc; ".repeat(40);
        for distance_max in [1, 3, 30, 250, 32_768] {
            let mut tokens = Vec::new();
            matcher.find(&text, 0, text.len(), distance_max, &mut tokens);
            assert_eq!(expand(&tokens, b""), text, "{distance_max}");
            let far = tokens.iter().filter_map(|token| token.as_match());
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
        assert_eq!((first.len(), second.len()), (14, 14));
        let mut kept = Vec::new();
        matcher.find(b"only once hereonly once here", 14, 28, 100, &mut kept);
        assert_eq!(kept, [Token::of_match(14, 14)]);
    }

    #[test]
    fn positions_start_afresh_long_before_they_overflow() {
        let mut matcher = Matcher::new(4);
        let text = b"abcdabcd";
        for _ in 0..10 {
            let mut tokens = Vec::new();
            matcher.find(text, 0, 8, 100, &mut tokens);
            assert_eq!(expand(&tokens, b""), text);
            matcher.forget(1 << 29);
        }
    }
}
