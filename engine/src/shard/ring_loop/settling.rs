//! Brings what the kernel does for connections in line with what they want. It takes no completion.

use std::net::Shutdown;
use std::os::fd::AsFd;

use socket2::SockRef;

use super::side::SENDS_BEFORE_REGISTERING;
use super::{DIRECT_BYTES_MIN, Receiving, RingLoop};
use crate::connection::Phase;
use crate::driver::ring::Queues;
use crate::handler::{Handler, Token};

impl<H: Handler, Q: Queues> RingLoop<H, Q> {
    /// Brings the kernel's side of all connections in line; whether there is anything left to do.
    pub(super) fn settle_all(&mut self) -> bool {
        if self.is_finished() {
            return false;
        }
        while let Some(token) = self.core.next_dirty() {
            self.settle(token);
        }
        while !self.parked.is_empty() && self.ring.has_spare_buffers() {
            let Some(token) = self.parked.pop_front() else { break };
            if let Some(slot) = self.core.slots.get_mut(token)
                && slot.driver.receiving == Receiving::Parked
            {
                slot.driver.receiving = Receiving::Idle;
                self.settle(token);
            }
        }
        self.keep_ticking();
        !self.is_finished()
    }

    /// Brings the kernel's side of a connection in line with what it wants now.
    fn settle(&mut self, token: Token) {
        let Some(slot) = self.core.slots.get_mut(token) else { return };
        let Some(socket) = &slot.socket else { return };
        let (connection, side) = (&mut slot.connection, &mut slot.driver);
        connection.note_pressure(&mut self.core.services);
        if !side.busy
            && connection.phase() != Phase::Ended
            && let Some(batch) = connection.poll_transmit(&mut self.core.services)
        {
            side.busy = true;
            if side.sends < SENDS_BEFORE_REGISTERING {
                side.sends += 1;
                side.registered = side.sends == SENDS_BEFORE_REGISTERING
                    && self.ring.register_file(token, socket.as_fd());
            }
            side.sending = self.ring.send(token, socket.as_fd(), side.registered, batch);
        } else if side.busy && connection.wants_send_checked() && !side.cancelled {
            // What of it was taken shows only in its end; the rest is sent again.
            side.cancelled = true;
            self.ring.cancel_operation(token, side.sending);
        }
        let flushed = !side.busy && !connection.has_waiting();
        match connection.phase() {
            Phase::Flushing if flushed => return self.finish(token),
            Phase::Ended => return self.finish(token),
            Phase::Lingering if flushed && !side.shut => {
                side.shut = true;
                // A socket that is no longer connected needs no shutting.
                let _ = SockRef::from(socket).shutdown(Shutdown::Write);
            }
            _ => {}
        }
        self.settle_receiving(token);
        self.core.schedule(token);
    }

    fn settle_receiving(&mut self, token: Token) {
        let Some(slot) = self.core.slots.get_mut(token) else { return };
        let Some(socket) = &slot.socket else { return };
        let (connection, side) = (&mut slot.connection, &mut slot.driver);
        let services = &mut self.core.services;
        let wants =
            !connection.is_held() && connection.phase() != Phase::Flushing && !side.connecting;
        let missing = connection.missing_bytes();
        let direct = missing >= DIRECT_BYTES_MIN || (side.large && missing > 0);
        match side.receiving {
            Receiving::Idle if wants && direct => {
                if let Some((buffer, room)) = connection.lend_assembly(services) {
                    side.receiving = Receiving::Direct;
                    side.large = true;
                    side.receiving_directly =
                        self.ring.receive_direct(token, socket.as_fd(), buffer, room);
                }
            }
            Receiving::Idle if wants => {
                side.receiving = Receiving::Multishot;
                if side.large {
                    self.ring.receive_once(token, socket.as_fd());
                } else {
                    self.ring.receive(token, socket.as_fd());
                }
            }
            Receiving::Multishot if !wants || direct => {
                side.receiving = Receiving::Cancelling;
                self.ring.cancel_receive(token);
            }
            _ => {}
        }
    }

    /// Ends a connection: first whatever the kernel still does for it, then its socket, then its
    /// slot. The order keeps a late completion from meeting a new connection.
    fn finish(&mut self, token: Token) {
        let Some(slot) = self.core.slots.get_mut(token) else { return };
        let side = &mut slot.driver;
        match side.receiving {
            Receiving::Multishot => {
                side.receiving = Receiving::Cancelling;
                self.ring.cancel_receive(token);
            }
            Receiving::Direct => {
                side.receiving = Receiving::Cancelling;
                self.ring.cancel_operation(token, side.receiving_directly);
            }
            Receiving::Parked => side.receiving = Receiving::Idle,
            _ => {}
        }
        let idle = side.receiving == Receiving::Idle;
        if side.busy && !side.cancelled {
            side.cancelled = true;
            self.ring.cancel_operation(token, side.sending);
        }
        if !idle || side.busy {
            return;
        }
        if let Some(slot) = self.core.remove(token)
            && let Some(socket) = slot.socket
        {
            if slot.driver.registered {
                self.ring.unregister_file(token);
            }
            self.ring.close(socket);
        }
    }
}
