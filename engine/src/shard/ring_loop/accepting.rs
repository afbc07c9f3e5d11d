//! Connections that come in on the ring, and those that go out. What becomes of them is decided
//! elsewhere.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::{RingLoop, RingSide};
use crate::driver::ring::Queues;
use crate::driver::{ACCEPT_BACKOFF, concerns_one_connection, outbound_socket, peer_address};
use crate::handler::Handler;

impl<H: Handler, Q: Queues> RingLoop<H, Q> {
    pub(super) fn accepted(&mut self, listener: u32, result: io::Result<OwnedFd>, more: bool) {
        let mut failure = None;
        match result {
            Ok(socket) => match self.core.admit(|| peer_address(socket.as_fd())) {
                Some(counted) => {
                    let side = RingSide::new(false);
                    let token = self.core.accepted(Some(socket), side, counted);
                    self.core.mark_dirty(token);
                }
                None => self.ring.close(socket),
            },
            Err(error) => failure = Some(error),
        }
        if more {
            return;
        }
        self.accepting -= 1;
        if self.core.is_draining() {
            return;
        }
        if let Some(error) = failure.filter(|error| !concerns_one_connection(error)) {
            self.core.accept_failed(&error);
            self.backoffs.push((listener, self.core.services.now.after(ACCEPT_BACKOFF)));
        } else if let Some(fd) = self.listeners.get(listener as usize) {
            self.ring.accept(listener, fd.as_fd());
            self.accepting += 1;
        }
    }

    /// Lets go of the listeners: the kernel refuses what comes, unless another process has them.
    pub(super) fn stop_accepting(&mut self) {
        for listener in 0..self.listeners.len() {
            self.ring.cancel_accept(listener as u32);
        }
        self.listeners.clear();
        self.backoffs.clear();
    }

    pub(super) fn open_outbound(&mut self) {
        while !self.core.outbound.is_empty() {
            for (request, state) in self.core.outbound.take() {
                let address = request.address;
                match outbound_socket(address, request.source) {
                    Ok(socket) => {
                        let socket = OwnedFd::from(socket);
                        let side = RingSide::new(true);
                        let token = self.core.connecting(Some(socket), request, state, side);
                        if let Some(slot) = self.core.slots.get_mut(token)
                            && let Some(socket) = &slot.socket
                        {
                            slot.driver.sending = self.ring.connect(token, socket.as_fd(), address);
                        }
                    }
                    Err(error) => self.core.connect_failed(state, &error.to_string()),
                }
            }
        }
    }
}
