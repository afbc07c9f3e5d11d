//! What a connection does with topics: it subscribes, publishes, and asks who is subscribed. Who gets
//! what is decided by the hub.

use std::cell::RefCell;

use bytes::Bytes;

use super::message::content;
use super::{Conn, Outgoing};
use crate::connection::{Connection, Phase, SendOutcome, Services};
use crate::pubsub::{
    Hub, Newcomer, Position, Publish, Reached, Recovered, Subscribe, SubscribeError, TopicName,
};

/// What a subscription begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Where the topic stands: each message from here on, those that a filter or
    /// [`Publish::except_sender`] keeps away included, adds one to the offset. `None` when the
    /// topic has no history, or the connection was subscribed already.
    pub position: Option<Position>,
    /// Whether nothing is missing since the position that was given. If not, nothing was sent, and
    /// the client needs a fresh start: the position is of another history or too old, what was
    /// missed is more than may wait for this connection
    /// ([`Limits::send_queue_bytes_max`](crate::Limits)), or it was subscribed already.
    pub complete: bool,
    /// Messages that were sent at once: missed or retained ones.
    pub recovered: usize,
}

impl<S> Conn<'_, S> {
    /// Subscribes to a topic. The connection gets what is published to it from here on, on any
    /// shard or thread, in the order in which each of them publishes; what another shard publishes
    /// counts from the end of that shard's turn. `false`, and the reason in the log at debug level,
    /// when it is refused; [`subscribe_with`](Self::subscribe_with) says why.
    pub fn subscribe(&mut self, topic: &str) -> bool {
        let subscribed = self.subscribe_with(topic, Subscribe::default());
        if let Err(error) = subscribed {
            tracing::debug!(topic, %error, "not subscribed");
        }
        subscribed.is_ok()
    }

    /// Subscribes with a say in what is received. Someone who is subscribed already stays so, with
    /// the old filter.
    ///
    /// # Errors
    /// [`SubscribeError`]: the limit in the way.
    pub fn subscribe_with(
        &mut self,
        topic: &str,
        how: Subscribe,
    ) -> Result<Subscribed, SubscribeError> {
        self.enter(TopicName::Exact(topic), how)
    }

    /// Subscribes to every topic whose name matches a pattern. A name has levels, separated by
    /// `/`; in a pattern `*` is any one level and `**`, at the end, all that follow, if any:
    /// `room/*/typing`, `price/**`. A name with such a level in it is nothing special to
    /// [`subscribe`](Self::subscribe), so names that come from a peer do no harm there.
    ///
    /// A connection gets a message once for each of its subscriptions that match, and each message
    /// by the options of its own topic.
    ///
    /// # Errors
    /// [`SubscribeError`]: what is wrong with the pattern, or the limit in the way.
    pub fn subscribe_matching(&mut self, pattern: &str) -> Result<(), SubscribeError> {
        self.subscribe_matching_with(pattern, Subscribe::default())
    }

    /// Subscribes to every topic whose name matches a pattern, with a say in what is received.
    ///
    /// # Errors
    /// [`SubscribeError`]: what is wrong with the pattern, or the limit in the way.
    pub fn subscribe_matching_with(
        &mut self,
        pattern: &str,
        how: Subscribe,
    ) -> Result<(), SubscribeError> {
        self.enter(TopicName::Pattern(pattern), how).map(drop)
    }

    fn enter(
        &mut self,
        topic: TopicName<'_>,
        how: Subscribe,
    ) -> Result<Subscribed, SubscribeError> {
        subscribe(self.connection, self.services, self.hub, self.token.slot, topic, how)
    }

    /// Ends a subscription to a topic. Nothing more of it is received, not even what was published
    /// this turn. At the end of a connection all of them end by themselves.
    pub fn unsubscribe(&mut self, topic: &str) {
        self.hub.borrow_mut().unsubscribe(TopicName::Exact(topic), self.token.slot);
    }

    /// Ends a subscription to a pattern.
    pub fn unsubscribe_matching(&mut self, pattern: &str) {
        self.hub.borrow_mut().unsubscribe(TopicName::Pattern(pattern), self.token.slot);
    }

    /// Whether this connection is subscribed to a topic by its very name.
    #[must_use]
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.hub.borrow().is_subscribed(TopicName::Exact(topic), self.token.slot)
    }

    /// Whether this connection is subscribed to a pattern as it is written.
    #[must_use]
    pub fn is_subscribed_matching(&self, pattern: &str) -> bool {
        self.hub.borrow().is_subscribed(TopicName::Pattern(pattern), self.token.slot)
    }

    /// The topics that this connection is subscribed to by name, in no particular order.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.hub.borrow().subscriptions(false, self.token.slot)
    }

    /// The patterns that this connection is subscribed to, in no particular order.
    #[must_use]
    pub fn patterns(&self) -> Vec<String> {
        self.hub.borrow().subscriptions(true, self.token.slot)
    }

    /// How many subscribers a publish to a topic reaches now, on all shards, by name and by
    /// pattern.
    #[must_use]
    pub fn subscribers(&self, topic: &str) -> usize {
        self.hub.borrow().exchange().subscribers(topic)
    }

    /// Publishes to a topic's subscribers on every shard, this connection included if it is one.
    /// The message is framed once; what one turn publishes to a topic goes to each subscriber in
    /// one piece, and to each other shard as one parcel. What a thread publishes to a topic arrives
    /// in that order at each subscriber.
    ///
    /// It is also compressed once, on this shard, where the server compresses messages of its length
    /// or it is [`compressed`](Outgoing::compressed): for all subscribers that have agreed on the
    /// same window without context takeover. Those with context takeover get it as it is, because
    /// what is compressed for one of them is of no use to the others, and so do slow ones for whom it
    /// is kept aside.
    pub fn publish(&mut self, topic: &str, message: impl Outgoing) -> Reached {
        self.publish_with(topic, message, Publish::default())
    }

    /// Publishes with a say in who receives it.
    pub fn publish_with(&mut self, topic: &str, message: impl Outgoing, how: Publish) -> Reached {
        let sender = Some(self.token.slot);
        self.hub.borrow_mut().publish(topic, content(&message), sender, how)
    }
}

/// Subscribes a connection, and queues what it is owed at once.
pub(crate) fn subscribe(
    connection: &mut Connection,
    services: &mut Services,
    hub: &RefCell<Hub>,
    slot: u32,
    topic: TopicName<'_>,
    how: Subscribe,
) -> Result<Subscribed, SubscribeError> {
    if connection.phase() != Phase::Open {
        return Err(SubscribeError::Closing);
    }
    let who = Newcomer { slot, window_bits: connection.shared_window_bits() };
    let recovered = hub.borrow_mut().subscribe(topic, who, how, &services.limits)?;
    let Recovered { position, mut complete, frames } = recovered;
    let bytes = frames.iter().map(Bytes::len).sum();
    let mut sent = 0;
    if connection.has_room_for(bytes, services) {
        for frame in frames {
            let outcome = connection.send_shared(frame, 1, services);
            complete &= outcome == SendOutcome::Queued;
            sent += usize::from(outcome == SendOutcome::Queued);
        }
    } else {
        complete = false;
    }
    Ok(Subscribed { position, complete, recovered: sent })
}
