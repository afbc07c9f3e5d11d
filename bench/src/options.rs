//! The command line that both raw servers share.

use std::io;
use std::net::SocketAddr;

use clap::Args;

use crate::canned::responses;
use crate::ledger::Exchange;

/// Flags of `raw-ring` and `raw-epoll`.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Address to listen on; port 0 takes any free one
    #[arg(long)]
    pub listen: SocketAddr,
    /// Core to run on
    #[arg(long, default_value_t = 0)]
    pub core: usize,
    /// Bytes of one request on the wire (26 for a masked payload of 20)
    #[arg(long)]
    pub request_bytes: u32,
    /// Bytes of one response on the wire (22 for an unmasked payload of 20)
    #[arg(long)]
    pub response_bytes: u32,
}

impl Common {
    /// The exchange these flags describe.
    ///
    /// # Errors
    /// If requests are empty or no frame is as long as the responses.
    pub fn exchange(&self) -> io::Result<Exchange> {
        if self.request_bytes == 0 {
            return Err(io::Error::other("a request has at least one byte"));
        }
        let row = responses(self.response_bytes as usize).map_err(io::Error::other)?;
        let (request_bytes, response_bytes) = (self.request_bytes, self.response_bytes);
        Ok(Exchange { request_bytes, response_bytes, row })
    }
}
