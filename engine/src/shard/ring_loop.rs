//! The turn on the data ring: wait, take completions, let the connections act, settle each that is
//! dirty with at most one send, submit. Who waits where: with no task alive the thread waits in the
//! ring itself; with tasks alive it waits in the runtime, woken by an eventfd that the ring signals.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::Poll;

use rustix::event::{EventfdFlags, eventfd};
use socket2::SockRef;

use super::core::{Core, Side};
use crate::connection::{Millis, Phase, ReceivedBuffer};
use crate::driver::epoll::{Readiness, Round};
use crate::driver::ring::{
    Completion, DataRing, KernelQueues, Lease, Queues, Received, RingConfig, prefetch,
};
use crate::driver::{ACCEPT_BACKOFF, concerns_one_connection, outbound_socket, peer_address};
use crate::handler::{Handler, Token};

/// Payload bytes still missing from which on a receive goes straight into the assembly.
const DIRECT_BYTES_MIN: u64 = 64 * 1024;

/// Batches after which a connection's socket is registered with the ring. A send then costs a few
/// per cent less, which pays for the two system calls within about as many sends again.
const SENDS_BEFORE_REGISTERING: u8 = 32;

/// What the ring does for one connection's receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiving {
    /// Nothing is armed.
    Idle,
    /// A multishot receive.
    Multishot,
    /// A receive that was cancelled and whose last completion has not come.
    Cancelling,
    /// A receive straight into the assembly.
    Direct,
    /// Waits for buffers to come back.
    Parked,
}

/// The ring's view of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct RingSide {
    receiving: Receiving,
    /// A send or a connect is under way, and which operation it is.
    busy: bool,
    sending: u32,
    /// Which operation a direct receive is.
    receiving_directly: u32,
    connecting: bool,
    shut: bool,
    /// Batches sent, up to [`SENDS_BEFORE_REGISTERING`].
    sends: u8,
    /// Its socket is among the ring's registered files.
    registered: bool,
    /// Its last message was received directly, so its next one may be.
    large: bool,
    /// The send or connect under way was cancelled.
    cancelled: bool,
}

impl RingSide {
    fn new(connecting: bool) -> Self {
        let receiving = Receiving::Idle;
        Self {
            receiving,
            busy: connecting,
            sending: 0,
            receiving_directly: 0,
            connecting,
            shut: false,
            sends: 0,
            registered: false,
            large: false,
            cancelled: false,
        }
    }
}

impl Side for RingSide {
    const PROGRESS_IS_TOLD: bool = false;
}

/// What the loop waits for in the runtime.
struct RuntimeWaits {
    /// The ring signals it with each completion.
    signal: OwnedFd,
    readiness: Readiness,
    /// The mailbox's own descriptor. The ring watches it too, but the kernel does not reliably pass
    /// the wake of one eventfd on to another: a bell that a task of this very thread rang was lost
    /// (kernel 6.18), and with it every signal after it.
    mail: Readiness,
    round: Round,
}

impl RuntimeWaits {
    fn new(mail: BorrowedFd<'_>) -> io::Result<Self> {
        let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let readiness = Readiness::new(signal.as_fd())?;
        Ok(Self { signal, readiness, mail: Readiness::new(mail)?, round: Round::new()? })
    }
}

/// A shard on the data ring.
pub(super) struct RingLoop<H: Handler, Q: Queues = KernelQueues> {
    // Dropped before the sockets: what it still does must not meet a descriptor with a new owner.
    ring: DataRing<Q>,
    core: Core<H, RingSide>,
    listeners: Vec<OwnedFd>,
    /// Connections whose receive found no buffer, longest waiting first.
    parked: VecDeque<Token>,
    /// When each listener that is not accepting is tried again.
    backoffs: Vec<(u32, Millis)>,
    ticking: bool,
    /// Accepts that the kernel has not ended.
    accepting: usize,
}

