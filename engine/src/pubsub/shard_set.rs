//! Which shards something concerns, as bits.

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ShardSet(pub(super) [u64; Self::WORDS]);

impl ShardSet {
    /// Most shards of a server.
    pub(super) const SHARDS_MAX: usize = 64 * Self::WORDS;
    pub(super) const WORDS: usize = 4;

    /// The word that a shard is in, and its bit.
    pub(super) fn place(shard: usize) -> (usize, u64) {
        (shard / 64, 1 << (shard % 64))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; Self::WORDS]
    }

    pub(super) fn has(&self, shard: usize) -> bool {
        let (word, bit) = Self::place(shard);
        self.0[word] & bit != 0
    }

    pub(super) fn add(&mut self, shard: usize) {
        let (word, bit) = Self::place(shard);
        self.0[word] |= bit;
    }

    /// Takes a shard out; whether it was in.
    pub(super) fn take(&mut self, shard: usize) -> bool {
        let (word, bit) = Self::place(shard);
        let was_in = self.0[word] & bit != 0;
        self.0[word] &= !bit;
        was_in
    }

    /// The shards in it, lowest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let word = left.iter().position(|&word| word != 0)?;
            let bit = left[word].trailing_zeros() as usize;
            left[word] &= left[word] - 1;
            Some(word * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_added_and_not_taken() {
        let mut set = ShardSet::default();
        assert!(set.is_empty() && set.iter().next().is_none());
        for shard in [255, 0, 63, 64, 200] {
            set.add(shard);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 200, 255]);
        assert!(set.take(64) && !set.take(64) && !set.has(64) && set.has(63));
        assert_eq!(set.iter().count(), 4);
    }
}
