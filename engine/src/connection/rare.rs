//! What few connections have and most never need, behind one pointer of the connection. Only
//! shapes; what they mean is decided where they are used.

use super::SendPolicy;
use super::chunks::ChunkedSend;
use super::compression::Contexts;
use super::rates::Rates;

/// See the fields.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// The payload of the latest Ping, when too much waits to answer each.
    pub(super) owed_pong: Option<Vec<u8>>,
    pub(super) policy: SendPolicy,
    pub(super) dropped: Dropped,
    /// What compression with context takeover keeps between messages.
    pub(super) contexts: Contexts,
    /// What the peer may still send this moment, if it is held to a rate.
    pub(super) rates: Option<Rates>,
    /// Received while receiving was paused, and from where on it has not been looked at.
    pub(super) stash: Vec<u8>,
    pub(super) stash_used: usize,
    /// A message whose end has not been queued.
    pub(super) sending: Option<ChunkedSend>,
    /// Bytes so far of a message that is received in pieces.
    pub(super) chunked_bytes: u64,
}

/// How many messages were dropped on one connection, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// New ones, because the queue was full ([`SendPolicy::DropNewest`], or nothing that could have
    /// been dropped instead), or because the server was short of memory.
    pub newest: u64,
    /// Old ones that waited, to make room ([`SendPolicy::DropOldest`]).
    pub oldest: u64,
    /// Old ones that waited, for a newer one with the same key.
    pub replaced: u64,
    /// Those that waited when the connection was closed for a reason that lets nothing wait.
    pub closing: u64,
}

impl Dropped {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.newest + self.oldest + self.replaced + self.closing
    }
}
