//! The seam to other nodes: what a server hands to whatever carries publishes elsewhere. It carries
//! nothing itself.

use crate::protocol::MessageKind;

/// A message on its way between nodes.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// The node it was published on, [`Publisher::node`](crate::Publisher::node) of its server. It
    /// must travel with the message: a node that receives its own drops it, because its subscribers
    /// have it already.
    pub origin: u64,
    /// The topic.
    pub topic: &'a str,
    /// Text or binary.
    pub kind: MessageKind,
    /// The payload.
    pub payload: &'a [u8],
    /// See [`Publish::tags`](crate::Publish).
    pub tags: u64,
    /// See [`Publish::key`](crate::Publish).
    pub key: u64,
}

/// A change in what this node wants to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest<'a> {
    /// The topic's name, or the pattern.
    pub name: &'a str,
    /// Whether it is a pattern.
    pub is_pattern: bool,
    /// Whether this node has subscribers from now on, or none any more.
    pub wanted: bool,
}

/// Carries publishes to other nodes and from them: behind it stands Redis, NATS or the like.
///
/// Both methods are called on the thread that publishes or subscribes, in the middle of a shard's
/// turn and `interest` under a lock: they hand over to a thread of the backend's own, through a
/// bounded queue, and return. What arrives from other nodes goes to
/// [`Publisher::arrived`](crate::Publisher::arrived), in the order in which each of them published
/// it; what was lost on the way is made known by
/// [`Publisher::missed`](crate::Publisher::missed).
pub trait Backend: Send + Sync + 'static {
    /// A message was published on this node. Its subscribers here get it without the backend.
    fn publish(&self, publication: &Publication<'_>);

    /// The first subscriber of a topic or pattern on this node has come, or the last has gone.
    fn interest(&self, interest: Interest<'_>) {
        let _ = interest;
    }
}
