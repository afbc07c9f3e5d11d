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
pub mod connection;
mod driver;
mod handler;
mod limits;
mod metrics;
pub mod protocol;
mod pubsub;
mod server;
mod shard;
#[doc(hidden)]
pub mod simd;

/// The example in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

pub mod testing {
    //! A server in memory, to test handlers without sockets and without waiting.
    pub use crate::shard::{MemoryConnection, MemoryServer};
}

pub use connection::{CloseInfo, ClosedBy, SendOutcome};
pub use handler::{
    Binary, Conn, Gone, Handler, MailboxError, Message, Outbound, OutboundRequest, Outgoing, Page,
    Peer, Reached, RemotePeer, Text, Upgrade, spawn,
};
pub use limits::{KIB, Limits, MIB};
pub use metrics::Counters;
pub use protocol::CloseCode;
pub use protocol::handshake::{Request, Status};
pub use server::{
    Controller, Cores, Driver, DriverInUse, Result, Running, Server, ServerBuilder, SetupError,
    ShardInfo, probe_ring,
};
