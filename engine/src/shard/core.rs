//! A shard's connections and what happens to them, whichever driver moves their bytes. It makes no
//! system call except to close and shut down sockets; a driver loop feeds it and then settles the
//! connections it lists as dirty.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::glue::Glue;
use super::slab::Slab;
use super::wheel::Wheel;
use crate::connection::{Connection, Millis, Phase, Services};
use crate::handler::{
    Command, Handler, LocalShard, Outbound, OutboundRequest, Pages, Token, token_of,
};
use crate::limits::Limits;
use crate::protocol::CloseCode;
use crate::pubsub::{Hub, Subscriptions};

/// One connection with everything that belongs to it; `D` is what the driver keeps.
#[derive(Debug)]
pub(super) struct Slot<S, D> {
    pub(super) socket: Option<OwnedFd>,
    pub(super) connection: Connection,
    pub(super) subscriptions: Subscriptions,
    pub(super) dirty: bool,
    /// Receiving is paused until the peer has read what waits for it.
    pub(super) paused: bool,
    /// Where its deadline is on the wheel; kept here too, so that a turn without news of it touches
    /// no other memory.
    due: Millis,
    pub(super) driver: D,
    pub(super) state: Option<S>,
}

/// What a driver keeps for each connection.
pub(super) trait Side {
    /// The connection's socket, if it is kept here and not in the [`Slot`].
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// What a shard needs to know of its server.
#[derive(Clone, Debug)]
pub(crate) struct CoreConfig {
    pub(crate) limits: Limits,
    pub(crate) pages: Arc<Pages>,
    pub(crate) server_name: Option<String>,
}

/// The heart of a shard.
///
/// Invariant: every connection has exactly one deadline in the wheel; every connection whose driver
/// must act is in `dirty`.
pub(super) struct Core<H: Handler, D> {
    pub(super) handler: H,
    pub(super) slots: Slab<Slot<H::State, D>>,
    pub(super) services: Services,
    pub(super) outbound: Outbound<H::State>,
    pub(super) local: Rc<LocalShard>,
    pub(super) draining: bool,
    pub(super) stopped: bool,
    wheel: Wheel,
    hub: Hub,
    pages: Arc<Pages>,
    dirty: Vec<Token>,
    started: Instant,
    expired: Vec<u32>,
}

impl<H: Handler, D: Side> Core<H, D> {
    pub(super) fn new(handler: H, config: CoreConfig, local: Rc<LocalShard>) -> Self {
        Self {
            handler,
            slots: Slab::new(),
            services: Services::new(config.limits, config.server_name),
            outbound: Outbound::default(),
            local,
            draining: false,
            stopped: false,
            wheel: Wheel::new(),
            hub: Hub::new(),
            pages: config.pages,
            dirty: Vec::new(),
            started: Instant::now(),
            expired: Vec::new(),
        }
    }

    /// Reads the clock: once a turn.
    pub(super) fn read_clock(&mut self) {
        self.set_time(Millis(self.started.elapsed().as_millis() as u32));
    }

    pub(super) fn set_time(&mut self, now: Millis) {
        self.services.set_time(now);
        self.services.counters.turns += 1;
    }

    pub(super) fn start(&mut self) {
        self.handler.on_start(&mut self.outbound);
    }

    /// Whether the limit of connections is reached.
    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= self.services.limits.connections_max
    }

    /// Takes an accepted socket in.
    pub(super) fn accepted(&mut self, socket: Option<OwnedFd>, driver: D) -> Token {
        self.services.counters.accepted += 1;
        let connection = Connection::server(self.services.now, &self.services);
        self.insert(socket, connection, None, driver)
    }

    /// Takes an outbound socket in; its request is queued.
    pub(super) fn connecting(
        &mut self,
        socket: Option<OwnedFd>,
        request: OutboundRequest,
        state: H::State,
        driver: D,
    ) -> Token {
        let now = self.services.now;
        let connection = Connection::client(request.handshake, now, &mut self.services);
        self.insert(socket, connection, Some(state), driver)
    }

    fn insert(
        &mut self,
        socket: Option<OwnedFd>,
        connection: Connection,
        state: Option<H::State>,
        driver: D,
    ) -> Token {
        let due = connection.next_deadline(&self.services);
        let token = self.slots.insert(Slot {
            socket,
            connection,
            subscriptions: Subscriptions::default(),
            dirty: false,
            paused: false,
            due,
            driver,
            state,
        });
        self.local.set_generation(token.slot, Some(token.generation));
        self.wheel.set(token.slot, due);
        token
    }

