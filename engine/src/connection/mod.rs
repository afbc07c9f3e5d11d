//! One connection as a state machine: bytes in, time in, bytes out. It owns no socket and calls no
//! kernel; a driver feeds it and sends what its queue holds. This is the only place that turns
//! errors into bytes on the wire.
//!
//! ```text
//! Handshake --101--> Open --Close in--> Flushing ----------------> Ended
//!     |               | \--our Close--> CloseSent --Close in--> Flushing
//!     \--refusal------+----violation--> Lingering --------------> Ended
//! ```
#![forbid(unsafe_code)]

mod backpressure;
mod chunks;
mod compression;
mod deadlines;
mod events;
mod holds;
mod open;
mod opening;
mod pausing;
mod preface;
mod rare;
mod rates;
mod secured;
mod services;
mod sharing;
mod time;

use std::time::Duration;

use crate::buffer::{Batch, SendQueue};
use crate::protocol::deflate::DeflateAgreement;
use crate::protocol::{CloseCode, Decoder, Role};
use crate::tls::{Session, TlsFacts};

pub use backpressure::{DropReason, SendOutcome, SendPolicy};
pub use compression::{Compress, Compression};
pub use events::{Application, CloseInfo, ClosedBy, Decision, Piece};
use holds::Holds;
pub use opening::ClientHandshake;
pub use rare::Dropped;
use rare::Rare;
use rates::Rates;
pub use services::{Masks, ReceivedBuffer, Services};
pub use time::Millis;
use time::Since;

use opening::{HEAD_BYTES, Opening};

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The opening handshake is not complete.
    Handshake,
    /// Messages flow.
    Open,
    /// We sent a Close frame and wait for the peer's.
    CloseSent,
    /// Both Close frames are through, or the peer has stopped sending: what is queued is sent,
    /// then the socket is closed.
    Flushing,
    /// We refused something: what is queued is sent, our direction is shut, and what the peer
    /// still sends is thrown away for a short time, so that it receives the answer (RFC 9112
    /// section 9.6; RFC 6455 section 7.1.1).
    Lingering,
    /// Nothing more is sent or received.
    Ended,
}

/// A connection of either role.
#[derive(Debug)]
pub struct Connection {
    phase: Phase,
    role: Role,
    decoder: Decoder,
    opening: Option<Box<Opening>>,
    /// Between the wire and everything else here, if the connection is not a plain one.
    tls: Option<Box<Session>>,
    queue: SendQueue,
    /// Whether the application was told of the opening and not yet of the end.
    announced: bool,
    pings_missed: u8,
    /// The code of a Close that we sent first.
    close_sent: Option<CloseCode>,
    /// Thousandths of control frames that the peer may send now.
    control_credit: u32,
    control_refilled: Millis,
    last_received: Millis,
    holds: Holds,
    /// KiB of memory held for what was received and not delivered, and for what TLS has to say.
    received_kib: u32,
    /// What most connections never need.
    rare: Option<Box<Rare>>,
    /// What was agreed on compression.
    agreement: Option<DeflateAgreement>,
    /// Since when the present phase lasts, or, where it waits for the peer, since when the last
    /// byte has left.
    phase_since: Millis,
    /// Since when a message is being assembled.
    assembly_since: Since,
    /// Since when bytes wait and none was accepted by the peer.
    stalled_since: Since,
    lingered_bytes: u32,
}

impl Connection {
    /// A connection that a client has just opened towards us.
    #[must_use]
    pub fn server(now: Millis, services: &Services) -> Self {
        let tls = services.tls.as_ref().map(|tls| Box::new(tls.session()));
        Self { tls, ..Self::new(Role::Server, now, services) }
    }

    /// A connection that we opened towards a server; its request is queued at once.
    #[must_use]
    pub fn client(mut handshake: ClientHandshake, now: Millis, services: &mut Services) -> Self {
        let mut connection = Self::new(Role::Client, now, services);
        connection.tls = handshake.take_session();
        connection.note_held(services);
        connection.queue.append(&mut services.pool, HEAD_BYTES, |out| handshake.write_to(out));
        connection.opening = Some(Box::new(Opening::client(handshake)));
        connection.stalled_since = Since::at(now);
        connection
    }

    fn new(role: Role, now: Millis, services: &Services) -> Self {
        Self {
            phase: Phase::Handshake,
            role,
            decoder: Decoder::new(role),
            opening: None,
            tls: None,
            queue: SendQueue::default(),
            announced: false,
            pings_missed: 0,
            close_sent: None,
            control_credit: services.limits.control_frames_burst * 1000,
            control_refilled: now,
            last_received: now,
            phase_since: now,
            assembly_since: Since::NEVER,
            stalled_since: Since::NEVER,
            lingered_bytes: 0,
            holds: Holds::default(),
            received_kib: 0,
            rare: None,
            agreement: None,
        }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Time since it entered its phase.
    #[must_use]
    pub fn phase_age(&self, now: Millis) -> Duration {
        Duration::from_millis(u64::from(now.since(self.phase_since)))
    }

    /// Server or client.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// What TLS agreed on; `None` for a plain connection and before that handshake is complete.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()?.facts()
    }

    /// Whether bytes wait that no send has taken.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        match &self.tls {
            None => self.queue.has_waiting(),
            Some(tls) => self.has_waiting_secured(tls),
        }
    }

    /// Bytes queued and not yet sent.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.queued_bytes()
    }

    /// Payload bytes that the open data frame still misses and that can be received straight into
    /// it.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        if self.phase == Phase::Open && self.tls.is_none() {
            self.decoder.missing_bytes()
        } else {
            0
        }
    }

    /// Takes what waits to be sent, for one gathered send.
    pub fn poll_transmit(&mut self, services: &mut Services) -> Option<Batch> {
        let batch = match &self.tls {
            None => self.queue.take()?,
            Some(_) => self.take_sealed(services)?,
        };
        self.stalled_since = Since::at(services.now);
        if self.rare.is_some() {
            self.send_owed_pong(services);
        }
        Some(batch)
    }

    /// Says that a batch taken before has left, or that it never will (`delivered` false).
    pub fn handle_transmitted(&mut self, bytes: usize, delivered: bool, services: &mut Services) {
        match &mut self.tls {
            None => self.queue.sent(bytes),
            Some(_) => self.handle_sealed_transmitted(bytes, services),
        }
        if delivered {
            services.counters.bytes_sent += bytes as u64;
        }
        self.holds.set(Holds::CHECKED, !delivered && self.wants_send_checked());
        let waits = delivered && self.queue.queued_bytes() > 0;
        self.stalled_since = if waits { Since::at(services.now) } else { Since::NEVER };
        if !waits && matches!(self.phase, Phase::CloseSent | Phase::Lingering) {
            // From here on it is the peer's turn, and its time begins.
            self.phase_since = services.now;
        }
    }

    /// Gives back all that is held for it, once the driver has let go of it.
    pub fn dispose(&mut self, services: &mut Services) {
        self.abandon(services);
    }

    /// Counts what is received from here on, if the limits are such that a peer could exceed them.
    fn meter(&mut self, services: &Services) {
        if let Some(rates) = Rates::new(&services.limits, services.now) {
            self.rare_mut().rates = Some(rates);
            self.holds.set(Holds::METERED, true);
        }
    }

    fn enter(&mut self, phase: Phase, now: Millis) {
        self.phase = phase;
        self.phase_since = now;
    }
}
