//! What a connection asks of the application above it, and how an end is described. No behaviour.

use std::borrow::Cow;
use std::net::SocketAddr;

use bytes::Bytes;

use super::{Connection, Services};
use crate::buffer::Payload;
use crate::protocol::handshake::{Negotiated, Rejection, Request, Status};
use crate::protocol::{CloseCode, MessageKind};

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The peer sent the first Close frame.
    Peer,
    /// We sent the first Close frame: the application asked, or the peer broke a rule.
    Local,
    /// The transport ended without a Close frame from the peer.
    Transport,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseInfo<'a> {
    /// The code: the peer's, ours, 1005 when a Close frame had none, 1006 when there was none.
    pub code: CloseCode,
    /// The reason that came with it.
    pub reason: &'a str,
    /// Who began it.
    pub by: ClosedBy,
}

/// A piece of a received message.
#[derive(Debug)]
pub struct Piece<'a> {
    /// Its bytes, unmasked. A piece of text may end within a character.
    pub bytes: &'a mut [u8],
    /// Whether it begins the message.
    pub is_first: bool,
    /// Whether it ends the message.
    pub is_last: bool,
}

/// The answer to an HTTP request.
#[derive(Debug)]
pub enum Decision {
    /// 101 with these choices.
    Accept {
        /// The subprotocol, one of those offered.
        subprotocol: Option<Cow<'static, str>>,
        /// Further response headers.
        headers: Vec<(String, String)>,
    },
    /// Any other status, then the connection is closed.
    Reject(Rejection),
    /// The answer comes with [`Connection::handle_decision`]. Only for an upgrade.
    Later,
    /// A plain HTTP answer, then the connection is closed.
    Page {
        /// The status.
        status: Status,
        /// `Content-Type`.
        content_type: Cow<'static, str>,
        /// The body; left out for a HEAD request and with 304.
        body: Bytes,
        /// Further response headers.
        headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    },
}

/// What stands above a connection: in a shard the handler with this connection's state.
pub trait Application {
    /// Whether the peer is a proxy that begins with a PROXY header.
    fn expects_proxy_header(&self) -> bool {
        false
    }
    /// A trusted proxy has told whose connection this is; whether it may go on.
    fn admits(&mut self, client: SocketAddr, services: &mut Services) -> bool {
        let _ = (client, services);
        true
    }
    /// Decides on a request whose head has been read; `Accept` counts only for a valid upgrade.
    fn decide(
        &mut self,
        connection: &mut Connection,
        services: &mut Services,
        request: &Request<'_>,
    ) -> Decision;
    /// What a server chose of the things we asked for; [`opened`](Self::opened) follows.
    fn negotiated(&mut self, negotiated: Negotiated) {
        let _ = negotiated;
    }
    /// The handshake is complete.
    fn opened(&mut self, connection: &mut Connection, services: &mut Services);
    /// A whole message; text is valid UTF-8.
    fn message(
        &mut self,
        connection: &mut Connection,
        services: &mut Services,
        kind: MessageKind,
        payload: Payload<'_>,
    );
    /// A piece of a message, after [`Connection::receive_chunks`]; all text so far is valid UTF-8.
    fn chunk(
        &mut self,
        connection: &mut Connection,
        services: &mut Services,
        kind: MessageKind,
        piece: Piece<'_>,
    ) {
        let _ = (connection, services, kind, piece);
    }
    /// A Pong with this payload.
    fn pong(&mut self, connection: &mut Connection, services: &mut Services, payload: &[u8]);
    /// Nothing more will be received. Called once for each [`opened`](Self::opened).
    fn closed(&mut self, connection: &mut Connection, services: &mut Services, info: CloseInfo<'_>);
    /// An outbound connection failed before it was open.
    fn connect_failed(&mut self, reason: &str);
}
