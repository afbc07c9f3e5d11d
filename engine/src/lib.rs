//! A WebSocket server engine for Linux: one thread per core, io_uring underneath, a handler trait
//! on top.
//!
//! It is not an HTTP framework, it starts no thread pool, and it has no async API in the data
//! path: callbacks are plain functions called on the shard that owns the connection.
//!
//! ```no_run
//! use ringsock::{Conn, Handler, Message, Server};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type State = ();
//!
//!     fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
//!         conn.send(message);
//!     }
//! }
//!
//! fn main() -> ringsock::Result<()> {
//!     Server::builder().listen("127.0.0.1:9001")?.serve(|_shard| Echo)
//! }
//! ```

pub mod buffer;
pub mod client;
pub mod connection;
mod driver;
mod handler;
mod latency;
mod limits;
mod metrics;
pub mod protocol;
mod pubsub;
pub mod server;
mod shard;
#[doc(hidden)]
pub mod simd;
pub mod tls;

/// The example in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

pub mod http {
    //! Requests for an upgrade and what is answered instead: see [`Upgrade`](crate::Upgrade), and
    //! [`ServerBuilder::page`](crate::ServerBuilder::page) for pages beside WebSockets.
    pub use crate::handler::Page;
    pub use crate::protocol::handshake::{Rejection, Request, Status};
}

pub mod policy {
    //! What is asked about a request before a handler is: see [`Policy`](crate::Policy) and
    //! [`ServerBuilder::policy`](crate::ServerBuilder::policy).
    pub use crate::handler::{
        Admission, AllowedHosts, AllowedOrigins, Authentication, Credentials, Paths,
        ResponseHeaders, Secrets, Subprotocols, Verifier, secrets_equal,
    };
}

pub mod reports {
    //! What a running server tells of itself: see
    //! [`Controller::reports`](crate::Controller::reports).
    pub use crate::handler::{ConnectionReport, ShardReport};
    pub use crate::metrics::{Counters, Histogram, Metric};
}

pub mod sending {
    //! What can be said of a message that is sent, and what became of it: see
    //! [`Conn::send`](crate::Conn::send).
    pub use crate::connection::{Compress, DropReason, Dropped};
    pub use crate::handler::{Compressed, PeerError, Uncompressed};
}

pub mod testing {
    //! A server in memory, to test handlers without sockets and without waiting.
    pub use crate::shard::{MemoryConnection, MemoryServer};
}

pub mod topics {
    //! What publishing and subscribing are told and tell: see
    //! [`Conn::publish`](crate::Conn::publish) and [`Conn::subscribe`](crate::Conn::subscribe).
    pub use crate::handler::{Publisher, Subscribed};
    pub use crate::pubsub::{
        Backend, History, HistoryMessage, Interest, Position, Publication, PublicationId, Publish,
        Reached, SlowPolicy, Subscribe, SubscribeError, TopicOptions,
    };
}

pub use client::Client;
pub use connection::{CloseInfo, SendOutcome, SendPolicy};
pub use handler::{
    Binary, Chunk, Conn, Handler, Message, Outgoing, Peer, Policy, Prepared, RemotePeer, Text,
    Upgrade, publish, publisher, spawn,
};
pub use limits::{KIB, Limits, MIB};
pub use protocol::CloseCode;
pub use protocol::deflate::Deflate;
pub use server::{Controller, Cores, Driver, Result, Running, Server, ServerBuilder, SetupError};
pub use tls::Tls;
