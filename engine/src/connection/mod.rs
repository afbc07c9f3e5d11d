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

mod events;
mod open;
mod opening;
mod services;
mod time;

use crate::buffer::{Batch, SendQueue};
use crate::protocol::{CloseCode, Decoder, Role};

pub use events::{Application, CloseInfo, ClosedBy, Decision};
pub use open::SendOutcome;
pub use opening::ClientHandshake;
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
    queue: SendQueue,
    /// Whether the application was told of the opening and not yet of the end.
    announced: bool,
    pings_missed: u8,
    /// The code of a Close that we sent first.
    close_sent: Option<CloseCode>,
    control_credit: u16,
    control_refilled: Millis,
    last_received: Millis,
    /// The payload of the latest Ping, when too much waits to answer each.
    #[expect(clippy::box_collection, reason = "one word, because it is there hardly ever")]
    owed_pong: Option<Box<Vec<u8>>>,
    /// Since when the present phase lasts, for the phases that have a deadline.
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
        Self::new(Role::Server, now, services)
    }

    /// A connection that we opened towards a server; its request is queued at once.
    #[must_use]
    pub fn client(handshake: ClientHandshake, now: Millis, services: &mut Services) -> Self {
        let mut connection = Self::new(Role::Client, now, services);
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
            queue: SendQueue::default(),
            announced: false,
            pings_missed: 0,
            close_sent: None,
            control_credit: services.limits.control_frames_burst as u16,
            control_refilled: now,
            last_received: now,
            phase_since: now,
            assembly_since: Since::NEVER,
            stalled_since: Since::NEVER,
            lingered_bytes: 0,
            owed_pong: None,
        }
    }

    /// Where it is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Server or client.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether bytes wait that no send has taken.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.queue.has_waiting()
    }

    /// Bytes queued and not yet sent.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.queued_bytes()
    }

    /// Whether the driver should stop receiving until the queue has shrunk.
    #[must_use]
    pub fn wants_pause(&self, services: &Services) -> bool {
        self.queue.queued_bytes() >= services.limits.receive_pause_bytes
    }

    /// Whether a paused driver should receive again.
    #[must_use]
    pub fn wants_resume(&self, services: &Services) -> bool {
        self.queue.queued_bytes() <= services.limits.receive_pause_bytes / 2
    }

    /// Payload bytes that the open data frame still misses.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        if self.phase == Phase::Open { self.decoder.missing_bytes() } else { 0 }
    }

    /// Takes what waits to be sent, for one gathered send.
    pub fn poll_transmit(&mut self, now: Millis) -> Option<Batch> {
        let batch = self.queue.take()?;
        self.stalled_since = Since::at(now);
        Some(batch)
    }

    /// Says that a batch taken before has left, or that it never will (`delivered` false).
    pub fn handle_transmitted(&mut self, bytes: usize, delivered: bool, services: &mut Services) {
        self.queue.sent(bytes);
        let waits = delivered && self.queue.queued_bytes() > 0;
        self.stalled_since = if waits { Since::at(services.now) } else { Since::NEVER };
        if self.owed_pong.is_some() {
            self.send_owed_pong(services);
        }
    }

    fn enter(&mut self, phase: Phase, now: Millis) {
        self.phase = phase;
        self.phase_since = now;
    }
}
