//! Handles to a connection that may outlive it. They never touch it: what they ask is queued.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Command, LocalShard, Mailbox, Outgoing, Token};
use crate::protocol::CloseCode;
use crate::pubsub::Subscribe;

/// Why nothing was asked of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerError {
    /// The connection is no longer there.
    Gone,
    /// As much waits for the shard as may
    /// ([`Limits::mailbox_commands_max`](crate::Limits::mailbox_commands_max),
    /// [`Limits::mailbox_bytes_max`](crate::Limits::mailbox_bytes_max)).
    Full,
}

impl fmt::Display for PeerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gone => "the connection is gone",
            Self::Full => {
                "too much waits for the shard: it is not keeping up (see \
                 Limits::mailbox_commands_max and mailbox_bytes_max)"
            }
        })
    }
}

impl std::error::Error for PeerError {}

/// A connection, named from its own shard's thread: small, `Copy`, and harmless after the
/// connection has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    token: Token,
    /// Valid on one thread only.
    not_send: PhantomData<*const ()>,
}

impl Peer {
    pub(crate) fn new(token: Token) -> Self {
        Self { token, not_send: PhantomData }
    }

    /// Sends a message in the next turn.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn send(self, message: impl Outgoing) -> Result<(), PeerError> {
        let (kind, compress) = (message.kind(), message.compress());
        let payload = message.bytes().to_vec();
        self.push(Command::Send { token: self.token, kind, payload, compress })
    }

    /// Sends a Ping with at most 125 bytes of payload.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn ping(self, payload: &[u8]) -> Result<(), PeerError> {
        self.push(Command::Ping { token: self.token, payload: payload.to_vec() })
    }

    /// Pauses receiving; see [`Conn::pause_receive`](super::Conn::pause_receive).
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn pause_receive(self) -> Result<(), PeerError> {
        self.push(Command::Pause { token: self.token })
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn resume_receive(self) -> Result<(), PeerError> {
        self.push(Command::Resume { token: self.token })
    }

    /// Subscribes the connection in the next turn; see
    /// [`Conn::subscribe`](super::Conn::subscribe). If it is refused, the reason is in the log at
    /// debug level.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn subscribe(self, topic: &str) -> Result<(), PeerError> {
        self.subscribe_with(topic, Subscribe::default())
    }

    /// Subscribes the connection with a say in what is received; see
    /// [`Conn::subscribe_with`](super::Conn::subscribe_with).
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn subscribe_with(self, topic: &str, how: Subscribe) -> Result<(), PeerError> {
        let (token, topic, is_pattern) = (self.token, topic.into(), false);
        self.push(Command::Subscribe { token, topic, is_pattern, how })
    }

    /// Subscribes the connection to a pattern; see
    /// [`Conn::subscribe_matching_with`](super::Conn::subscribe_matching_with).
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn subscribe_matching_with(self, pattern: &str, how: Subscribe) -> Result<(), PeerError> {
        let (token, topic, is_pattern) = (self.token, pattern.into(), true);
        self.push(Command::Subscribe { token, topic, is_pattern, how })
    }

    /// Ends the connection's subscription to a topic.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn unsubscribe(self, topic: &str) -> Result<(), PeerError> {
        let (token, topic, is_pattern) = (self.token, topic.into(), false);
        self.push(Command::Unsubscribe { token, topic, is_pattern })
    }

    /// Ends the connection's subscription to a pattern.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn unsubscribe_matching(self, pattern: &str) -> Result<(), PeerError> {
        let (token, topic, is_pattern) = (self.token, pattern.into(), true);
        self.push(Command::Unsubscribe { token, topic, is_pattern })
    }

    /// Starts the closing handshake.
    ///
    /// # Errors
    /// [`PeerError`].
    pub fn close(self, code: CloseCode, reason: &str) -> Result<(), PeerError> {
        self.push(Command::Close { token: self.token, code, reason: reason.to_owned() })
    }

    /// Whether the connection is still there.
    #[must_use]
    pub fn is_alive(self) -> bool {
        LocalShard::current().is_some_and(|local| local.is_alive(self.token))
    }

    /// The handle other threads may use.
    ///
    /// # Panics
    /// Outside the threads of a shard, where no `Peer` comes from.
    #[must_use]
    pub fn remote(self) -> RemotePeer {
        let local = LocalShard::current().expect("a Peer is used on its shard's thread");
        RemotePeer { token: self.token, mailbox: Arc::clone(local.mailbox()) }
    }

    fn push(self, command: Command) -> Result<(), PeerError> {
        let local = LocalShard::current().filter(|local| local.is_alive(self.token));
        local.ok_or(PeerError::Gone)?.push(command)
    }
}

