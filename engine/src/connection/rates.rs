//! How many messages and bytes a peer may send a second. Two token buckets, each as deep as one
//! second's worth; a peer that sends nothing for a second may send that much at once.

use super::Millis;
use crate::limits::Limits;

/// What is left in the buckets. Millionths never matter: refilling counts whole milliseconds since
/// the last refill and moves that moment only by what was credited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    messages: u64,
    bytes: u64,
    refilled: Millis,
}

/// Credit is counted in thousandths, so that a millisecond's share of any rate is a whole number.
const PART: u64 = 1_000;

impl Rates {
    /// Full buckets, or `None` when the limits are beyond what a connection could exceed.
    pub(super) fn new(limits: &Limits, now: Millis) -> Option<Self> {
        limits.has_rates().then_some(Self {
            messages: u64::from(limits.messages_per_second) * PART,
            bytes: limits.bytes_per_second as u64 * PART,
            refilled: now,
        })
    }

    fn refill(&mut self, limits: &Limits, now: Millis) {
        let millis = u64::from(now.since(self.refilled)).min(1_000);
        if millis > 0 {
            let (messages, bytes) =
                (u64::from(limits.messages_per_second), limits.bytes_per_second as u64);
            self.messages = (self.messages + messages * millis).min(messages * PART);
            self.bytes = (self.bytes + bytes * millis).min(bytes * PART);
            self.refilled = now;
        }
    }

    /// How many of `bytes` are within the rate; they are spent.
    pub(super) fn spend_bytes(&mut self, bytes: usize, limits: &Limits, now: Millis) -> usize {
        self.refill(limits, now);
        let within = (self.bytes / PART).min(bytes as u64);
        self.bytes -= within * PART;
        within as usize
    }

    /// Spends one message; `false` when that is beyond the rate.
    pub(super) fn spend_message(&mut self, limits: &Limits, now: Millis) -> bool {
        self.refill(limits, now);
        let left = self.messages.checked_sub(PART);
        self.messages = left.unwrap_or(self.messages);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_a_second_and_refills_by_the_millisecond() {
        let limits = Limits { messages_per_second: 10, bytes_per_second: 500, ..Limits::default() };
        let mut rates = Rates::new(&limits, Millis(0)).unwrap();
        let messages = |rates: &mut Rates, now| {
            (0..100).filter(|_| rates.spend_message(&limits, Millis(now))).count()
        };
        assert_eq!(messages(&mut rates, 0), 10);
        assert_eq!(messages(&mut rates, 99), 0);
        assert_eq!(messages(&mut rates, 100), 1);
        assert_eq!(messages(&mut rates, 60_000), 10);
        assert_eq!(rates.spend_bytes(501, &limits, Millis(60_000)), 500);
        assert_eq!(rates.spend_bytes(100, &limits, Millis(60_010)), 5);
    }

    #[test]
    fn who_may_send_more_than_is_possible_is_not_counted() {
        assert!(Rates::new(&Limits::default(), Millis(0)).is_none());
    }
}
