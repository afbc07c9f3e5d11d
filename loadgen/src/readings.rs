//! What a shard measures besides its counts: histograms, of which a run needs few. Reading
//! them costs a shard nothing: whoever reads swaps them for empty ones.

use crate::attendance::{Attendance, Attendee};
use crate::latency::Latencies;

/// Times at which unanswered messages were due that a shard remembers.
const UNANSWERED_MAX: usize = 1 << 20;

/// The histograms of one shard, or of all of them together.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    /// From when a message was to be sent until its answer; in a closed loop from when it was sent.
    pub(crate) latency: Latencies,
    /// Open loop: from when it was really sent.
    pub(crate) uncorrected: Option<Box<Latencies>>,
    /// Open loop: from when a message was to be sent until it was.
    pub(crate) lag: Option<Box<Latencies>>,
    /// Fan-out: from when a message was due until the last subscriber had it.
    pub(crate) completion: Option<Box<Latencies>>,
    /// From when a Ping was due until its Pong.
    pub(crate) ping: Option<Box<Latencies>>,
    /// Fan-out: what each subscriber got.
    pub(crate) attendance: Option<Box<Attendance>>,
    /// Messages that have no answer: when they were due, and how many were due then.
    unanswered: Vec<(u64, u64)>,
}

impl Readings {
    /// Adds an answer of an open loop.
    pub(crate) fn record_paced(&mut self, from_due_ns: u64, from_sent_ns: u64) {
        self.latency.record(from_due_ns);
        self.uncorrected.get_or_insert_default().record(from_sent_ns);
    }

    /// Adds how late a message was sent.
    pub(crate) fn record_lag(&mut self, nanoseconds: u64) {
        self.lag.get_or_insert_default().record(nanoseconds);
    }

    /// Adds a message that has reached everybody.
    pub(crate) fn record_completion(&mut self, nanoseconds: u64) {
        self.completion.get_or_insert_default().record(nanoseconds);
    }

    /// Adds a Ping that was answered.
    pub(crate) fn record_ping(&mut self, nanoseconds: u64) {
        self.ping.get_or_insert_default().record(nanoseconds);
    }

    /// Adds a subscriber.
    pub(crate) fn attend(&mut self, attendee: Attendee) {
        self.attendance.get_or_insert_default().add(attendee);
    }

    /// Adds messages that were due at this time and will not be answered. How late an answer would
    /// be is known only from below, and only when the run ends.
    pub(crate) fn leave_unanswered(&mut self, due_ns: u64, count: u64, now_ns: u64) {
        match self.unanswered.len() < UNANSWERED_MAX {
            true => self.unanswered.push((due_ns, count)),
            false => self.latency.record_times(now_ns.saturating_sub(due_ns), count),
        }
    }

    /// The run is over: whatever is unanswered took at least until now. How many those are.
    pub(crate) fn settle(&mut self, now_ns: u64) -> u64 {
        let mut messages = 0;
        for (due_ns, count) in self.unanswered.drain(..) {
            self.latency.record_times(now_ns.saturating_sub(due_ns), count);
            messages += count;
        }
        messages
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
        self.unanswered.extend_from_slice(&other.unanswered);
        if let Some(other) = &other.attendance {
            self.attendance.get_or_insert_default().merge(other);
        }
        for (own, other) in [
            (&mut self.uncorrected, &other.uncorrected),
            (&mut self.lag, &other.lag),
            (&mut self.completion, &other.completion),
            (&mut self.ping, &other.ping),
        ] {
            if let Some(other) = other {
                own.get_or_insert_default().merge(other);
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.latency.clear();
        self.unanswered.clear();
        self.attendance = None;
        let others = [&mut self.uncorrected, &mut self.lag, &mut self.completion, &mut self.ping];
        others.into_iter().flatten().for_each(|histogram| histogram.clear());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unanswered_counts_with_its_age_at_the_end_and_once() {
        let (mut all, mut part) = (Readings::default(), Readings::default());
        part.latency.record(1_000);
        part.leave_unanswered(5_000_000, 3, 6_000_000);
        all.merge(&part);
        part.clear();
        all.merge(&part);
        assert_eq!(all.latency.count(), 1);
        assert_eq!((all.settle(9_000_000), all.settle(10_000_000)), (3, 0));
        assert_eq!(all.latency.count(), 4);
        let summary = all.latency.summary();
        assert!((summary.p90 - 4_000.0).abs() < 4.0 && summary.p50 > 3_990.0, "{summary:?}");
    }

    #[test]
    fn what_cannot_be_remembered_counts_with_its_present_age() {
        let mut readings = Readings::default();
        (0..=UNANSWERED_MAX as u64).for_each(|_| readings.leave_unanswered(1_000, 1, 3_000));
        assert_eq!(readings.latency.count(), 1);
        assert_eq!(readings.settle(9_000), UNANSWERED_MAX as u64);
    }
}
