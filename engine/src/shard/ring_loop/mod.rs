//! The turn on the data ring: wait, take completions, let the connections act, settle each that is
//! dirty with at most one send, submit. Who waits where: with no task alive the thread waits in the
//! ring itself; with tasks alive it waits in the runtime, woken by an eventfd that the ring signals.

mod accepting;
mod completing;
mod settling;
mod side;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::Poll;

use rustix::event::{EventfdFlags, eventfd};

use self::side::Receiving;
pub(super) use self::side::RingSide;
use super::core::Core;
use crate::connection::Millis;
use crate::driver::epoll::{Readiness, Round};
use crate::driver::ring::{Completion, DataRing, KernelQueues, Queues, RingConfig, prefetch};
use crate::handler::{Handler, Token};

/// Payload bytes still missing from which on a receive goes straight into the assembly.
const DIRECT_BYTES_MIN: u64 = 64 * 1024;

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
}
