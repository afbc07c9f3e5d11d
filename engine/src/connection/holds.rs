//! The unusual states of a connection as one byte, so that the usual path asks for all of them in
//! one comparison. What a state means is decided where it is set.

use std::ops::BitOr;

/// A set of states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holds(u8);

impl Holds {
    /// As much waits for the peer as makes receiving from it pause.
    pub(super) const BACKLOG: Self = Self(1);
    /// More waits for the peer than the soft mark.
    pub(super) const SOFT: Self = Self(2);
    /// The application has paused receiving.
    pub(super) const ASKED: Self = Self(4);
    /// Something received has not been looked at.
    pub(super) const STASHED: Self = Self(8);
    /// The peer has sent its last byte, which has not been acted on.
    pub(super) const FINISHED: Self = Self(16);
    /// What is received counts against a rate.
    pub(super) const METERED: Self = Self(32);
    /// Messages are not simply queued: a policy, or a message under way.
    pub(super) const SPECIAL: Self = Self(64);
    /// The driver is to find out whether a send that takes long makes progress.
    pub(super) const CHECKED: Self = Self(128);

    /// Whether any of `states` holds.
    #[inline]
    pub(super) fn any(self, states: Self) -> bool {
        self.0 & states.0 != 0
    }

    #[inline]
    pub(super) fn set(&mut self, states: Self, holds: bool) {
        self.0 = if holds { self.0 | states.0 } else { self.0 & !states.0 };
    }
}

impl BitOr for Holds {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