impl<H: Handler, Q: Queues> RingLoop<H, Q> {
    pub(super) fn new(
        core: Core<H, RingSide>,
        queues: Q,
        config: &RingConfig,
        listeners: Vec<OwnedFd>,
    ) -> io::Result<Self> {
        let ring = DataRing::new(queues, config)?;
        Ok(Self {
            core,
            ring,
            listeners,
            parked: VecDeque::new(),
            backoffs: Vec::new(),
            ticking: false,
            accepting: 0,
        })
    }

    /// Runs until the shard has been told to end.
    pub(super) async fn run(mut self, ready: impl FnOnce()) -> io::Result<()> {
        let mailbox = std::sync::Arc::clone(self.core.local.mailbox());
        let waits = RuntimeWaits::new(mailbox.wake_fd())?;
        self.ring.register_eventfd(waits.signal.as_fd())?;
        self.begin();
        ready();
        while self.settle_all() {
            if self.core.local.has_tasks() {
                self.wait_in_runtime(&waits).await?;
            } else if self.core.has_handshakes() {
                self.ring.poll()?;
            } else {
                self.ring.wait()?;
            }
            self.turn();
        }
        mailbox.stop();
        self.core.end();
        Ok(())
    }

    /// Starts accepting, and the handler.
    fn begin(&mut self) {
        let mailbox = std::sync::Arc::clone(self.core.local.mailbox());
        self.ring.watch(mailbox.wake_fd());
        for listener in 0..self.listeners.len() {
            self.ring.accept(listener as u32, self.listeners[listener].as_fd());
            self.accepting += 1;
        }
        self.core.read_clock();
        self.core.start();
        self.open_outbound();
    }

    /// Acts on all that has happened.
    fn turn(&mut self) {
        self.core.read_clock();
        self.core.take_handshakes();
        self.take_completions();
        self.ring.collect_returned(&mut self.core.services.pool);
        for command in self.core.local.take() {
            self.core.execute(command);
        }
        self.open_outbound();
        if self.core.is_draining() {
            self.stop_accepting();
        }
    }

    /// One turn at a time that is told, without waiting; whether there is anything left to do.
    #[cfg(test)]
    pub(super) fn step(&mut self, now: Millis) -> io::Result<bool> {
        self.core.local.enter();
        self.core.set_time(now);
        if !self.settle_all() {
            self.core.local.mailbox().stop();
            self.core.end();
            return Ok(false);
        }
        self.ring.poll()?;
        self.turn();
        Ok(true)
    }

