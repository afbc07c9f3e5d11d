//! What comes out of a data ring. Only shapes; nothing is decided here.

use std::io;
use std::os::fd::OwnedFd;

use super::buffers::Lease;
use crate::handler::Token;

/// What came of a multishot receive.
#[derive(Debug)]
pub(crate) enum Received {
    /// Bytes, in a buffer that must be given back.
    Data(Lease),
    /// The peer sends nothing more.
    End,
    /// No buffer was free.
    NoBuffers,
    /// Cancelled at our wish.
    Cancelled,
    /// The connection is broken.
    Failed(io::Error),
}

/// One completed step.
#[derive(Debug)]
pub(crate) enum Completion {
    /// A connection was accepted, or could not be. When not `more`, accept again.
    Accepted {
        /// Which listener.
        listener: u32,
        /// The connection.
        result: io::Result<OwnedFd>,
        /// Whether the operation goes on.
        more: bool,
    },
    /// A multishot receive reports. When not `more`, it has ended.
    Received {
        /// The connection.
        token: Token,
        /// What.
        received: Received,
        /// Whether the operation goes on.
        more: bool,
    },
    /// A direct receive ended: this many bytes were appended to the buffer.
    ReceivedDirect {
        /// The connection.
        token: Token,
        /// The buffer lent.
        buffer: Vec<u8>,
        /// Bytes appended; 0 at the end of the stream.
        result: io::Result<usize>,
    },
    /// Part of a batch has left; the rest is under way.
    Progress {
        /// The connection.
        token: Token,
    },
    /// A batch has left, or never will.
    Sent {
        /// The connection.
        token: Token,
        /// Bytes of the batch.
        bytes: usize,
        /// Whether all of it was taken.
        result: io::Result<()>,
    },
    /// A connect ended.
    Connected {
        /// The connection.
        token: Token,
        /// How.
        result: io::Result<()>,
    },
    /// The mailbox has something. When not `more`, arm it again.
    Wake {
        /// Whether the operation goes on.
        more: bool,
    },
    /// The timeout has passed; it is not armed any more.
    Tick,
    /// A completion that belongs to nothing under way. Counted, otherwise ignored.
    Stale,
}
