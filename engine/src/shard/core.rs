//! A shard's connections and what happens to them, whichever driver moves their bytes. It makes no
//! system call except to close and shut down sockets; a driver loop feeds it and then settles the
//! connections it lists as dirty.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::admitting::Counted;
use super::drain::Drain;
use super::glue::Glue;
use super::slab::Slab;
use super::subscribers::Subscribers;
use super::wheel::Wheel;
use crate::connection::{Connection, Millis, Phase, Services};
use crate::handler::{
    Addresses, Bucket, Command, Decided, Deciding, Handler, LocalShard, Outbound, OutboundRequest,
    Site, Token, subscribe,
};
use crate::limits::Limits;
use crate::protocol::deflate::Deflate;
use crate::pubsub::{Exchange, Hub, LagBounds, TopicName};
use crate::tls::Tls;

/// One connection with everything that belongs to it; `D` is what the driver keeps.
#[derive(Debug)]
pub(super) struct Slot<S, D> {
    pub(super) socket: Option<OwnedFd>,
    pub(super) connection: Connection,
    pub(super) dirty: bool,
    /// Messages of topics are kept aside for it, or it has missed some.
    pub(super) lagging: bool,
    /// Where its deadline is on the wheel; kept here too, so that a turn without news of it touches
    /// no other memory.
    due: Millis,
    pub(super) driver: D,
    pub(super) state: Option<S>,
    /// For which client address it counts.
    counted: Counted,
}

impl<S, D: Side> Slot<S, D> {
    /// The connection's socket, wherever it is kept.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd).or_else(|| self.driver.socket())
    }
}

/// What a driver keeps for each connection.
pub(super) trait Side {
    /// Whether the driver reports each part of a batch that leaves, and not only its end.
    const PROGRESS_IS_TOLD: bool = true;

    /// The connection's socket, if it is kept here and not in the [`Slot`].
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// What a shard needs to know of its server.
#[derive(Clone, Debug)]
pub(crate) struct CoreConfig {
    pub(crate) limits: Limits,
    pub(crate) site: Arc<Site>,
    pub(crate) server_name: Option<String>,
    pub(crate) deflate: Option<Deflate>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) addresses: Arc<Addresses>,
    /// Time zero, the same for all shards.
    pub(crate) started: Instant,
    /// The shard's number, from 0.
    pub(crate) shard: usize,
    /// How many shards there are.
    pub(crate) shards: usize,
    pub(crate) tls: Option<Tls>,
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
    pub(super) drain: Option<Box<Drain>>,
    pub(super) stopped: bool,
    wheel: Wheel,
    pub(super) hub: Rc<RefCell<Hub>>,
    pub(super) site: Arc<Site>,
    deciding: Rc<Deciding<H::State>>,
    dirty: Vec<Token>,
    /// Connections whose TLS handshake was put off, longest waiting first.
    handshakes: VecDeque<Token>,
    /// When time began; `None` where it is told.
    started: Option<Instant>,
    pub(super) addresses: Arc<Addresses>,
    pub(super) accepts: Bucket,
    expired: Vec<u32>,
    /// The turn in which connections were last let go for want of memory.
    shed_turn: u64,
    /// A failure to accept has been told since one succeeded.
    accept_failure_told: bool,
}

impl<H: Handler, D: Side> Core<H, D> {
    pub(super) fn new(handler: H, config: CoreConfig, local: Rc<LocalShard>) -> Self {
        let services = Services::new(config.limits, config.server_name);
        let mut services = services.with_shards(config.shards);
        if let Some(deflate) = config.deflate {
            services.compression.accept(deflate);
        }
        services.tls = config.tls;
        services.progress_is_told = D::PROGRESS_IS_TOLD;
        services.handshakes_left = services.limits.tls_handshakes_per_turn;
        Self {
            handler,
            slots: Slab::new(),
            services,
            outbound: Outbound::default(),
            hub: Rc::clone(local.hub()),
            local,
            drain: None,
            stopped: false,
            wheel: Wheel::new(),
            site: config.site,
            deciding: Deciding::spawning(),
            dirty: Vec::new(),
            handshakes: VecDeque::new(),
            addresses: config.addresses,
            accepts: Bucket::new(Millis(0)),
            started: Some(config.started),
            expired: Vec::new(),
            shed_turn: u64::MAX,
            accept_failure_told: false,
        }
    }

    /// Reads the clock: once a turn.
    pub(super) fn read_clock(&mut self) {
        let now = self.started.map(|started| Millis(started.elapsed().as_millis() as u32));
        self.set_time(now.unwrap_or(self.services.now));
    }

    /// From here on time passes by being told.
    #[cfg(test)]
    pub(super) fn stop_clock(&mut self) {
        self.started = None;
    }

