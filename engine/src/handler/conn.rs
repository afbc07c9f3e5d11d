//! A connection as a callback sees it. It lives for that callback; [`Peer`] is what is kept.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use super::{Outbound, Outgoing, Peer, Token};
use crate::connection::{Connection, Dropped, Phase, SendOutcome, SendPolicy, Services};
use crate::protocol::CloseCode;
use crate::protocol::deflate::DeflateAgreement;
use crate::pubsub::Hub;
use crate::tls::TlsFacts;

/// A connection, borrowed for one callback. Nothing it offers blocks or fails because of the peer:
/// what is sent is queued, and all that one turn queues leaves in one system call.
#[derive(Debug)]
pub struct Conn<'a, S> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) services: &'a mut Services,
    pub(crate) state: &'a mut S,
    pub(crate) hub: &'a RefCell<Hub>,
    pub(crate) outbound: &'a mut Outbound<S>,
    pub(crate) token: Token,
    pub(crate) socket: Option<BorrowedFd<'a>>,
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
    /// The outcome may be ignored unless the connection was given a [`SendPolicy`] that drops: when
    /// it is not `Queued`, [`on_close`](super::Handler::on_close) follows.
    pub fn send(&mut self, message: impl Outgoing) -> SendOutcome {
        let compress = message.compress();
        message.send_on(compress, self.connection, self.services)
    }

    /// Sends a message that replaces the one with the same key if that still waits, in its place:
    /// the peer gets the latest value for each key as fast as it can read, however often it
    /// changes. What a send has taken already is not replaced.
    pub fn send_latest(&mut self, key: u64, message: impl Outgoing) -> SendOutcome {
        let (kind, bytes) = (message.kind(), message.bytes());
        self.connection.send_latest(key, kind, bytes, self.services)
    }

    /// Sends a piece of a message, as a fragment (RFC 6455 section 5.4): a message need not fit in
    /// memory. The first piece begins it and decides whether it is text or binary;
    /// [`send_last_chunk`](Self::send_last_chunk) ends it. Whole messages sent in between follow
    /// behind its end.
    ///
    /// Send until [`queued_bytes`](Self::queued_bytes) has passed
    /// [`send_queue_soft_bytes`](crate::Limits::send_queue_soft_bytes) and go on in
    /// [`on_drain`](super::Handler::on_drain). A piece that is answered with
    /// [`SendOutcome::Dropped`] was not taken and does not end the connection: the same piece may
    /// be sent again then.
    pub fn send_chunk(&mut self, piece: impl Outgoing) -> SendOutcome {
        self.connection.send_chunk(piece.kind(), piece.bytes(), false, self.services)
    }

    /// Sends the last piece, which may be empty, of a message; see [`send_chunk`](Self::send_chunk).
    pub fn send_last_chunk(&mut self, piece: impl Outgoing) -> SendOutcome {
        self.connection.send_chunk(piece.kind(), piece.bytes(), true, self.services)
    }

    /// Receives the messages that begin from here on in pieces as they arrive
    /// ([`Handler::on_chunk`](super::Handler::on_chunk)), or whole again: a message need not fit in
    /// memory. They may be as long as
    /// [`chunked_message_bytes_max`](crate::Limits::chunked_message_bytes_max). A compressed message
    /// comes in one piece, held to the limit of whole messages.
    pub fn receive_chunks(&mut self, chunks: bool) {
        self.connection.receive_chunks(chunks);
    }

    /// What becomes of messages for which the queue has no room
    /// ([`send_queue_bytes_max`](crate::Limits::send_queue_bytes_max)). At first
    /// [`SendPolicy::Close`]. Control frames are never dropped, and never behind waiting data.
    pub fn set_send_policy(&mut self, policy: SendPolicy) {
        self.connection.set_send_policy(policy);
    }

    /// How many messages to this connection were dropped so far, by reason.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.connection.dropped()
    }

    /// Receives nothing more from this peer until it is resumed here or by
    /// [`Peer::resume_receive`]: what it sends waits in its own buffers and then in it. No further
    /// message is delivered, not even one that has been received already. Closing ends the pause.
    ///
    /// While it lasts, the peer's silence is not held against it, and its going away is noticed
    /// only by sending something: every `ping_interval` a Ping is.
    pub fn pause_receive(&mut self) {
        self.connection.pause_receiving(self.services);
    }

    /// Ends a pause. What waits is delivered after this callback.
    pub fn resume_receive(&mut self) {
        self.connection.resume_receiving(self.services);
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

    /// What was agreed with the peer on compression, if anything.
    #[must_use]
    pub fn compression(&self) -> Option<DeflateAgreement> {
        self.connection.compression()
    }

    /// Bytes queued and not yet taken whole by the kernel. Beside
    /// [`send_queue_soft_bytes`](crate::Limits::send_queue_soft_bytes) they tell whether to go on
    /// sending or to wait for [`on_drain`](super::Handler::on_drain).
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.connection.queued_bytes()
    }

    /// Whether messages can still be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.phase() == Phase::Open
    }

    /// Opens an outbound connection from this shard.
    pub fn outbound(&mut self) -> &mut Outbound<S> {
        self.outbound
    }

    /// What TLS agreed on, the client's certificate among it; `None` for a plain connection.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.connection.tls()
    }

    /// The handle to keep.
    #[must_use]
    pub fn peer(&self) -> Peer {
        Peer::new(self.token)
    }

    /// The client's address: the one that a trusted proxy vouches for, otherwise the other end's,
    /// asked from the kernel. `None` on a Unix socket without such a proxy, and when it is gone
    /// already.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        if let Some(address) = self.connection.client_address() {
            return Some(address);
        }
        let address = rustix::net::getpeername(self.socket?).ok()??;
        SocketAddr::try_from(address).ok()
    }
}