    /// For time that is told.
    #[cfg(test)]
    pub(super) fn begin_without_clock(&mut self) {
        self.core.local.enter();
        self.core.stop_clock();
        self.begin();
    }

    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.ring.is_at_rest()
            && self.core.slots.len() == 0
            && self.parked.is_empty()
            && self.core.services.pool.budget.held_bytes() == 0
    }

    #[cfg(test)]
    pub(super) fn counters(&self) -> &crate::metrics::Counters {
        &self.core.services.counters
    }

    /// Whether nothing is left to do. What was accepted before a drain is served by it, so the
    /// accepts must have ended, too.
    fn is_finished(&self) -> bool {
        self.core.is_finished() && (self.core.stopped || self.accepting == 0)
    }

    /// Waits for completions, commands or the end of the last task, with tasks running meanwhile.
    async fn wait_in_runtime(&mut self, waits: &RuntimeWaits) -> io::Result<()> {
        self.ring.signal_completions(true);
        self.ring.poll()?;
        let local = std::rc::Rc::clone(&self.core.local);
        if self.ring.has_reaped() || local.has_commands() || self.core.has_handshakes() {
            // Work is there already, but the tasks and their timers must have their turn.
            waits.round.wait().await;
        } else {
            let mut readable = std::pin::pin!(waits.readiness.readable());
            let mut mail = std::pin::pin!(waits.mail.readable());
            std::future::poll_fn(|context| {
                let wanted = local.has_commands() || !local.has_tasks();
                if wanted || mail.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                local.set_waker(context.waker());
                readable.as_mut().poll(context).map(drop)
            })
            .await;
            let mut counter = [0; 8];
            // Fails when something else woke us, which is as good.
            let _ = rustix::io::read(&waits.signal, &mut counter);
        }
        self.ring.signal_completions(false);
        self.ring.poll()
    }

    fn keep_ticking(&mut self) {
        if !self.ticking && (self.core.has_deadlines() || !self.backoffs.is_empty()) {
            self.ticking = true;
            self.ring.start_tick();
        }
    }

    fn take_completions(&mut self) {
        loop {
            if let Some(token) = self.ring.look_ahead()
                && let Some(slot) = self.core.slots.peek(token)
            {
                prefetch(slot);
            }
            let Some(completion) = self.ring.next_completion(&mut self.core.services.pool) else {
                return;
            };
            match completion {
                Completion::Received { token, received, more } => {
                    self.received(token, received, more);
                }
                Completion::Sent { token, bytes, result } => self.sent(token, bytes, result),
                Completion::Accepted { listener, result, more } => {
                    self.accepted(listener, result, more);
                }
                Completion::ReceivedDirect { token, buffer, result } => {
                    self.received_direct(token, buffer, result);
                }
                Completion::Progress { token } => self.progressed(token),
                Completion::Connected { token, result } => self.connected(token, result),
                Completion::Wake { more } => self.wake(more),
                Completion::Tick => self.tick(),
                Completion::Stale => self.core.services.counters.stale_completions += 1,
            }
        }
    }

    fn wake(&mut self, more: bool) {
        let mailbox = std::sync::Arc::clone(self.core.local.mailbox());
        for command in mailbox.take() {
            self.core.execute(command);
        }
        self.core.collect_published();
        if !more {
            self.ring.watch(mailbox.wake_fd());
        }
    }

    fn tick(&mut self) {
        self.ticking = false;
        self.core.expire();
        let now = self.core.services.now;
        let (ring, listeners) = (&mut self.ring, &self.listeners);
        let accepting = &mut self.accepting;
        self.backoffs.retain(|&(listener, due)| {
            let again = now.reached(due);
            if again && let Some(fd) = listeners.get(listener as usize) {
                ring.accept(listener, fd.as_fd());
                *accepting += 1;
            }
            !again
        });
    }

    fn accepted(&mut self, listener: u32, result: io::Result<OwnedFd>, more: bool) {
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
    fn stop_accepting(&mut self) {
        for listener in 0..self.listeners.len() {
            self.ring.cancel_accept(listener as u32);
        }
        self.listeners.clear();
        self.backoffs.clear();
    }

    fn received(&mut self, token: Token, received: Received, more: bool) {
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

    fn received_direct(&mut self, token: Token, buffer: Vec<u8>, result: io::Result<usize>) {
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

    fn sent(&mut self, token: Token, bytes: usize, result: io::Result<()>) {
        let Some(slot) = self.core.slots.get_mut(token) else { return };
        (slot.driver.busy, slot.driver.cancelled) = (false, false);
        self.core.transmitted(token, bytes, result.is_ok());
        if result.is_err() {
            self.end(token, true);
        }
    }

    /// Part of a batch has left, the rest is under way. A send that was cancelled ends like this
    /// when some of it had been taken, so the rest must be cancelled in its turn.
    fn progressed(&mut self, token: Token) {
        if let Some(slot) = self.core.slots.get_mut(token) {
            slot.driver.cancelled = false;
        }
        self.core.transmitted(token, 0, true);
    }

    fn connected(&mut self, token: Token, result: io::Result<()>) {
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

    /// Brings the kernel's side of all connections in line; whether there is anything left to do.
    fn settle_all(&mut self) -> bool {
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

    fn open_outbound(&mut self) {
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
