//! What an application sees: the handler trait and the handles it works with. Nothing here touches
//! a socket or waits; what a handler does is queued and leaves at the end of the turn.
#![forbid(unsafe_code)]

mod addresses;
mod admission;
mod chunk;
mod command;
mod command_queue;
mod conn;
mod deciding;
mod local;
mod mailbox;
mod message;
mod outbound;
mod page;
mod peer;
mod policy;
mod prepared;
mod proxies;
mod publisher;
mod report;
mod routed;
mod setting;
mod site;
mod topics;
mod upgrade;

use crate::connection::CloseInfo;
use crate::protocol::handshake::{Negotiated, Request};

pub(crate) use addresses::{AddressKey, Addresses, Bucket, Excess};
pub use admission::{Admission, Policy};
pub use chunk::Chunk;
pub(crate) use command::{Command, Token};
pub(crate) use command_queue::CommandBounds;
pub use conn::Conn;
pub(crate) use deciding::{Decided, Deciding};
pub(crate) use local::LocalShard;
pub use local::spawn;
pub(crate) use mailbox::Mailbox;
pub use message::{Binary, Compressed, Message, Outgoing, Text, Uncompressed};
pub use outbound::{Outbound, OutboundRequest};
pub use page::Page;
pub use peer::{Peer, PeerError, RemotePeer};
pub use policy::{
    AllowedHosts, AllowedOrigins, Authentication, Credentials, Paths, ResponseHeaders, Secrets,
    Subprotocols, Verifier, secrets_equal,
};
pub use prepared::Prepared;
pub(crate) use proxies::Neighbour;
pub use proxies::TrustedProxies;
pub use publisher::{Publisher, publish, publisher};
pub(crate) use report::ReportRequest;
pub use report::{ConnectionReport, ShardReport};
pub(crate) use routed::{Mount, Mounted, RoutedHandler};
pub use setting::BadSetting;
pub(crate) use site::{Site, complete};
pub use topics::Subscribed;
pub(crate) use topics::subscribe;
pub use upgrade::Upgrade;

/// An application. One value per shard, made on the shard's own thread, so it needs neither `Send`
/// nor `Sync` nor locks: callbacks of one shard are never concurrent.
///
/// ```no_run
/// use ringsock::{Conn, Handler, Message, Server};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type State = ();
///
///     fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
///         conn.send(message);
///     }
/// }
///
/// fn main() -> ringsock::Result<()> {
///     Server::builder().listen("127.0.0.1:9001")?.serve(|_shard| Echo)
/// }
/// ```
///
/// A panic in a callback ends that connection with 1011 and is counted; the shard goes on.
pub trait Handler: Sized + 'static {
    /// What is kept for each connection.
    type State: 'static;

    /// Once, before the shard accepts: the place to open outbound connections.
    fn on_start(&mut self, outbound: &mut Outbound<Self::State>) {
        let _ = outbound;
    }

    /// Decides on a valid upgrade request. The default accepts everything and works only while
    /// `State` is `()`; a handler with a state of its own must say how to make one, and a program
    /// that forgets does not compile.
    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Self::State> {
        let _ = request;
        Upgrade::accept_stateless()
    }

    /// The handshake is complete: messages may be sent from here on.
    fn on_open(&mut self, conn: &mut Conn<'_, Self::State>) {
        let _ = conn;
    }

    /// A whole message.
    fn on_message(&mut self, conn: &mut Conn<'_, Self::State>, message: Message<'_>);

    /// A piece of a message, on a connection that was told to
    /// [`receive_chunks`](Conn::receive_chunks); whole messages come as one piece, then. Whoever
    /// cannot take more pauses:
    ///
    /// ```no_run
    /// # use ringsock::{Chunk, Conn, Handler, Message, SendOutcome};
    /// struct Mirror;
    ///
    /// impl Handler for Mirror {
    ///     type State = ();
    ///
    ///     fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
    ///         conn.receive_chunks(true);
    ///     }
    ///
    ///     fn on_chunk(&mut self, conn: &mut Conn<'_, ()>, chunk: Chunk<'_>) {
    ///         match chunk.is_last() {
    ///             true => conn.send_last_chunk(chunk),
    ///             false => conn.send_chunk(chunk),
    ///         };
    ///         if conn.queued_bytes() > 64 * 1024 {
    ///             conn.pause_receive();
    ///         }
    ///     }
    ///
    ///     fn on_drain(&mut self, conn: &mut Conn<'_, ()>) {
    ///         conn.resume_receive();
    ///     }
    ///
    ///     fn on_message(&mut self, _: &mut Conn<'_, ()>, _: Message<'_>) {}
    /// }
    /// ```
    fn on_chunk(&mut self, conn: &mut Conn<'_, Self::State>, chunk: Chunk<'_>) {
        let _ = (conn, chunk);
    }

    /// A Pong with this payload, solicited or not (RFC 6455 section 5.5.3).
    fn on_pong(&mut self, conn: &mut Conn<'_, Self::State>, payload: &[u8]) {
        let _ = (conn, payload);
    }

    /// Fewer than [`Limits::send_queue_soft_bytes`](crate::Limits) wait, after at least as many did
    /// at the end of a turn: more may be sent without making the peer fall further behind.
    fn on_drain(&mut self, conn: &mut Conn<'_, Self::State>) {
        let _ = conn;
    }

    /// Messages of a topic, or of those that match a pattern, did not reach this connection: it
    /// reads too slowly for what [`TopicOptions::slow`](crate::topics::TopicOptions) allows, its
    /// shard did not keep up, or they were lost between nodes. Called when it can receive again.
    /// The place to send it the present state.
    fn on_gap(&mut self, conn: &mut Conn<'_, Self::State>, topic: &str, messages: u64) {
        let _ = (conn, topic, messages);
    }

    /// Called exactly once for each [`on_open`](Self::on_open), when nothing more will be received.
    fn on_close(&mut self, conn: &mut Conn<'_, Self::State>, info: CloseInfo<'_>) {
        let _ = (conn, info);
    }

    /// What the server of an outbound connection chose of what was offered to it, the subprotocol
    /// above all; [`on_open`](Self::on_open) follows. No connection keeps it: a state may. Not
    /// called where [the answer is not read](crate::connection::ClientHandshake::without_verification).
    fn on_negotiated(&mut self, state: &mut Self::State, negotiated: &Negotiated) {
        let _ = (state, negotiated);
    }

    /// An outbound connection could not be opened; its state comes back.
    fn on_connect_failed(
        &mut self,
        outbound: &mut Outbound<Self::State>,
        state: Self::State,
        reason: &str,
    ) {
        let _ = (outbound, state, reason);
    }
}
