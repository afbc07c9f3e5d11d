//! A shard without a kernel: connections are byte vectors and time moves when told to. The same
//! core as behind the real drivers, so a handler can be tested to the byte, at any split and at
//! any time, without sockets and without sleeping.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::{Core, CoreConfig, Side};
use crate::buffer::Batch;
#[cfg(test)]
use crate::buffer::Segment;
use crate::connection::{Millis, Phase};
use crate::handler::{Command, CommandBounds, Handler, LocalShard, Mailbox, Site, Token};
use crate::limits::Limits;
use crate::metrics::Counters;
use crate::protocol::deflate::Deflate;
use crate::pubsub::{Bell, Exchange, Hub, Rules};
use crate::tls::Tls;

/// One step of time, so that deadlines fire in their order.
const STEP: Duration = Duration::from_millis(50);

/// A connection of a [`MemoryServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemoryConnection(Token);

#[derive(Debug, Default)]
struct MemorySide {
    sent: Vec<u8>,
    /// The peer does not read: nothing more is taken.
    stalled: bool,
    blocked: Option<Batch>,
    shut: bool,
}

impl Side for MemorySide {}

/// A server in memory.
///
/// ```
/// use ringsock::testing::MemoryServer;
/// use ringsock::{Conn, Handler, Limits, Message};
///
/// struct Echo;
/// impl Handler for Echo {
///     type State = ();
///     fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
///         let _ = conn.send(message);
///     }
/// }
///
/// let mut server = MemoryServer::new(Limits::default(), Echo)?;
/// let peer = server.connect_open();
/// server.receive(peer, b"\x81\x82\x01\x02\x03\x04Ik"); // "Hi", masked
/// assert_eq!(server.take_sent(peer), b"\x81\x02Hi");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct MemoryServer<H: Handler> {
    core: Core<H, MemorySide>,
    /// What connections that have ended had sent.
    ended: HashMap<Token, Vec<u8>>,
    now: u32,
}

impl<H: Handler> std::fmt::Debug for MemoryServer<H> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let connections = self.core.slots.len();
        formatter.debug_struct("MemoryServer").field("connections", &connections).finish()
    }
}

impl<H: Handler> MemoryServer<H> {
    /// A server at time zero.
    ///
    /// # Errors
    /// When the system has no file descriptor left: a shard's mailbox needs one.
    pub fn new(limits: Limits, handler: H) -> io::Result<Self> {
        let mailbox = Arc::new(Mailbox::new(CommandBounds::of(&limits))?);
        let bell: Arc<dyn Bell> = Arc::clone(&mailbox) as _;
        let exchange = Arc::new(Exchange::new([bell], Rules::default(), &limits));
        let local = LocalShard::new(mailbox, Hub::new(Arc::clone(&exchange), 0));
        local.enter();
        let site = Arc::new(Site::default());
        let server_name = Some("ringsock".to_owned());
        let config = CoreConfig {
            limits,
            site,
            server_name,
            deflate: None,
            tls: None,
            exchange,
            addresses: Arc::default(),
            started: Instant::now(),
            shard: 0,
            shards: 1,
        };
        let mut core = Core::new(handler, config, local);
        core.keep_decisions();
        core.start();
        Ok(Self { core, ended: HashMap::new(), now: 0 })
    }

    /// Accepts compression from here on when a client offers it.
    pub fn accept_deflate(&mut self, deflate: Deflate) {
        self.core.services.compression.accept(deflate);
        self.core.local.hub().borrow().exchange().set_compression(&deflate);
    }

    /// Speaks TLS with clients that connect from here on. Steps of handshakes are rationed as
    /// everywhere ([`Limits::tls_handshakes_per_turn`]); a turn begins with each
    /// [`advance`](Self::advance) and [`run_commands`](Self::run_commands).
    pub fn accept_tls(&mut self, tls: Tls) {
        self.core.services.tls = Some(tls);
    }

    /// A client connects.
    pub fn connect(&mut self) -> MemoryConnection {
        MemoryConnection(self.core.accepted(None, MemorySide::default(), None))
    }

    /// A client connects from this address; `None` if it is refused at once.
    pub fn connect_from(&mut self, address: SocketAddr) -> Option<MemoryConnection> {
        let counted = self.core.admit(|| Some(address))?;
        Some(MemoryConnection(self.core.accepted(None, MemorySide::default(), counted)))
    }

