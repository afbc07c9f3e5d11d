//! A connection as a callback sees it. It lives for that callback; [`Peer`] is what is kept.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use super::{Outbound, Outgoing, Peer, Token};
use crate::connection::{Connection, Phase, SendOutcome, Services};
use crate::protocol::CloseCode;
use crate::pubsub::{Hub, Subscriber, Subscriptions};

/// A connection, borrowed for one callback. Nothing it offers blocks or fails because of the peer:
/// what is sent is queued, and all that one turn queues leaves in one system call.
#[derive(Debug)]
pub struct Conn<'a, S> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) services: &'a mut Services,
    pub(crate) state: &'a mut S,
    pub(crate) subscriptions: &'a mut Subscriptions,
    pub(crate) hub: &'a mut Hub,
    pub(crate) outbound: &'a mut Outbound<S>,
    pub(crate) token: Token,
    pub(crate) socket: Option<BorrowedFd<'a>>,
}

/// How many a publish will reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Subscribers of this shard that it is queued for.
    pub queued: usize,
}

impl<S> Conn<'_, S> {
    /// This connection's state.
    #[must_use]
    pub fn state(&self) -> &S {
        self.state
    }

    /// This connection's state, to change.
    pub fn state_mut(&mut self) -> &mut S {
        self.state
    }

    /// Sends [`Text`](super::Text), [`Binary`](super::Binary), or a received
    /// [`Message`](super::Message).
    ///
    /// The outcome may be ignored: when it is not `Queued`, [`on_close`](super::Handler::on_close)
    /// follows.
    pub fn send(&mut self, message: impl Outgoing) -> SendOutcome {
        message.send_on(self.connection, self.services)
    }

    /// Sends a Ping with at most 125 bytes of payload; the answer comes to
    /// [`on_pong`](super::Handler::on_pong).
    pub fn ping(&mut self, payload: &[u8]) -> SendOutcome {
        self.connection.send_ping(payload, self.services)
    }

    /// Starts the closing handshake. A code that must not be sent (RFC 6455 section 7.4) becomes
    /// 1000, and a reason is cut to 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.connection.close(code, reason, self.services);
    }

    /// Bytes queued and not yet taken by the kernel.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.connection.queued_bytes()
    }

    /// Whether messages can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.phase() == Phase::Open
    }

    /// Subscribes to a topic of this shard. `false` when the connection has as many as the limits
    /// allow or the name is too long.
    pub fn subscribe(&mut self, topic: &str) -> bool {
        let limits = &self.services.limits;
        if topic.len() > limits.topic_bytes_max
            || self.subscriptions.len() >= limits.subscriptions_max
        {
            return false;
        }
        self.hub.subscribe(topic, subscriber(self.token), self.subscriptions);
        true
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, topic: &str) {
        self.hub.unsubscribe(topic, self.subscriptions);
    }

    /// Publishes to a topic's subscribers on this shard, this connection included if it is one.
    pub fn publish(&mut self, topic: &str, message: impl Outgoing) -> Reached {
        Reached { queued: self.hub.publish(topic, message.kind(), message.bytes()) }
    }

    /// Opens an outbound connection from this shard.
    pub fn outbound(&mut self) -> &mut Outbound<S> {
        self.outbound
    }

    /// The handle to keep.
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer::new(self.token)
    }

    /// The other end's address, asked from the kernel; `None` when it is gone already.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        let address = rustix::net::getpeername(self.socket?).ok()??;
        SocketAddr::try_from(address).ok()
    }
}

/// The number by which the hub knows a connection.
pub(crate) fn subscriber(token: Token) -> Subscriber {
    u64::from(token.generation) << 32 | u64::from(token.slot)
}

/// The connection behind a hub's number.
pub(crate) fn token_of(subscriber: Subscriber) -> Token {
    Token { slot: subscriber as u32, generation: (subscriber >> 32) as u32 }
}
