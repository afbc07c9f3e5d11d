//! What is measured and which ratios are wanted: data only.

/// One line of the table.
pub(crate) struct Row {
    /// As it is printed and selected by.
    pub(crate) name: &'static str,
    pub(crate) group: &'static str,
    pub(crate) load: Load,
    pub(crate) targets: &'static [Target],
}

/// A ratio that is wanted.
pub(crate) struct Target {
    /// Who is compared with; the best of them counts. None: the value itself is meant.
    pub(crate) against: &'static [&'static str],
    /// The highest ratio wanted.
    pub(crate) at_most: f64,
}

/// What the servers are made to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Messages sent back; the value is server CPU nanoseconds per message.
    Echo { connections: usize, payload_bytes: usize, in_flight: usize },
    /// One connection publishes, all receive; the value is server CPU nanoseconds per delivery.
    FanOut { connections: usize, payload_bytes: usize, in_flight: usize },
    /// Messages sent back that are sent when they are due, whatever has come back; the value is
    /// nanoseconds from when one was due; one in a hundred takes longer.
    EchoAtRate { connections: usize, payload_bytes: usize, per_second: u32 },
    /// The same of messages that one connection publishes and all receive.
    FanOutAtRate { connections: usize, payload_bytes: usize, per_second: u32 },
    /// Connect, upgrade, one echo, close; the value is server CPU nanoseconds per connection.
    Churn { connections: usize, payload_bytes: usize },
    /// Connections that sent one message each and stay; the value is bytes of anonymous memory
    /// per connection.
    Idle { connections: usize, payload_bytes: usize },
}

impl Load {
    /// The unit of the value measured.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Echo { .. } => "ns/message",
            Self::FanOut { .. } => "ns/delivery",
            Self::EchoAtRate { .. } | Self::FanOutAtRate { .. } => "ns, 99th percentile",
            Self::Churn { .. } => "ns/connection",
            Self::Idle { .. } => "bytes/connection",
        }
    }

    /// Whether every message goes to all connections.
    pub(crate) fn is_fan_out(self) -> bool {
        matches!(self, Self::FanOut { .. } | Self::FanOutAtRate { .. })
    }

    /// Bytes of payload in each message.
    pub(crate) fn payload_bytes(self) -> usize {
        match self {
            Self::Echo { payload_bytes, .. }
            | Self::FanOut { payload_bytes, .. }
            | Self::EchoAtRate { payload_bytes, .. }
            | Self::FanOutAtRate { payload_bytes, .. }
            | Self::Churn { payload_bytes, .. }
            | Self::Idle { payload_bytes, .. } => payload_bytes,
        }
    }
}

const fn echo(connections: usize, payload_bytes: usize, in_flight: usize) -> Load {
    Load::Echo { connections, payload_bytes, in_flight }
}

const fn fan_out(connections: usize, payload_bytes: usize, in_flight: usize) -> Load {
    Load::FanOut { connections, payload_bytes, in_flight }
}

const fn raw(at_most: f64) -> Target {
    Target { against: &["raw-ring", "raw-epoll"], at_most }
}

const fn uwebsockets(at_most: f64) -> Target {
    Target { against: &["uWebSockets"], at_most }
}

/// Every row, in the order of the table.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "echo 20 B, 256 connections, 1 in flight",
        group: "echo",
        load: echo(256, 20, 1),
        targets: &[raw(1.05), uwebsockets(0.80)],
    },
    Row {
        name: "echo 20 B, 256 connections, 16 in flight",
        group: "echo",
        load: echo(256, 20, 16),
        targets: &[raw(1.15)],
    },
    Row {
        name: "echo 1 KiB, 256 connections",
        group: "echo",
        load: echo(256, 1024, 1),
        targets: &[],
    },
    Row {
        name: "echo 16 KiB, 64 connections",
        group: "large messages",
        load: echo(64, 16 * 1024, 1),
        targets: &[raw(1.10)],
    },
    Row {
        name: "echo 1 MiB, 16 connections",
        group: "large messages",
        load: echo(16, 1024 * 1024, 1),
        targets: &[raw(1.35)],
    },
    Row {
        name: "echo 20 B, 1 connection",
        group: "echo",
        load: echo(1, 20, 1),
        targets: &[raw(1.15)],
    },
    Row {
        name: "echo 20 B, 15,000 connections",
        group: "echo",
        load: echo(15_000, 20, 1),
        targets: &[raw(1.08), uwebsockets(1.00)],
    },
    Row {
        name: "fan-out 100 B, 1,000 subscribers, 1 in flight",
        group: "fan-out",
        load: fan_out(1000, 100, 1),
        targets: &[raw(1.10)],
    },
    Row {
        name: "fan-out 100 B, 1,000 subscribers, 16 in flight",
        group: "fan-out",
        load: fan_out(1000, 100, 16),
        targets: &[raw(1.10)],
    },
    Row {
        name: "fan-out 512 B, 5,000 subscribers, 4 in flight",
        group: "fan-out",
        load: fan_out(5000, 512, 4),
        targets: &[raw(1.10)],
    },
    Row {
        name: "latency p99, echo 20 B, 256 connections, 5,000/s",
        group: "latency",
        load: Load::EchoAtRate { connections: 256, payload_bytes: 20, per_second: 5_000 },
        targets: &[],
    },
    Row {
        name: "latency p99, echo 20 B, 256 connections, 20,000/s",
        group: "latency",
        load: Load::EchoAtRate { connections: 256, payload_bytes: 20, per_second: 20_000 },
        targets: &[],
    },
    Row {
        name: "latency p99, fan-out 100 B, 1,000 subscribers, 20/s",
        group: "latency",
        load: Load::FanOutAtRate { connections: 1000, payload_bytes: 100, per_second: 20 },
        targets: &[],
    },
    Row {
        name: "connect, upgrade, echo, close",
        group: "connections",
        load: Load::Churn { connections: 64, payload_bytes: 20 },
        targets: &[raw(1.10), uwebsockets(0.90)],
    },
    Row {
        name: "memory of an idle connection",
        group: "connections",
        load: Load::Idle { connections: 10_000, payload_bytes: 20 },
        targets: &[Target { against: &[], at_most: 256.0 }],
    },
];
