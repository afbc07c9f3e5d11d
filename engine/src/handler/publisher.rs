//! Publishing from anywhere: tasks of a shard, other threads. It waits for nobody, and it does not
//! know who is subscribed.

use std::sync::Arc;

use super::message::content;
use super::{LocalShard, Outgoing};
use crate::pubsub::{Exchange, History, Publication, Publish, Reached};

/// Publishes to the topics of a server from any thread. Cheap to clone; harmless after the server
/// has ended.
///
/// What one thread publishes to a topic arrives in that order at each subscriber, whichever of
/// [`Conn::publish`](super::Conn::publish), [`publish`] and this handle it uses in between.
#[derive(Clone, Debug)]
pub struct Publisher {
    exchange: Arc<Exchange>,
}

impl Publisher {
    pub(crate) fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange }
    }

    /// Publishes to the subscribers of a topic on every shard. The message is framed once; one
    /// parcel goes to each shard that has subscribers, and never waits for room. On the thread of a
    /// shard of this server it leaves at the end of the turn, with what connections publish.
    pub fn publish(&self, topic: &str, message: impl Outgoing) -> Reached {
        self.publish_with(topic, message, Publish::default())
    }

    /// Publishes with a say in who receives it.
    pub fn publish_with(&self, topic: &str, message: impl Outgoing, how: Publish) -> Reached {
        let content = content(&message);
        LocalShard::publish(&self.exchange, topic, content, how)
            .unwrap_or_else(|| self.exchange.publish(topic, content, how))
    }

    /// How many subscribers a publish to a topic reaches now, on all shards, by name and by
    /// pattern.
    #[must_use]
    pub fn subscribers(&self, topic: &str) -> usize {
        self.exchange.subscribers(topic)
    }

    /// The number of this server among those that a [`Backend`](crate::topics::Backend) joins:
    /// another one at each start.
    #[must_use]
    pub fn node(&self) -> u64 {
        self.exchange.node()
    }

    /// Takes in what a [`Backend`](crate::topics::Backend) brings: it goes to this node's
    /// subscribers and no further. What came before is dropped, by its id or its position, and so
    /// is what this node has published itself, unless it comes with a position; what is found
    /// missing before it is told to subscribers by [`Handler::on_gap`](crate::Handler::on_gap), and
    /// is dropped if it comes later, so that order holds.
    pub fn arrived(&self, publication: &Publication<'_>) -> Reached {
        self.exchange.arrived(publication)
    }

    /// What a topic with a history keeps on this node; `None` for others.
    #[must_use]
    pub fn history(&self, topic: &str) -> Option<History> {
        self.exchange.history(topic)
    }

    /// Gives a topic the history that others have of it, or what is older than what it has already,
    /// so that who comes back to this node recovers what was published elsewhere. A history of
    /// another epoch takes the place of the one there is. `false` when the topic keeps none.
    ///
    /// Positions mean the same on all nodes only if somebody gives them for all:
    /// [`Backend::keeps_histories`](crate::topics::Backend::keeps_histories).
    pub fn seed_history(&self, topic: &str, history: &History) -> bool {
        self.exchange.seed_history(topic, history)
    }

    /// Says that this many messages to a topic were lost on their way, where the backend knows it
    /// by other means than their numbers: its subscribers are told by
    /// [`Handler::on_gap`](crate::Handler::on_gap).
    pub fn missed(&self, topic: &str, messages: u32) {
        self.exchange.miss_everywhere(topic, messages);
    }
}

/// Publishes from a task of a shard, or from a callback that has no connection at hand.
///
/// # Panics
/// Outside a shard's thread: there a [`Publisher`] says which server is meant.
pub fn publish(topic: &str, message: impl Outgoing) -> Reached {
    publisher().publish(topic, message)
}

/// The [`Publisher`] of this shard's server.
///
/// # Panics
/// Outside a shard's thread.
#[must_use]
pub fn publisher() -> Publisher {
    let local = LocalShard::current().expect("ringsock::publisher is for the threads of a shard");
    local.publisher().clone()
}
