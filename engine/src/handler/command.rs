//! What can be asked of a connection or shard from outside a callback.

use crate::protocol::{CloseCode, MessageKind};

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
    },
    /// Send a Ping.
    Ping {
        /// The connection.
        token: Token,
        /// At most 125 bytes.
        payload: Vec<u8>,
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
    /// Publish to the shard's subscribers.
    Publish {
        /// The topic.
        topic: String,
        /// Text or binary.
        kind: MessageKind,
        /// The payload.
        payload: Vec<u8>,
    },
    /// Stop accepting, close every connection with 1001, end when all are gone.
    Drain,
    /// End now.
    Stop,
}
