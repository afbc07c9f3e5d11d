//! What is measured, against what, and which ratio is wanted: data only.

/// One line of the table.
pub(crate) struct Row {
    /// As it is printed and selected by.
    pub(crate) name: &'static str,
    pub(crate) load: Load,
    /// The raw servers compared with; the best of them counts. None: the value itself is wanted
    /// to be at most [`Self::target`].
    pub(crate) raw: &'static [Server],
    /// The highest ratio wanted.
    pub(crate) target: f64,
}

/// What the servers are made to do.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// Messages sent back; the value is server CPU nanoseconds per message.
    Echo { connections: usize, payload_bytes: usize, in_flight: usize },
    /// Connect, upgrade, one echo, close; the value is server CPU nanoseconds per connection.
    Churn { connections: usize, payload_bytes: usize },
    /// Connections that sent one message each and stay; the value is bytes of anonymous memory
    /// per connection.
    Idle { connections: usize, payload_bytes: usize },
}

/// A program that can be put under load.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// The server under test.
    Ringsock,
    RawRing,
    RawEpoll,
}

impl Server {
    /// As it is printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ringsock => "ringsock",
            Self::RawRing => "raw-ring",
            Self::RawEpoll => "raw-epoll",
        }
    }
}

impl Row {
    /// The server under test, then those it is compared with.
    pub(crate) fn servers(&self) -> impl Iterator<Item = Server> {
        [Server::Ringsock].into_iter().chain(self.raw.iter().copied())
    }
}

impl Load {
    /// The unit of the value measured.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Echo { .. } => "ns/message",
            Self::Churn { .. } => "ns/connection",
            Self::Idle { .. } => "bytes/connection",
        }
    }

    /// Bytes of payload in each message.
    pub(crate) fn payload_bytes(self) -> usize {
        match self {
            Self::Echo { payload_bytes, .. }
            | Self::Churn { payload_bytes, .. }
            | Self::Idle { payload_bytes, .. } => payload_bytes,
        }
    }
}

const fn echo(connections: usize, payload_bytes: usize, in_flight: usize) -> Load {
    Load::Echo { connections, payload_bytes, in_flight }
}

const RING: &[Server] = &[Server::RawRing];
const BOTH: &[Server] = &[Server::RawRing, Server::RawEpoll];

/// Every row, in the order of the table.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "echo 20 B, 256 connections, 1 in flight",
        load: echo(256, 20, 1),
        raw: RING,
        target: 1.05,
    },
    Row {
        name: "echo 20 B, 256 connections, 16 in flight",
        load: echo(256, 20, 16),
        raw: RING,
        target: 1.15,
    },
    Row {
        name: "echo 16 KiB, 64 connections",
        load: echo(64, 16 * 1024, 1),
        raw: BOTH,
        target: 1.10,
    },
    Row {
        name: "echo 1 MiB, 16 connections",
        load: echo(16, 1024 * 1024, 1),
        raw: BOTH,
        target: 1.35,
    },
    Row { name: "echo 20 B, 1 connection", load: echo(1, 20, 1), raw: RING, target: 1.15 },
    Row {
        name: "echo 20 B, 15,000 connections",
        load: echo(15_000, 20, 1),
        raw: RING,
        target: 1.08,
    },
    Row {
        name: "connect, upgrade, echo, close",
        load: Load::Churn { connections: 64, payload_bytes: 20 },
        raw: RING,
        target: 1.10,
    },
    Row {
        name: "memory of an idle connection",
        load: Load::Idle { connections: 10_000, payload_bytes: 20 },
        raw: &[],
        target: 256.0,
    },
];
