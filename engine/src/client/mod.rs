//! WebSocket connections that a task opens and reads itself. A handler that opens many connections
//! and wants their messages in its callbacks uses [`Outbound`] instead; nothing here
//! touches the data ring.
#![forbid(unsafe_code)]

mod aside;
mod connecting;
mod error;
mod inbox;
mod race;
mod resolve;
mod runtime;
mod socket;
mod stream;
mod trust;
mod tunnel;

use std::fmt;
use std::net::IpAddr;

pub use error::ClientError;
pub use runtime::block_on;
pub use socket::{ClientSocket, Closed};

pub use crate::handler::{Outbound, OutboundRequest};
use crate::limits::Limits;
use crate::protocol::deflate::Deflate;
use crate::protocol::handshake::without_secrets;
use crate::tls::ClientTls;

/// Describes a connection to a WebSocket server: where to, and what to ask for.
///
/// It connects inside a task of a shard ([`spawn`](crate::spawn)) or, in a program that has no
/// server, inside [`block_on`].
///
/// ```no_run
/// use ringsock::{Client, Text};
/// use ringsock::client::block_on;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     block_on(async {
///         let mut socket = Client::new("ws://127.0.0.1:9001/")
///             .header("Authorization", "Bearer 123")
///             .connect()
///             .await?;
///         socket.send(Text("subscribe prices")).await?;
///         while let Some(message) = socket.next().await? {
///             println!("{} bytes", message.bytes().len());
///         }
///         Ok(())
///     })
/// }
/// ```
#[derive(Clone)]
#[must_use = "it connects when `connect` is awaited"]
pub struct Client {
    url: String,
    subprotocols: Vec<String>,
    headers: Vec<(String, String)>,
    proxy: Option<String>,
    source: Option<IpAddr>,
    deflate: Option<Deflate>,
    tls: Option<ClientTls>,
    limits: Limits,
}

impl fmt::Debug for Client {
    /// Shows no secret: not the query, the headers and the proxy.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = without_secrets(&self.url);
        formatter.debug_struct("Client").field("url", &url).finish_non_exhaustive()
    }
}

impl Client {
    /// A connection to this `ws://` or `wss://` address. What is wrong with the address is told by
    /// [`connect`](Self::connect).
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            subprotocols: Vec::new(),
            headers: Vec::new(),
            proxy: None,
            source: None,
            deflate: None,
            tls: None,
            limits: Limits::default(),
        }
    }

    /// Whom to trust when the address is `wss://`. Default: what [`ClientTls::system_roots`]
    /// trusts, read once in the life of the process.
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sends this header with the opening handshake; may be called more than once.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Offers a subprotocol (RFC 6455 section 1.9); the favourite is offered first.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Connects through an HTTP proxy, with the CONNECT method (RFC 9110 section 9.3.6):
    /// `http://[user:password@]host:port`. Default: none; no environment variable is looked at.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Connects from this local address. Default: the system's choice.
    pub fn source(mut self, address: IpAddr) -> Self {
        self.source = Some(address);
        self
    }

    /// Offers permessage-deflate (RFC 7692). Default: not offered.
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.deflate = Some(deflate);
        self
    }

    /// The bounds of the connection: `handshake_timeout` holds for everything up to the answer of
    /// the server, name resolution and proxy included. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// [`ClientError`]: each says which step failed, against whom, and why.
    ///
    /// # Panics
    /// Outside a task of a shard and outside [`block_on`]: there is no runtime to wait in.
    pub async fn connect(self) -> Result<ClientSocket, ClientError> {
        connecting::connect(self).await
    }
}