    /// A client connects and completes a plain handshake.
    pub fn connect_open(&mut self) -> MemoryConnection {
        let connection = self.connect();
        self.receive(
            connection,
            b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        self.take_sent(connection);
        connection
    }

    /// Bytes arrive from the client. Ignored when the connection has ended.
    pub fn receive(&mut self, connection: MemoryConnection, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        self.core.with(connection.0, |connection, services, glue| {
            connection.handle_receive(&mut bytes, services, glue);
        });
        self.settle();
    }

    /// The client shuts its sending direction.
    pub fn finish(&mut self, connection: MemoryConnection) {
        self.end(connection, false);
    }

    /// The transport breaks.
    pub fn reset(&mut self, connection: MemoryConnection) {
        self.end(connection, true);
    }

    fn end(&mut self, connection: MemoryConnection, reset: bool) {
        self.core.with(connection.0, |connection, services, glue| {
            connection.handle_end(reset, services, glue);
        });
        self.settle();
    }

    /// The client reads, or stops reading.
    pub fn set_reading(&mut self, connection: MemoryConnection, reading: bool) {
        if let Some(slot) = self.core.slots.get_mut(connection.0) {
            slot.driver.stalled = !reading;
            self.core.mark_dirty(connection.0);
        }
        self.settle();
    }

    /// Ends a pause of receiving, as a handle to the connection would.
    pub fn resume_receive(&mut self, connection: MemoryConnection) {
        self.core.execute(Command::Resume { token: connection.0 });
        self.settle();
    }

    /// Bytes that wait to be sent or belong to messages that are not whole.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.core.services.pool.budget.held_bytes()
    }

    /// Time passes; deadlines fire in their order.
    pub fn advance(&mut self, span: Duration) {
        let end = self.now.wrapping_add(span.as_millis() as u32);
        while self.now != end {
            let left = end.wrapping_sub(self.now);
            self.now = self.now.wrapping_add(left.min(STEP.as_millis() as u32));
            self.core.set_time(Millis(self.now));
            self.core.take_handshakes();
            self.core.expire();
            self.settle();
        }
    }

    /// What has been sent to the client since the last call.
    pub fn take_sent(&mut self, connection: MemoryConnection) -> Vec<u8> {
        match self.core.slots.get_mut(connection.0) {
            Some(slot) => std::mem::take(&mut slot.driver.sent),
            None => self.ended.remove(&connection.0).unwrap_or_default(),
        }
    }

    /// Whether the server has closed the connection, or at least its own direction of it.
    #[must_use]
    pub fn is_closed(&mut self, connection: MemoryConnection) -> bool {
        self.core.slots.get_mut(connection.0).is_none_or(|slot| slot.driver.shut)
    }

    /// Connections that have not ended.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.core.slots.len()
    }

    /// The handler.
    pub fn handler(&mut self) -> &mut H {
        &mut self.core.handler
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.core.services.counters
    }

    /// Does what peers and tasks have asked for, and gives each [`Upgrade::later`](crate::Upgrade)
    /// a chance to decide.
    pub fn run_commands(&mut self) {
        self.core.take_handshakes();
        self.core.poll_decisions();
        for command in self.core.local.mailbox().take().into_iter().chain(self.core.local.take()) {
            self.core.execute(command);
        }
        self.core.collect_published();
        self.settle();
    }

    /// What the budget must hold, counted anew for each connection.
    #[cfg(test)]
    pub(super) fn counted_bytes(&mut self) -> usize {
        let mut counted = 0;
        for token in self.core.slots.tokens() {
            let Some(slot) = self.core.slots.get_mut(token) else { continue };
            let sending = slot.driver.blocked.iter().flat_map(Batch::segments);
            counted += sending.map(Segment::counted_bytes).sum::<usize>();
            counted += slot.connection.counted_bytes();
        }
        counted
    }

    fn settle(&mut self) {
        while let Some(token) = self.core.next_dirty() {
            while self.send(token) {}
            let Some(slot) = self.core.slots.get_mut(token) else { continue };
            let flushed = slot.driver.blocked.is_none() && !slot.connection.has_waiting();
            match slot.connection.phase() {
                Phase::Ended => self.remove(token),
                Phase::Flushing if flushed => self.remove(token),
                Phase::Lingering if flushed => slot.driver.shut = true,
                _ => {}
            }
            self.core.schedule(token);
        }
    }

    /// Moves one batch to the client; whether there may be more.
    fn send(&mut self, token: Token) -> bool {
        let Some(slot) = self.core.slots.get_mut(token) else { return false };
        slot.connection.note_pressure(&mut self.core.services);
        if slot.connection.phase() == Phase::Ended {
            return false;
        }
        if slot.driver.blocked.is_none() {
            slot.driver.blocked = slot.connection.poll_transmit(&mut self.core.services);
        }
        if slot.driver.stalled {
            return false;
        }
        let Some(batch) = slot.driver.blocked.take() else { return false };
        for segment in batch.segments() {
            slot.driver.sent.extend_from_slice(segment.bytes());
        }
        let bytes = batch.len();
        batch.recycle(&mut self.core.services.pool);
        self.core.transmitted(token, bytes, true);
        true
    }

    fn remove(&mut self, token: Token) {
        if let Some(slot) = self.core.remove(token) {
            if let Some(batch) = slot.driver.blocked {
                batch.recycle(&mut self.core.services.pool);
            }
            self.ended.insert(token, slot.driver.sent);
        }
    }
}
