//! What a run sends and what is asked of its answers: the payloads, how much of what comes back is
//! compared, and how long an answer may take. Nothing is sent or counted here.

use std::time::Duration;

use ringsock::Message;

use crate::composer::Composer;
use crate::pattern::{Pattern, Verdict, Verify};

/// What a run sends, and what comes back.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) pattern: Pattern,
    pub(crate) verify: Verify,
    /// A message that waits for its answer longer than this takes no place any more. `None` with
    /// servers that only pretend: they would not know what to do with the Ping that finds it.
    pub(crate) answer_timeout: Option<Duration>,
}

impl Content {
    /// Writes the payloads, on one thread.
    pub(crate) fn composer(&self) -> Composer {
        Composer::new(&self.pattern)
    }

    /// The number of the message that a payload answers, if it says one; `oldest` where payloads
    /// carry none, which are taken to come in order.
    #[inline]
    pub(crate) fn number_in(&self, payload: &[u8], oldest: u64) -> Option<u64> {
        match self.pattern.is_numbered() {
            true => self.pattern.number_in(payload, oldest),
            false => Some(oldest),
        }
    }

    /// Judges an echo of message `sequence` of connection `number`.
    #[inline]
    pub(crate) fn judge(&self, number: u32, sequence: u64, message: &Message<'_>) -> Verdict {
        self.verify.judge(&self.pattern, number, sequence, message)
    }

    /// What was sent before this time is overdue; nothing ever is without a timeout.
    pub(crate) fn overdue_before(&self, now_ns: u64) -> u64 {
        let timeout_ns = self.answer_timeout.map_or(u64::MAX, |timeout| timeout.as_nanos() as u64);
        now_ns.saturating_sub(timeout_ns)
    }
}
