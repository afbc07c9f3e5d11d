//! How much memory peers make a shard hold: bytes that wait to be sent and bytes of messages that
//! are not whole. It refuses nothing; whoever takes bytes in asks first.

/// Hundredths of the budget from which on no new connection is taken.
const CLOSED_PERCENT: usize = 90;
/// Hundredths of the budget from which on those who hold most are let go.
const SHED_PERCENT: usize = 95;

/// The count of one shard.
#[derive(Debug)]
pub struct Budget {
    held: usize,
    /// How much of it several connections share.
    shared: usize,
    max: usize,
    closed: usize,
    shed: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Budget {
    /// A budget of `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let mut budget = Self { held: 0, shared: 0, max: 0, closed: 0, shed: 0 };
        budget.set_max(max);
        budget
    }

    /// Changes what may be held; what is held stays.
    pub fn set_max(&mut self, max: usize) {
        let part = |percent: usize| (max / 100 * percent).max(1);
        (self.max, self.closed, self.shed) = (max, part(CLOSED_PERCENT), part(SHED_PERCENT));
    }

    /// Bytes held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// `bytes` more are held.
    #[inline]
    pub fn hold(&mut self, bytes: usize) {
        self.held += bytes;
    }

    /// `bytes` are not held any more.
    #[inline]
    pub fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// `bytes` are held now for several connections together.
    #[inline]
    pub fn set_shared(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(self.shared) + bytes;
        self.shared = bytes;
    }

    /// Whether all of it is held: nothing more may be taken in.
    #[inline]
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.held >= self.max
    }

    /// Whether too much is held to take new connections (90 %).
    #[must_use]
    pub fn refuses_connections(&self) -> bool {
        self.held > self.closed
    }

    /// Bytes to be let go so that new connections are taken again, once 95 % are held.
    #[inline]
    #[must_use]
    pub fn excess(&self) -> Option<usize> {
        (self.held > self.shed).then(|| self.held - self.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_passed_in_its_turn() {
        let mut budget = Budget::new(1_000);
        let mut states = Vec::new();
        for bytes in [900, 1, 49, 1, 48, 1] {
            budget.hold(bytes);
            states.push((budget.refuses_connections(), budget.excess(), budget.is_exhausted()));
        }
        let expected = [
            (false, None, false),
            (true, None, false),
            (true, None, false),
            (true, Some(51), false),
            (true, Some(99), false),
            (true, Some(100), true),
        ];
        assert_eq!(states, expected);
        budget.release(2_000);
        assert_eq!(budget.held_bytes(), 0);
        budget.hold(10);
        for shared in [500, 1_000, 300] {
            budget.set_shared(shared);
            assert_eq!(budget.held_bytes(), shared + 10);
        }
    }
}
