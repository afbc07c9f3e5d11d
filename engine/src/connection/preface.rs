//! What a trusted proxy says before the client's first byte. Whether the other end is one is for the
//! application to know, and what a PROXY header looks like for the protocol.

use std::net::SocketAddr;

use super::opening::Opening;
use super::{Application, Connection, Services};
use crate::protocol::{ProxyHeader, Role};

impl Connection {
    /// Takes a PROXY header off the front of `input`, if one must be there. Whether what is left is
    /// the client's; otherwise the header goes on, or was none and the connection has ended.
    pub(super) fn pass_preface(
        &mut self,
        input: &mut &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) -> bool {
        if self.opening.is_none() {
            if self.role == Role::Client || !application.expects_proxy_header() {
                return true;
            }
            self.opening = Some(Box::new(Opening::behind_proxy()));
        }
        let Some(opening) = &mut self.opening else { return true };
        let Some(preface) = &mut opening.preface else { return true };
        let bytes_max = services.limits.proxy_header_bytes_max;
        let held = preface.len();
        let fits = input.len().min(bytes_max.saturating_sub(held));
        preface.extend_from_slice(&input[..fits]);
        match ProxyHeader::parse(preface, bytes_max) {
            Ok(Some(header)) => {
                opening.preface = None;
                opening.client_address = header.client;
                // What was held before was not yet a whole header, so this is not negative.
                *input = &mut std::mem::take(input)[header.bytes.saturating_sub(held)..];
                if header.client.is_some_and(|client| !application.admits(client, services)) {
                    self.refuse_silently(services);
                    return false;
                }
                true
            }
            Ok(None) => false,
            // There is nobody to answer who speaks HTTP for certain.
            Err(_) => {
                services.counters.proxy_headers_refused += 1;
                self.refuse_silently(services);
                false
            }
        }
    }

    /// The client's address as a trusted proxy tells it; `None` where the socket's own is the one.
    #[must_use]
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.opening.as_ref().and_then(|opening| opening.client_address)
    }
}