    /// Calls into a connection with its application at hand, and lists it as dirty. A panic of the
    /// handler ends that connection and nothing else.
    pub(super) fn with(
        &mut self,
        token: Token,
        call: impl FnOnce(&mut Connection, &mut Services, &mut Glue<'_, H>),
    ) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let mut glue = Glue {
            handler: &mut self.handler,
            state: &mut slot.state,
            subscriptions: &mut slot.subscriptions,
            hub: &mut self.hub,
            outbound: &mut self.outbound,
            pages: &self.pages,
            token,
            socket: slot.socket.as_ref().map(AsFd::as_fd).or_else(|| slot.driver.socket()),
        };
        let (connection, services) = (&mut slot.connection, &mut self.services);
        let called = catch_unwind(AssertUnwindSafe(|| call(connection, services, &mut glue)));
        if called.is_err() {
            services.counters.handler_panics += 1;
            tracing::error!(
                slot = token.slot,
                "a handler panicked; its connection is closed with 1011"
            );
            let told = catch_unwind(AssertUnwindSafe(|| {
                connection.fail_internally(services, &mut glue);
            }));
            if told.is_err() {
                services.counters.handler_panics += 1;
            }
        }
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(token);
        }
        if self.hub.has_moves() {
            self.follow_moves();
        }
    }

    /// Keeps the records of those whose place in a topic has changed.
    fn follow_moves(&mut self) {
        for (subscriber, moved) in self.hub.take_moves() {
            if let Some(slot) = self.slots.get_mut(token_of(subscriber)) {
                slot.subscriptions.follow(moved);
            }
        }
    }

    /// Lists a connection for the driver to settle.
    pub(super) fn mark_dirty(&mut self, token: Token) {
        if let Some(slot) = self.slots.get_mut(token)
            && !slot.dirty
        {
            slot.dirty = true;
            self.dirty.push(token);
        }
    }

    /// The next connection to settle. Topics are delivered when no other is left.
    pub(super) fn next_dirty(&mut self) -> Option<Token> {
        if self.dirty.is_empty() && self.hub.has_deliveries() {
            self.deliver();
        }
        let token = self.dirty.pop()?;
        if let Some(slot) = self.slots.get_mut(token) {
            slot.dirty = false;
        }
        Some(token)
    }

    fn deliver(&mut self) {
        let (slots, services, dirty) = (&mut self.slots, &mut self.services, &mut self.dirty);
        self.hub.deliver(|delivery| {
            let token = token_of(delivery.subscriber);
            let Some(slot) = slots.get_mut(token) else { return };
            let _ = slot.connection.send_shared(delivery.frames, services);
            if !slot.dirty {
                slot.dirty = true;
                dirty.push(token);
            }
        });
    }

    /// Says what became of a batch.
    pub(super) fn transmitted(&mut self, token: Token, bytes: usize, delivered: bool) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        slot.connection.handle_transmitted(bytes, delivered, &mut self.services);
        if slot.paused && slot.connection.wants_resume(&self.services) {
            slot.paused = false;
            self.with(token, |connection, services, glue| glue.drained(connection, services));
        } else {
            self.mark_dirty(token);
        }
    }

    /// Keeps the connection's entry in the wheel no later than its next deadline.
    pub(super) fn schedule(&mut self, token: Token) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let horizon = self.services.open_horizon;
        if slot.connection.phase() == Phase::Open && horizon.reached(slot.due) {
            // No deadline of an open connection that begins now is earlier than that.
            return;
        }
        let next = slot.connection.next_deadline(&self.services);
        if next != slot.due && slot.due.reached(next) {
            slot.due = next;
            self.wheel.set(token.slot, next);
        }
    }

    /// Whether any deadline is set.
    pub(super) fn has_deadlines(&self) -> bool {
        !self.wheel.is_empty()
    }

    /// Acts on the deadlines that have passed.
    pub(super) fn expire(&mut self) {
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.expire(self.services.now, &mut expired);
        for slot in expired.drain(..) {
            let Some((token, _)) = self.slots.at_mut(slot) else { continue };
            self.with(token, |connection, services, glue| {
                connection.handle_deadline(services, glue);
            });
            if let Some(slot) = self.slots.get_mut(token) {
                slot.due = slot.connection.next_deadline(&self.services);
                self.wheel.set(token.slot, slot.due);
            }
        }
        self.expired = expired;
    }

    /// Forgets a connection that has ended; its socket, if it still has one, is the caller's.
    pub(super) fn remove(&mut self, token: Token) -> Option<Slot<H::State, D>> {
        let mut slot = self.slots.remove(token)?;
        self.wheel.clear(token.slot);
        self.local.set_generation(token.slot, None);
        if !slot.subscriptions.is_empty() {
            self.hub.leave(&mut slot.subscriptions);
            self.follow_moves();
        }
        Some(slot)
    }

    /// Does what tasks and other threads asked for.
    pub(super) fn execute(&mut self, command: Command) {
        match command {
            Command::Send { token, kind, payload } => {
                self.with(token, |connection, services, _| {
                    let _ = connection.send(kind, &payload, services);
                });
            }
            Command::Ping { token, payload } => {
                self.with(token, |connection, services, _| {
                    let _ = connection.send_ping(&payload, services);
                });
            }
            Command::Close { token, code, reason } => {
                self.with(token, |connection, services, _| {
                    connection.close(code, &reason, services);
                });
            }
            Command::Publish { topic, kind, payload } => {
                self.hub.publish(&topic, kind, &payload);
            }
            Command::Drain => self.drain(),
            Command::Stop => self.stopped = true,
        }
    }

    fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            self.stopped = true;
            return;
        }
        for token in self.slots.tokens() {
            self.with(token, |connection, services, glue| {
                if connection.phase() == Phase::Handshake {
                    connection.handle_end(true, services, glue);
                } else {
                    connection.close(CloseCode::GOING_AWAY, "the server is going away", services);
                }
            });
        }
    }

    /// Whether the shard has nothing left to do after a drain, or was told to end.
    pub(super) fn is_finished(&self) -> bool {
        self.stopped || (self.draining && self.slots.len() == 0)
    }

    /// Tells the handler that every connection ends; the sockets are the caller's.
    pub(super) fn end_all(&mut self) {
        for token in self.slots.tokens() {
            self.with(token, |connection, services, glue| {
                connection.handle_end(true, services, glue);
            });
        }
    }

    /// Tells the handler that an outbound connection could not be opened.
    pub(super) fn connect_failed(&mut self, state: H::State, reason: &str) {
        self.services.counters.rejected += 1;
        let (handler, outbound) = (&mut self.handler, &mut self.outbound);
        let told =
            catch_unwind(AssertUnwindSafe(|| handler.on_connect_failed(outbound, state, reason)));
        if told.is_err() {
            self.services.counters.handler_panics += 1;
        }
    }
}