/// A connection, named from any thread. Whether it is still there is known only to its shard:
/// what arrives too late is dropped.
#[derive(Clone, Debug)]
pub struct RemotePeer {
    token: Token,
    mailbox: Arc<Mailbox>,
}

impl RemotePeer {
    /// Sends a message.
    ///
    /// # Errors
    /// [`PeerError`], [`PeerError::Gone`] only when the whole shard has ended.
    pub fn send(&self, message: impl Outgoing) -> Result<(), PeerError> {
        let (kind, compress) = (message.kind(), message.compress());
        let payload = message.bytes().to_vec();
        self.mailbox.push(Command::Send { token: self.token, kind, payload, compress })
    }

    /// Sends a Ping with at most 125 bytes of payload.
    ///
    /// # Errors
    /// [`PeerError`], [`PeerError::Gone`] only when the whole shard has ended.
    pub fn ping(&self, payload: &[u8]) -> Result<(), PeerError> {
        self.mailbox.push(Command::Ping { token: self.token, payload: payload.to_vec() })
    }

    /// Pauses receiving; see [`Conn::pause_receive`](super::Conn::pause_receive).
    ///
    /// # Errors
    /// [`PeerError`], [`PeerError::Gone`] only when the whole shard has ended.
    pub fn pause_receive(&self) -> Result<(), PeerError> {
        self.mailbox.push(Command::Pause { token: self.token })
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// [`PeerError`], [`PeerError::Gone`] only when the whole shard has ended.
    pub fn resume_receive(&self) -> Result<(), PeerError> {
        self.mailbox.push(Command::Resume { token: self.token })
    }

    /// Subscribes the connection in the next turn; see
    /// [`Conn::subscribe`](super::Conn::subscribe). If it is refused, the reason is in the log at
    /// debug level.
    ///
    /// # Errors
    /// [`PeerError`], [`PeerError::Gone`] only when the whole shard has ended.
    pub fn subscribe(&self, topic: &str) -> Result<(), PeerError> {
        self.subscribe_with(topic, Subscribe::default())
    }

    /// Subscribes the connection with a say in what is received; see
    /// [`Conn::subscribe_with`](super::Conn::subscribe_with).
    ///
    /// # Errors
    /// [`PeerError`], [`PeerError::Gone`] only when the whole shard has ended.
    pub fn subscribe_with(&self, topic: &str, how: Subscribe) -> Result<(), PeerError> {
        let (token, topic, is_pattern) = (self.token, topic.into(), false);
        self.mailbox.push(Command::Subscribe { token, topic, is_pattern, how })
    }

    /// Subscribes the connection to a pattern; see
    /// [`Conn::subscribe_matching_with`](super::Conn::subscribe_matching_with).
    ///
    /// # Errors
    /// [`PeerError`], [`PeerError::Gone`] only when the whole shard has ended.
    pub fn subscribe_matching_with(&self, pattern: &str, how: Subscribe) -> Result<(), PeerError> {
        let (token, topic, is_pattern) = (self.token, pattern.into(), true);
        self.mailbox.push(Command::Subscribe { token, topic, is_pattern, how })
    }

    /// Ends the connection's subscription to a topic.
    ///
    /// # Errors
    /// [`PeerError`], [`PeerError::Gone`] only when the whole shard has ended.
    pub fn unsubscribe(&self, topic: &str) -> Result<(), PeerError> {
        let (token, topic, is_pattern) = (self.token, topic.into(), false);
        self.mailbox.push(Command::Unsubscribe { token, topic, is_pattern })
    }

    /// Ends the connection's subscription to a pattern.
    ///
    /// # Errors
    /// [`PeerError`], [`PeerError::Gone`] only when the whole shard has ended.
    pub fn unsubscribe_matching(&self, pattern: &str) -> Result<(), PeerError> {
        let (token, topic, is_pattern) = (self.token, pattern.into(), true);
        self.mailbox.push(Command::Unsubscribe { token, topic, is_pattern })
    }

    /// Starts the closing handshake.
    ///
    /// # Errors
    /// [`PeerError`], [`PeerError::Gone`] only when the whole shard has ended.
    pub fn close(&self, code: CloseCode, reason: &str) -> Result<(), PeerError> {
        self.mailbox.push(Command::Close { token: self.token, code, reason: reason.to_owned() })
    }
}
