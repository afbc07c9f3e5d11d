//! What a shard measures besides its counts: histograms, of which a run needs few. Reading
//! them costs a shard nothing: whoever reads swaps them for empty ones.

use crate::latency::Latencies;

/// The histograms of one shard, or of all of them together.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    /// From when a message was to be sent until its answer; in a closed loop from when it was sent.
    pub(crate) latency: Latencies,
    /// Open loop: from when it was really sent.
    pub(crate) uncorrected: Option<Box<Latencies>>,
    /// Open loop: from when a message was to be sent until it was.
    pub(crate) lag: Option<Box<Latencies>>,
    /// Fan-out: from the publishing until the last subscriber had the message.
    pub(crate) completion: Option<Box<Latencies>>,
    /// From when a Ping was due until its Pong.
    pub(crate) ping: Option<Box<Latencies>>,
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

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.latency.merge(&other.latency);
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
        let others = [&mut self.uncorrected, &mut self.lag, &mut self.completion, &mut self.ping];
        others.into_iter().flatten().for_each(|histogram| histogram.clear());
    }
}
