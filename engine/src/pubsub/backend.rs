//! The seam to other nodes: what a server hands to whatever carries publishes elsewhere. It carries
//! nothing itself.

use super::log::Position;
use crate::protocol::MessageKind;

/// A message on its way between nodes. All of it must travel.
///
/// ```
/// # use ringsock::protocol::MessageKind;
/// # use ringsock::topics::{PublicationId, Publication};
/// let id = PublicationId { node: 7, publisher: 0, sequence: 40 };
/// let publication = Publication {
///     id,
///     topic: "room/1",
///     topic_sequence: 3,
///     position: None,
///     kind: MessageKind::Text,
///     payload: b"hello",
///     tags: u64::MAX,
///     key: 0,
/// };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication<'a> {
    /// Which publication it is.
    pub id: PublicationId,
    /// The topic.
    pub topic: &'a str,
    /// Its number among those of the same publisher to the same topic, from 1: what a node finds
    /// missing in between was lost.
    pub topic_sequence: u64,
    /// Its place in the history that the backend keeps for all nodes, if it does
    /// ([`Backend::keeps_histories`]). `None` on the way out.
    pub position: Option<Position>,
    /// Text or binary.
    pub kind: MessageKind,
    /// The payload.
    pub payload: &'a [u8],
    /// See [`Publish::tags`](crate::topics::Publish).
    pub tags: u64,
    /// See [`Publish::key`](crate::topics::Publish).
    pub key: u64,
}

/// What no other publication of any node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicationId {
    /// The node it was published on, [`Publisher::node`](crate::topics::Publisher::node) of its
    /// server: another one at each start.
    pub node: u64,
    /// Which of that node's publishers: each shard is one, and all other threads are one together.
    /// Order holds for what one publisher publishes to one topic.
    pub publisher: u32,
    /// Its number among those of that publisher, from 1.
    pub sequence: u64,
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

/// Messages that a topic keeps, to be stored or handed to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Where the last of them stands.
    pub position: Position,
    /// The messages, oldest first, each with an offset one higher than the one before.
    pub messages: Vec<HistoryMessage>,
}

/// A message that a topic keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryMessage {
    /// Text or binary.
    pub kind: MessageKind,
    /// The payload.
    pub payload: Vec<u8>,
    /// See [`Publish::tags`](crate::topics::Publish).
    pub tags: u64,
}

/// Carries publishes to other nodes and from them: behind it stands Redis, NATS or the like.
///
/// Its methods are called on the thread that publishes or subscribes, in the middle of a shard's
/// turn: they hand over to a thread of the backend's own, through a bounded queue, and return. What
/// arrives from other nodes goes to [`Publisher::arrived`](crate::topics::Publisher::arrived),
/// where a publication that came before is dropped and one that is missing makes
/// [`Handler::on_gap`](crate::Handler::on_gap) be called; so it may be delivered more than once,
/// and to nodes that want only some of it.
///
/// There are two kinds of topics. Those without a history reach this node's subscribers at once and
/// those of others when they arrive there. Those with a history do likewise, each node numbering
/// them for itself, unless the backend [keeps histories](Self::keeps_histories): then it gives each
/// message its position, and everybody, on this node too, gets it when it arrives with that.
pub trait Backend: Send + Sync + 'static {
    /// A message was published on this node. Those of one publisher come in order.
    ///
    /// What is published in here goes to this node's subscribers and no further.
    fn publish(&self, publication: &Publication<'_>);

    /// The first subscriber of a topic or pattern on this node has come, or the last has gone; each
    /// of them is told in the order in which it happened. The time to give a topic its history, by
    /// [`Publisher::seed_history`](crate::topics::Publisher::seed_history): what is given before
    /// this returns, that first subscriber recovers already.
    fn interest(&self, interest: Interest<'_>) {
        let _ = interest;
    }

    /// Whether it numbers the messages of topics with a history for all nodes. Asked once, when the
    /// server starts. Default: no.
    fn keeps_histories(&self) -> bool {
        false
    }
}
