//! What all connections of a shard share and borrow for the length of one call. It holds no
//! connection.

use std::time::Duration;

use super::Millis;
use crate::buffer::{Pool, Segment};
use crate::limits::Limits;
use crate::metrics::Counters;

/// Shared by the connections of one shard.
#[derive(Debug)]
pub struct Services {
    /// Vectors for reuse.
    pub pool: Pool,
    /// The bounds.
    pub limits: Limits,
    /// The earliest deadline that an open connection can get from now on.
    pub open_horizon: Millis,
    open_deadline_min: Duration,
    /// What happened.
    pub counters: Counters,
    /// The time of this turn.
    pub now: Millis,
    /// Masks for frames we send as a client.
    pub masks: Masks,
    /// The receive buffer being handled, if the driver can lend it to the send queue.
    pub received: Option<ReceivedBuffer>,
    /// The value of the `Server` header, if one is sent.
    pub server_name: Option<String>,
}

impl Services {
    /// Services at time zero.
    #[must_use]
    pub fn new(limits: Limits, server_name: Option<String>) -> Self {
        Self {
            pool: Pool::new(),
            open_deadline_min: limits
                .ping_interval
                .min(limits.assembly_timeout)
                .min(limits.write_stall_timeout),
            open_horizon: Millis(0),
            limits,
            counters: Counters::default(),
            now: Millis(0),
            masks: Masks::default(),
            received: None,
            server_name,
        }
        .at_time(Millis(0))
    }

    fn at_time(mut self, now: Millis) -> Self {
        self.set_time(now);
        self
    }
}

impl Services {
    /// Moves to the time of a new turn.
    pub fn set_time(&mut self, now: Millis) {
        self.now = now;
        self.open_horizon = now.after(self.open_deadline_min);
    }
}

/// A receive buffer whose bytes may be sent without copying them.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedBuffer {
    /// The driver's number of it.
    pub buffer: u16,
    /// Where it begins in memory.
    pub address: usize,
    /// How long it is.
    pub bytes: usize,
    /// How many runs were queued from it: as long as there are any the driver must keep it.
    pub shares: u32,
}

impl Services {
    /// The run of bytes at an address as a share of the receive buffer. `None` when the buffer
    /// cannot be lent or the run is not in it.
    pub(crate) fn share_received(&mut self, address: usize, bytes: usize) -> Option<Segment> {
        let received = self.received.as_mut()?;
        let start = address.checked_sub(received.address)?;
        let end = start.checked_add(bytes)?;
        if end > received.bytes {
            return None;
        }
        received.shares += 1;
        let range = u32::try_from(start).ok()?..u32::try_from(end).ok()?;
        Some(Segment::Lent { buffer: received.buffer, range })
    }
}

/// Masks from the operating system's generator, fetched a thousand at a time, so that they are
/// unpredictable (RFC 6455 section 5.3) and still cost a few nanoseconds each.
#[derive(Debug)]
pub struct Masks {
    random: Box<[u8; Self::BYTES]>,
    used: usize,
}

impl Default for Masks {
    fn default() -> Self {
        Self { random: Box::new([0; Self::BYTES]), used: Self::BYTES }
    }
}

impl Masks {
    const BYTES: usize = 4096;

    /// A fresh mask.
    ///
    /// # Panics
    /// When the operating system has no random numbers, which Linux rules out once it has booted.
    pub fn next_mask(&mut self) -> [u8; 4] {
        if self.used == Self::BYTES {
            getrandom::fill(&mut self.random[..]).expect("the system's random numbers");
            self.used = 0;
        }
        let mut mask = [0; 4];
        mask.copy_from_slice(&self.random[self.used..self.used + 4]);
        self.used += 4;
        mask
    }
}
