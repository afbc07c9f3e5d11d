//! Time as the engine counts it: read once a turn and passed in, never asked for here.

use std::time::Duration;

/// Milliseconds since the shard started, modulo 2^32. Comparisons hold over spans below 24 days,
/// longer than any deadline of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Millis(pub u32);

impl Millis {
    /// The moment `span` later; at least one millisecond for any span above zero.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let millis = u32::try_from(span.as_millis()).unwrap_or(u32::MAX / 4).min(u32::MAX / 4);
        Self(self.0.wrapping_add(millis.max(1)))
    }

    /// Whether this moment is at or after `deadline`.
    #[must_use]
    pub fn reached(self, deadline: Self) -> bool {
        self.0.wrapping_sub(deadline.0) < u32::MAX / 2
    }

    /// Milliseconds from `earlier` to this moment.
    #[must_use]
    pub fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// The earlier of two moments.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        if self.reached(other) { other } else { self }
    }
}

/// A moment that may not have come, in four bytes. One moment in 49 days is taken for its
/// neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since(u32);

impl Since {
    pub(super) const NEVER: Self = Self(u32::MAX);

    pub(super) fn at(moment: Millis) -> Self {
        Self(moment.0.min(u32::MAX - 1))
    }

    pub(super) fn get(self) -> Option<Millis> {
        (self != Self::NEVER).then_some(Millis(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_hold_across_the_wrap() {
        let before = Millis(u32::MAX - 10);
        let after = before.after(Duration::from_millis(100));
        assert!(after.reached(before));
        assert!(!before.reached(after));
        assert_eq!(after.since(before), 100);
        assert_eq!(before.earlier(after), before);
        assert_eq!(after.earlier(before), before);
    }
}
