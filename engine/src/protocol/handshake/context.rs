//! What a server knows of a request beside its bytes. Nothing here is read from the request or
//! checked: whoever makes it vouches for it.

use std::fmt;
use std::net::SocketAddr;

/// Finds the client's address out, which costs a system call that most requests do not need.
pub type AskAddress<'h> = dyn Fn() -> Option<SocketAddr> + 'h;

/// Borrowed by a [`Request`](super::Request) for as long as it is decided upon.
#[derive(Clone, Copy, Default)]
pub struct RequestContext<'h> {
    /// The client's address.
    pub peer_address: Option<&'h AskAddress<'h>>,
    /// The number of the route that its path matches.
    pub route: Option<u16>,
    /// What stands in the path for each parameter of that route.
    pub params: &'h [(&'h str, &'h str)],
    /// Who the client is.
    pub identity: Option<&'h str>,
}

impl fmt::Debug for RequestContext<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RequestContext")
            .field("route", &self.route)
            .field("params", &self.params)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
