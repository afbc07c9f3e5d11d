//! What can be asked of a connection or shard from outside a callback.

use super::report::ReportRequest;
use crate::connection::Compress;
use crate::limits::Limits;
use crate::protocol::{CloseCode, MessageKind};
use crate::pubsub::Subscribe;

/// Names one connection of one shard, now and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    /// Its place in the shard.
    pub slot: u32,
    /// Which of the connections that have had this place, modulo 2^24.
    pub generation: u32,
}

/// A request to a shard.
#[derive(Debug)]
pub(crate) enum Command {
    /// Send a message on a connection.
    Send {
        /// The connection.
        token: Token,
        /// Text or binary.
        kind: MessageKind,
        /// The payload.
        payload: Vec<u8>,
        /// Whether it is sent compressed.
        compress: Compress,
    },
    /// Send a Ping.
    Ping {
        /// The connection.
        token: Token,
        /// At most 125 bytes.
        payload: Vec<u8>,
    },
    /// Deliver nothing more, receive no more.
    Pause {
        /// The connection.
        token: Token,
    },
    /// Go on receiving.
    Resume {
        /// The connection.
        token: Token,
    },
    /// Start the closing handshake.
    Close {
        /// The connection.
        token: Token,
        /// The code.
        code: CloseCode,
        /// The reason.
        reason: String,
    },
    /// Subscribe a connection.
    Subscribe {
        /// The connection.
        token: Token,
        /// The topic or pattern.
        topic: Box<str>,
        /// Whether it is a pattern.
        is_pattern: bool,
        /// What is received.
        how: Subscribe,
    },
    /// End a subscription.
    Unsubscribe {
        /// The connection.
        token: Token,
        /// The topic or pattern.
        topic: Box<str>,
        /// Whether it is a pattern.
        is_pattern: bool,
    },
    /// Take the decisions on upgrades that have been made.
    Decided,
    /// Say how the shard is.
    Report(ReportRequest),
    /// Work within these bounds from now on.
    SetLimits(Box<Limits>),
    /// Stop accepting, close every connection with 1001 within the drain window, end when all are
    /// gone. A second one ends the shard now.
    Drain {
        /// Whether handshakes that come to an end meanwhile are refused with 503. They are not
        /// when another process has taken over: the peer was accepted and shall be served.
        refuse: bool,
    },
    /// End now.
    Stop,
}

impl Command {
    /// Whether it may be answered that too much waits already. What the engine itself asks for must
    /// get through whatever waits, and is little.
    pub(super) fn can_be_refused(&self) -> bool {
        !matches!(self, Self::Decided | Self::Drain { .. } | Self::Stop)
    }

    /// Bytes that it brings along.
    pub(super) fn carried_bytes(&self) -> usize {
        match self {
            Self::Send { payload, .. } | Self::Ping { payload, .. } => payload.len(),
            Self::Close { reason, .. } => reason.len(),
            Self::Subscribe { topic, .. } | Self::Unsubscribe { topic, .. } => topic.len(),
            _ => 0,
        }
    }
}
