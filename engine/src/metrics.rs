//! Counts of what a shard did. Plain integers owned by the shard; nothing here is shared between
//! threads or printed.
#![forbid(unsafe_code)]

/// The counters of one shard since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed at once because the shard was full.
    pub refused_full: u64,
    /// Handshakes answered with 101.
    pub opened: u64,
    /// Handshakes answered otherwise, and outbound ones that failed.
    pub rejected: u64,
    /// Connections that had been open and ended.
    pub closed: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Messages queued to be sent.
    pub messages_sent: u64,
    /// Connections failed for a peer's violation.
    pub violations: u64,
    /// Connections ended by a deadline.
    pub timeouts: u64,
    /// Panics of a handler, each of which ended its connection.
    pub handler_panics: u64,
    /// Receives that found no provided buffer and were armed again.
    pub receive_buffers_exhausted: u64,
    /// Accepts put off because file descriptors or memory ran out.
    pub accept_backoffs: u64,
    /// Turns of the shard's loop.
    pub turns: u64,
}
