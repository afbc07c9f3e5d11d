//! What all connections of a shard share and borrow for the length of one call. It holds no
//! connection.

use std::time::Duration;

use super::{Compression, Millis};
use crate::buffer::{Pool, Segment};
use crate::limits::Limits;
use crate::metrics::{Counters, Histogram};
use crate::tls::Tls;

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
    /// Bytes waiting for one peer from which on something is done about it.
    pub(super) pressure_bytes: usize,
    /// Bytes waiting for one peer from which on the application is told when fewer do.
    pub(super) soft_bytes: usize,
    /// Among how many shards the memory budget is divided.
    shards: usize,
    /// What happened.
    pub counters: Counters,
    /// For each message of a topic that was queued, the bytes that waited for the subscriber.
    pub deliveries: Histogram,
    /// The time of this turn.
    pub now: Millis,
    /// Masks for frames we send as a client.
    pub masks: Masks,
    /// What compression shares.
    pub compression: Compression,
    /// The receive buffer being handled, if the driver can lend it to the send queue.
    pub received: Option<ReceivedBuffer>,
    /// The value of the `Server` header, if one is sent.
    pub server_name: Option<String>,
    /// What accepted connections speak TLS with, if they do.
    pub tls: Option<Tls>,
    /// Steps of TLS handshakes that may still be made in this turn; whoever has turns lowers it to
    /// what the limits say.
    pub handshakes_left: u32,
    /// The connection that was called last has put a step off.
    pub handshake_put_off: bool,
    /// Whether the driver says of each part of a batch that it has left. One that hands a whole
    /// batch to the kernel knows only of its end, and is asked before a peer is taken to stand
    /// still ([`Connection::wants_send_checked`](super::Connection::wants_send_checked)).
    pub progress_is_told: bool,
}

impl Services {
    /// Services at time zero.
    #[must_use]
    pub fn new(limits: Limits, server_name: Option<String>) -> Self {
        Self {
            pool: Pool::new(),
            pressure_bytes: 0,
            soft_bytes: 0,
            shards: 1,
            open_deadline_min: open_deadline_min(&limits),
            open_horizon: Millis(0),
            handshakes_left: u32::MAX,
            limits,
            counters: Counters::default(),
            deliveries: Histogram::default(),
            now: Millis(0),
            masks: Masks::default(),
            compression: Compression::default(),
            received: None,
            server_name,
            tls: None,
            handshake_put_off: false,
            progress_is_told: true,
        }
        .with_shards(1)
    }

    /// Divides the memory budget among so many shards.
    #[must_use]
    pub fn with_shards(mut self, shards: usize) -> Self {
        self.shards = shards.max(1);
        self.apply_limits();
        self
    }
}

fn open_deadline_min(limits: &Limits) -> Duration {
    let spans = [limits.assembly_timeout, limits.write_stall_timeout, limits.lifetime_max];
    spans.into_iter().fold(limits.ping_interval, Duration::min)
}

impl Services {
    /// Works within other bounds from now on. The deadlines of connections are the caller's to set
    /// anew.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.apply_limits();
    }

    fn apply_limits(&mut self) {
        let limits = &self.limits;
        self.open_deadline_min = open_deadline_min(limits);
        self.soft_bytes = limits.send_queue_soft_bytes.min(limits.send_queue_bytes_max);
        self.pressure_bytes = self.soft_bytes.min(limits.receive_pause_bytes);
        self.pool.budget.set_max((limits.memory_bytes_max / self.shards).max(1));
        self.set_time(self.now);
    }

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
