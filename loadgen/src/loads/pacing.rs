//! How a shard's task keeps to a schedule without keeping the shard from its connections. What is
//! due, and what is done then, is said by others.

use std::rc::Rc;

use super::place::Place;
use crate::alarm::Alarm;
use crate::failure::Failure;

/// The longest time between two looks at the stage of the run.
pub(super) const GLANCE_NS: u64 = 5_000_000;
/// Said instead of a time when there is nothing to do any more.
pub(super) const NEVER_NS: u64 = u64::MAX;
/// Messages that fall due in one turn before what has come is received: a load generator that only
/// sends while it is behind would measure how long it does not listen.
const TURN_MESSAGES_MAX: usize = 64;
/// The same in time, for messages that take long to send.
const TURN_NS_MAX: u64 = 200_000;

/// What may be done in one turn.
#[derive(Debug)]
pub(super) struct Turn {
    end_ns: u64,
    left: usize,
}

impl Turn {
    /// A turn that begins now.
    pub(super) fn new(now_ns: u64) -> Self {
        Self { end_ns: now_ns + TURN_NS_MAX, left: TURN_MESSAGES_MAX }
    }

    /// One more is done; whether the turn goes on.
    pub(super) fn goes_on(&mut self, now_ns: u64) -> bool {
        self.left -= 1;
        self.left > 0 && now_ns < self.end_ns
    }
}

/// Calls `act` until the run closes its connections, each time after as many nanoseconds as it said,
/// or until it says never.
pub(super) async fn keep_pace(place: Rc<Place>, mut act: impl FnMut() -> u64) {
    let failed = |error: std::io::Error| {
        place.board.fail(Failure::usage(format!("the machine gives no timer: {error}")));
    };
    let alarm = match Alarm::new() {
        Ok(alarm) => alarm,
        Err(error) => return failed(error),
    };
    while !place.board.is_closing() {
        let pause_ns = act();
        if pause_ns == NEVER_NS {
            return;
        }
        if let Err(error) = alarm.sleep(pause_ns).await {
            return failed(error);
        }
    }
}
