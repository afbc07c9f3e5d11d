//! What makes messages due, and when: a rate, or a pause after each answer. Who sends them is said by
//! others.

use crate::schedule::{Arrivals, Schedule, Share};
use crate::think::{Pauses, Think};

/// What makes messages due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// So many a second, over all connections.
    Rate(f64, Arrivals),
    /// Each connection, or publisher, a pause after its last answer.
    Think(Think),
}

/// What says when messages are due on a shard.
#[derive(Debug)]
pub(super) enum Clock {
    /// The run has not begun.
    Unset,
    Rate(Schedule),
    /// Who pauses, and until when.
    Think(Pauses),
    /// Nothing more is due.
    Ended,
}

/// What a clock says.
pub(super) enum Tick {
    /// A message is due since this time, from this sender if it says so.
    Due(u64, Option<usize>),
    /// The next one is due at this time.
    At(u64),
    /// That is not known.
    Unknown,
}

impl Clock {
    /// That of a share in a pace, from a moment on: of these senders, where each has a pace of its own.
    pub(super) fn new(
        pace: Pace,
        began_ns: u64,
        share: Share,
        senders: impl ExactSizeIterator<Item = usize>,
    ) -> Self {
        match pace {
            Pace::Rate(rate, arrivals) => {
                Self::Rate(Schedule::new(rate, arrivals, began_ns, share))
            }
            Pace::Think(think) => {
                let mut pauses = Pauses::new(think, share.shard);
                pauses.spread(senders, began_ns);
                Self::Think(pauses)
            }
        }
    }

    /// What is due by now, if anything is.
    pub(super) fn tick(&mut self, now_ns: u64) -> Tick {
        match self {
            Self::Rate(schedule) => match schedule.due(now_ns) {
                Some(due_ns) => Tick::Due(due_ns, None),
                None => Tick::At(schedule.next_ns()),
            },
            Self::Think(pauses) => match (pauses.end(now_ns), pauses.next_ns()) {
                (Some((due_ns, lane)), _) => Tick::Due(due_ns, Some(lane)),
                (None, Some(due_ns)) => Tick::At(due_ns),
                (None, None) => Tick::Unknown,
            },
            Self::Unset | Self::Ended => Tick::Unknown,
        }
    }
}
