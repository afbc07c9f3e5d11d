//! What the ring has done for connections: bytes that came, bytes that went. It starts no operation.

use std::io;

use super::{DIRECT_BYTES_MIN, Receiving, RingLoop};
use crate::connection::ReceivedBuffer;
use crate::driver::ring::{Lease, Queues, Received};
use crate::handler::{Handler, Token};

impl<H: Handler, Q: Queues> RingLoop<H, Q> {
    pub(super) fn received(&mut self, token: Token, received: Received, more: bool) {
        if !more && let Some(slot) = self.core.slots.get_mut(token) {
            slot.driver.receiving = Receiving::Idle;
        }
        match received {
            Received::Data(lease) => self.data(token, lease),
            Received::End => self.end(token, false),
            Received::Failed(_) => self.end(token, true),
            Received::Cancelled => self.core.mark_dirty(token),
            Received::NoBuffers => {
                self.core.services.counters.receive_buffers_exhausted += 1;
                if let Some(slot) = self.core.slots.get_mut(token) {
                    slot.driver.receiving = Receiving::Parked;
                    self.parked.push_back(token);
                }
            }
        }
    }

    #[inline]
    fn data(&mut self, token: Token, lease: Lease) {
        let may_share = self.ring.may_share();
        let buffer = lease.buffer();
        let bytes = self.ring.bytes_mut(&lease);
        let address = bytes.as_ptr().addr();
        let received = ReceivedBuffer { buffer, address, bytes: bytes.len(), shares: 0 };
        self.core.services.received = may_share.then_some(received);
        self.core.with(token, |connection, services, glue| {
            connection.handle_receive(bytes, services, glue);
        });
        match self.core.services.received.take() {
            Some(ReceivedBuffer { shares: shares @ 1.., .. }) => self.ring.keep(lease, shares),
            _ => self.ring.give_back(lease),
        }
        if let Some(slot) = self.core.slots.get_mut(token)
            && slot.driver.large
            && slot.connection.missing_bytes() < DIRECT_BYTES_MIN
        {
            // What came was not the beginning of a large message after all.
            slot.driver.large = false;
        }
    }

    fn end(&mut self, token: Token, reset: bool) {
        self.core.with(token, |connection, services, glue| {
            connection.handle_end(reset, services, glue);
        });
    }

    pub(super) fn received_direct(
        &mut self,
        token: Token,
        buffer: Vec<u8>,
        result: io::Result<usize>,
    ) {
        let Some(slot) = self.core.slots.get_mut(token) else {
            return self.core.services.pool.give(buffer);
        };
        slot.driver.receiving = Receiving::Idle;
        let appended = *result.as_ref().unwrap_or(&0);
        self.core.with(token, |connection, services, glue| {
            connection.handle_direct_receive(buffer, appended, services, glue);
        });
        match result {
            Ok(1..) => {}
            Ok(0) => self.end(token, false),
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {}
            Err(_) => self.end(token, true),
        }
    }

    pub(super) fn sent(&mut self, token: Token, bytes: usize, result: io::Result<()>) {
        let Some(slot) = self.core.slots.get_mut(token) else { return };
        (slot.driver.busy, slot.driver.cancelled) = (false, false);
        self.core.transmitted(token, bytes, result.is_ok());
        if result.is_err() {
            self.end(token, true);
        }
    }

    /// Part of a batch has left, the rest is under way. A send that was cancelled ends like this
    /// when some of it had been taken, so the rest must be cancelled in its turn.
    pub(super) fn progressed(&mut self, token: Token) {
        if let Some(slot) = self.core.slots.get_mut(token) {
            slot.driver.cancelled = false;
        }
        self.core.transmitted(token, 0, true);
    }

    pub(super) fn connected(&mut self, token: Token, result: io::Result<()>) {
        let Some(slot) = self.core.slots.get_mut(token) else { return };
        slot.driver.busy = false;
        slot.driver.connecting = false;
        match result {
            Ok(()) => self.core.mark_dirty(token),
            Err(error) => self.core.with(token, |connection, services, glue| {
                connection.handle_connect_error(&error.to_string(), services, glue);
            }),
        }
    }
}
