//! Numbers and payloads that look random and are the same in every run. Nothing here is secret.

/// A generator (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A size below one of `bounds`, each of them as likely as the others.
    pub(crate) fn size(&mut self, bounds: &[u64]) -> usize {
        let bound = bounds[self.below(bounds.len() as u64) as usize];
        self.below(bound) as usize
    }

    /// This many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_ne_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// Text of exactly this many bytes, with characters of each length, so that cuts fall inside them.
pub(crate) fn text_of(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 4);
    for character in "aé€😀".chars().cycle() {
        if text.len() + character.len_utf8() > bytes {
            break;
        }
        text.push(character);
    }
    text.extend(std::iter::repeat_n('x', bytes - text.len()));
    text
}
