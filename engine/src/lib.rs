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
mod client;
pub mod connection;
mod driver;
mod handler;
mod latency;
mod limits;
mod metrics;
pub mod protocol;
mod pubsub;
mod server;
mod shard;
#[doc(hidden)]
pub mod simd;
mod tls;

/// The example in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

pub mod policy {
    //! What is asked about a request before a handler is: see [`Policy`](crate::Policy) and
    //! [`ServerBuilder::policy`](crate::ServerBuilder::policy).
    pub use crate::handler::{
        Admission, AllowedHosts, AllowedOrigins, Authentication, Credentials, Paths,
        ResponseHeaders, Secrets, Subprotocols, Verifier, secrets_equal,
    };
}

pub mod testing {
    //! A server in memory, to test handlers without sockets and without waiting.
    pub use crate::shard::{MemoryConnection, MemoryServer};
}

pub use client::{Client, ClientError, ClientSocket, Closed, block_on};
pub use connection::{CloseInfo, ClosedBy, Compress, DropReason, Dropped, SendOutcome, SendPolicy};
pub use handler::{
    BadSetting, Binary, Chunk, Compressed, Conn, ConnectionReport, Handler, Message, Outbound,
    OutboundRequest, Outgoing, Page, Peer, PeerError, Policy, Prepared, Publisher, RemotePeer,
    ShardReport, Subscribed, Text, TrustedProxies, Uncompressed, Upgrade, publish, publisher,
    spawn,
};
pub use latency::Latency;
pub use limits::{KIB, Limits, MIB};
pub use metrics::{Counters, Histogram, Metric};
pub use protocol::CloseCode;
pub use protocol::deflate::Deflate;
pub use protocol::handshake::{Rejection, Request, Status};
pub use pubsub::{
    Backend, History, HistoryMessage, Interest, Position, Publication, PublicationId, Publish,
    Reached, SlowPolicy, Subscribe, SubscribeError, TopicOptions,
};
pub use server::{
    Controller, Cores, Driver, DriverInUse, Result, Running, Server, ServerBuilder, SetupError,
    ShardInfo, probe_ring,
};
pub use tls::{ClientTls, Tls, TlsError, TlsFacts};