    pub(super) fn set_time(&mut self, now: Millis) {
        self.services.set_time(now);
        self.services.pool.budget.set_shared(self.hub.borrow().shared_bytes());
        self.services.counters.turns += 1;
    }

    pub(super) fn start(&mut self) {
        self.handler.on_start(&mut self.outbound);
    }

    /// Accepting failed and is tried again later. Told once until it succeeds.
    pub(super) fn accept_failed(&mut self, error: &std::io::Error) {
        self.services.counters.accept_backoffs += 1;
        if !std::mem::replace(&mut self.accept_failure_told, true) {
            tracing::warn!(%error, "connections cannot be accepted now; trying again and again");
        }
    }

    /// Takes an accepted socket in that was admitted.
    pub(super) fn accepted(
        &mut self,
        socket: Option<OwnedFd>,
        driver: D,
        counted: Counted,
    ) -> Token {
        self.services.counters.accepted += 1;
        self.accept_failure_told = false;
        let connection = Connection::server(self.services.now, &self.services);
        self.insert(socket, connection, None, driver, counted)
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
        self.insert(socket, connection, Some(state), driver, None)
    }

    fn insert(
        &mut self,
        socket: Option<OwnedFd>,
        connection: Connection,
        state: Option<H::State>,
        driver: D,
        counted: Counted,
    ) -> Token {
        let due = connection.next_deadline(&self.services);
        let (dirty, lagging) = (false, false);
        let slot = Slot { socket, connection, dirty, lagging, due, driver, state, counted };
        let token = self.slots.insert(slot);
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
            hub: &self.hub,
            outbound: &mut self.outbound,
            refuses: self.drain.as_ref().is_some_and(|drain| drain.refuse),
            site: &self.site,
            addresses: &self.addresses,
            counted: &mut slot.counted,
            deciding: &self.deciding,
            token,
            socket: slot.socket.as_ref().map(AsFd::as_fd).or_else(|| slot.driver.socket()),
        };
        let (connection, services) = (&mut slot.connection, &mut self.services);
        let called = catch_unwind(AssertUnwindSafe(|| {
            call(connection, services, &mut glue);
            if connection.wants_replay() {
                connection.replay(services, &mut glue);
            }
        }));
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
        if self.services.handshake_put_off {
            self.services.handshake_put_off = false;
            self.handshakes.push_back(token);
        }
    }

    /// Whether TLS handshakes wait for their turn.
    pub(super) fn has_handshakes(&self) -> bool {
        !self.handshakes.is_empty()
    }

    /// Begins a turn: so many steps of TLS handshakes may be made in it, those put off first.
    pub(super) fn take_handshakes(&mut self) {
        let most = self.services.limits.tls_handshakes_per_turn;
        self.services.handshakes_left = most;
        for _ in 0..most {
            let Some(token) = self.handshakes.pop_front() else { return };
            self.with(token, |connection, services, glue| {
                connection.resume_handshake(services, glue);
            });
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

    /// The next connection to settle. Topics are delivered before any: what a handler says of a
    /// publish must not leave before the publish has.
    pub(super) fn next_dirty(&mut self) -> Option<Token> {
        if self.hub.borrow().has_deliveries() {
            self.deliver();
        }
        if self.dirty.is_empty()
            && let Some(excess) = self.services.pool.budget.excess()
        {
            self.shed(excess);
        }
        let token = self.dirty.pop()?;
        if let Some(slot) = self.slots.get_mut(token) {
            slot.dirty = false;
        }
        Some(token)
    }

    /// Lets go of the connections that hold most, until `excess` bytes will be free. At most once a
    /// turn, because what a send has taken is free only when the driver has cancelled it.
    fn shed(&mut self, excess: usize) {
        let turn = self.services.counters.turns;
        if std::mem::replace(&mut self.shed_turn, turn) == turn {
            return;
        }
        let (mut leaving, mut holders) = (0, Vec::new());
        for token in self.slots.tokens() {
            let Some(slot) = self.slots.get_mut(token) else { continue };
            match (slot.connection.phase(), slot.connection.held_bytes()) {
                (_, 0) => {}
                (Phase::Ended, bytes) => leaving += bytes,
                (_, bytes) => holders.push((bytes, token)),
            }
        }
        holders.sort_unstable_by_key(|&(bytes, _)| std::cmp::Reverse(bytes));
        for (bytes, token) in holders {
            if leaving >= excess {
                break;
            }
            leaving += bytes;
            self.with(token, |connection, services, glue| connection.shed(services, glue));
        }
    }

    pub(super) fn deliver(&mut self) {
        let bounds = LagBounds::of(&self.services.limits);
        let (slots, services, dirty) = (&mut self.slots, &mut self.services, &mut self.dirty);
        self.hub.borrow_mut().deliver(bounds, &mut Subscribers { slots, services, dirty });
        self.report_gaps();
    }

    /// Tells connections what they have missed.
    fn report_gaps(&mut self) {
        let counters = &mut self.services.counters;
        [counters.published_dropped, counters.published_replaced, counters.published_filtered] =
            self.hub.borrow().lost();
        let gaps = self.hub.borrow_mut().take_gaps();
        for (slot, gap) in gaps {
            let Some((token, _)) = self.slots.at_mut(slot) else { continue };
            self.with(token, |connection, services, glue| {
                glue.missed(connection, services, gap.topic(), gap.messages);
            });
        }
    }

    /// Gives a connection that was slow what was kept aside for it.
    #[cold]
    fn resume_topics(&mut self, token: Token) {
        let (slots, services, dirty) = (&mut self.slots, &mut self.services, &mut self.dirty);
        let still_lagging =
            self.hub.borrow_mut().resume(token.slot, &mut Subscribers { slots, services, dirty });
        if let Some(slot) = self.slots.get_mut(token) {
            slot.lagging = still_lagging;
        }
        self.report_gaps();
    }

    /// Takes in what other shards and threads have published.
    pub(super) fn collect_published(&mut self) {
        let mut hub = self.hub.borrow_mut();
        hub.collect();
        self.services.counters.published_refused = hub.refused();
    }

    /// Says what became of a batch.
    pub(super) fn transmitted(&mut self, token: Token, bytes: usize, delivered: bool) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        slot.connection.handle_transmitted(bytes, delivered, &mut self.services);
        let lagging = slot.lagging;
        if slot.connection.relieve(&mut self.services) {
            self.with(token, |connection, services, glue| glue.drained(connection, services));
        } else {
            self.mark_dirty(token);
        }
        if lagging {
            self.resume_topics(token);
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
        self.continue_drain();
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
        self.deciding.abandon(token);
        slot.connection.dispose(&mut self.services);
        self.wheel.clear(token.slot);
        self.local.set_generation(token.slot, None);
        self.hub.borrow_mut().leave(token.slot);
        self.release(slot.counted);
        Some(slot)
    }

    fn take_decisions(&mut self) {
        for Decided { token, upgrade, admission } in self.deciding.take() {
            if upgrade.is_none() {
                self.services.counters.handler_panics += 1;
                tracing::error!(
                    slot = token.slot,
                    "a decision panicked; its client is answered 500"
                );
            }
            self.with(token, |connection, services, glue| {
                glue.decided(connection, services, upgrade, admission);
            });
        }
    }

    /// Futures that decide on upgrades do not run as tasks but when told to.
    pub(super) fn keep_decisions(&mut self) {
        self.deciding = Deciding::keeping();
    }

    pub(super) fn poll_decisions(&self) {
        self.deciding.poll_kept();
    }

    /// Does what tasks and other threads asked for.
    pub(super) fn execute(&mut self, command: Command) {
        match command {
            Command::Send { token, kind, payload, compress } => {
                self.with(token, |connection, services, _| {
                    let _ = connection.send(kind, &payload, compress, services);
                });
            }
            Command::Ping { token, payload } => {
                self.with(token, |connection, services, _| {
                    let _ = connection.send_ping(&payload, services);
                });
            }
            Command::Pause { token } => {
                self.with(token, |connection, services, _| connection.pause_receiving(services));
            }
            Command::Resume { token } => {
                self.with(token, |connection, services, _| connection.resume_receiving(services));
            }
            Command::Close { token, code, reason } => {
                self.with(token, |connection, services, _| {
                    connection.close(code, &reason, services);
                });
            }
            Command::Subscribe { token, topic, is_pattern, how } => {
                let name = TopicName::new(&topic, is_pattern);
                self.with(token, |connection, services, glue| {
                    let slot = token.slot;
                    if let Err(error) = subscribe(connection, services, glue.hub, slot, name, how) {
                        tracing::debug!(topic = &*topic, %error, "not subscribed");
                    }
                });
            }
            Command::Unsubscribe { token, topic, is_pattern } => {
                if self.slots.get_mut(token).is_some() {
                    let name = TopicName::new(&topic, is_pattern);
                    self.hub.borrow_mut().unsubscribe(name, token.slot);
                }
            }
            Command::Decided => self.take_decisions(),
            Command::Report(request) => {
                // Whoever asked may have given up.
                let _ = request.answer.send(self.report(&request));
            }
            Command::SetLimits(limits) => self.set_limits(*limits),
            Command::Drain { refuse } => self.begin_drain(refuse),
            Command::Stop => self.stopped = true,
        }
    }

    /// New bounds: every deadline is set anew, because the present one may be too late.
    fn set_limits(&mut self, limits: Limits) {
        self.services.set_limits(limits);
        for token in self.slots.tokens() {
            if let Some(slot) = self.slots.get_mut(token) {
                slot.due = slot.connection.next_deadline(&self.services);
                self.wheel.set(token.slot, slot.due);
            }
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
