//! What servers are made to do, and with what. Nothing is started here.

/// Bytes of the JSON that is compressed.
pub(crate) const DOCUMENT_BYTES: usize = 4096;

/// A load on a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) work: Work,
    pub(crate) connections: usize,
    pub(crate) payload_bytes: usize,
    /// Over TLS.
    pub(crate) tls: bool,
    /// Messages are the document, compressed both ways.
    pub(crate) deflate: bool,
    pub(crate) cores: Cores,
}

/// The kind of work, and with it what is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Messages sent back, so many of each connection under way; the value is server CPU
    /// nanoseconds per message.
    Echo { in_flight: usize },
    /// Messages sent back that are sent when they are due, whatever has come back; the value is
    /// nanoseconds from when one was due.
    EchoAtRate { per_second: u32, quantile: Quantile },
    /// One connection publishes, all receive; the value is server CPU nanoseconds per delivery.
    FanOut { in_flight: usize },
    /// The same when messages are due; the value is nanoseconds from when one was due to a
    /// delivery.
    FanOutAtRate { per_second: u32, quantile: Quantile },
    /// Connect, upgrade, one echo, close; the value is server CPU nanoseconds per connection.
    Churn,
    /// Connections that sent one message each and stay; the value is bytes of anonymous memory
    /// per connection.
    Idle,
}

/// Which of many latencies is the value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Quantile {
    P99,
    P999,
}

/// Who runs where.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cores {
    /// The server on its core, the load generator on the other one.
    Apart,
    /// The load generator on both cores, and so many shards of the server, one on each of the first
    /// of them. However many there are, each shares its core with one thread of the load
    /// generator, so that numbers of shards can be compared on a machine that has no more cores.
    Shared { shards: usize },
}

impl Load {
    /// Messages of so many bytes, server and load generator apart.
    pub(crate) const fn new(work: Work, connections: usize, payload_bytes: usize) -> Self {
        let (tls, deflate, cores) = (false, false, Cores::Apart);
        Self { work, connections, payload_bytes, tls, deflate, cores }
    }

    /// The same over TLS.
    pub(crate) const fn over_tls(self) -> Self {
        Self { tls: true, ..self }
    }

    /// The same with the document as message, compressed both ways.
    pub(crate) const fn deflated(self) -> Self {
        Self { payload_bytes: DOCUMENT_BYTES, deflate: true, ..self }
    }

    /// The same on so many shards, on cores shared with the load generator.
    pub(crate) const fn on_shards(self, shards: usize) -> Self {
        Self { cores: Cores::Shared { shards }, ..self }
    }

    /// How many shards or threads serve.
    pub(crate) fn shards(self) -> usize {
        match self.cores {
            Cores::Apart => 1,
            Cores::Shared { shards } => shards,
        }
    }

    /// The unit of the value measured.
    pub(crate) fn unit(self) -> &'static str {
        match self.work {
            Work::Echo { .. } => "ns/message",
            Work::FanOut { .. } => "ns/delivery",
            Work::EchoAtRate { quantile, .. } | Work::FanOutAtRate { quantile, .. } => {
                match quantile {
                    Quantile::P99 => "ns, 99th percentile",
                    Quantile::P999 => "ns, 99.9th percentile",
                }
            }
            Work::Churn => "ns/connection",
            Work::Idle => "bytes/connection",
        }
    }

    /// Whether every message goes to all connections.
    pub(crate) fn is_fan_out(self) -> bool {
        matches!(self.work, Work::FanOut { .. } | Work::FanOutAtRate { .. })
    }

    /// Whether messages are sent when they are due.
    pub(crate) fn is_at_rate(self) -> bool {
        matches!(self.work, Work::EchoAtRate { .. } | Work::FanOutAtRate { .. })
    }
}
