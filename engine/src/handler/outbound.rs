//! Connections that a handler opens itself. They are queued here and opened by the shard.

use std::net::{IpAddr, SocketAddr};

use crate::connection::ClientHandshake;

/// Where to connect and what to ask for.
#[derive(Debug)]
pub struct OutboundRequest {
    /// The server's address.
    pub address: SocketAddr,
    /// The local address to connect from, if not the system's choice.
    pub source: Option<IpAddr>,
    /// The opening handshake.
    pub handshake: ClientHandshake,
}

/// Collects outbound connections for the shard to open at the end of the callback.
#[derive(Debug)]
pub struct Outbound<S> {
    requests: Vec<(OutboundRequest, S)>,
}

impl<S> Default for Outbound<S> {
    fn default() -> Self {
        Self { requests: Vec::new() }
    }
}

impl<S> Outbound<S> {
    /// Opens a connection; `on_open` is called with this state once the handshake is complete,
    /// `on_connect_failed` if it never is.
    pub fn connect(&mut self, request: OutboundRequest, state: S) {
        self.requests.push((request, state));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(crate) fn take(&mut self) -> Vec<(OutboundRequest, S)> {
        std::mem::take(&mut self.requests)
    }
}
