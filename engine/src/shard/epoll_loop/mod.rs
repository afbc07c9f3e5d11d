//! The portable driver: one task of the monoio runtime for each connection, which waits for
//! readiness and then reads into one buffer that all share. What connections queue is sent at once
//! after each read; only what the kernel does not take waits for a task of its own.

mod accepting;
mod sending;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use rustix::net::SendFlags;
use socket2::SockRef;

use self::accepting::accept;
use self::sending::{Sending, check_send, finish, send, write};
use super::core::{Core, Side};
use crate::buffer::Batch;
use crate::connection::Phase;
use crate::driver::TICK;
use crate::driver::epoll::{EpollStream, Readiness, Round};
use crate::handler::{Handler, Token};

/// Bytes of the shared receive buffer.
const RECEIVE_BYTES: usize = 256 * 1024;
/// Reads of one connection before others have their turn.
const READS_MAX: usize = 4;
/// How long the end of a shard waits for its tasks.
const END_MAX: Duration = Duration::from_secs(1);

/// What is not as usual.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EpollConfig {
    /// Bytes of the shared receive buffer, if not the default.
    pub(crate) receive_bytes: Option<usize>,
    /// Each send is a record of its own for the kernel (`MSG_EOR`).
    pub(crate) ends_records: bool,
}

/// The driver's view of one connection.
#[derive(Debug)]
pub(super) struct EpollSide {
    stream: Rc<EpollStream>,
    /// A batch the kernel did not take whole, and how much of it was taken.
    blocked: Option<(Batch, usize)>,
    /// Wakes the reading task when it may go on, or must end.
    reader: Option<Waker>,
    connecting: bool,
    shut: bool,
}

struct Shared<H: Handler> {
    core: RefCell<Core<H, EpollSide>>,
    buffer: RefCell<Vec<u8>>,
    /// Wakes the main loop.
    main: RefCell<Option<Waker>>,
    /// For each listener, what wakes the task that accepts from it; empty once nothing more is
    /// accepted.
    acceptors: RefCell<Vec<Option<Waker>>>,
    /// Tasks of this loop that have not ended.
    tasks: Cell<usize>,
    /// Busy tasks that let others go first.
    aside: RefCell<Vec<Waker>>,
    /// Wakes what looks after them.
    rounds: RefCell<Option<Waker>>,
    /// Wakes what goes on with TLS handshakes.
    shaker: RefCell<Option<Waker>>,
    /// Whether each send is a record of its own for the kernel.
    record: SendFlags,
}

/// A shard on epoll.
pub(super) struct EpollLoop<H: Handler> {
    shared: Rc<Shared<H>>,
    listeners: Vec<OwnedFd>,
}

impl<H: Handler> EpollLoop<H> {
    pub(super) fn new(
        core: Core<H, EpollSide>,
        listeners: Vec<OwnedFd>,
        config: EpollConfig,
    ) -> Self {
        let buffer = vec![0; config.receive_bytes.unwrap_or(RECEIVE_BYTES)];
        let record = if config.ends_records { SendFlags::EOR } else { SendFlags::empty() };
        let shared = Rc::new(Shared {
            core: RefCell::new(core),
            buffer: RefCell::new(buffer),
            main: RefCell::default(),
            acceptors: RefCell::default(),
            tasks: Cell::new(0),
            aside: RefCell::default(),
            rounds: RefCell::default(),
            shaker: RefCell::default(),
            record,
        });
        Self { shared, listeners }
    }

    /// Runs until the shard has been told to end.
    pub(super) async fn run(self, ready: impl FnOnce()) -> io::Result<()> {
        let shared = self.shared;
        let local = Rc::clone(&shared.core.borrow().local);
        let mailbox = std::sync::Arc::clone(local.mailbox());
        let wake = Readiness::new(mailbox.wake_fd())?;
        *shared.acceptors.borrow_mut() = vec![None; self.listeners.len()];
        for (number, listener) in self.listeners.into_iter().enumerate() {
            let listener = TcpListener::from(listener);
            listener.set_nonblocking(true)?;
            let readiness = Readiness::new(listener.as_fd())?;
            shared.spawn(accept(Rc::clone(&shared), number, listener, readiness));
        }
        shared.turn(Core::start);
        let mut ticking = std::pin::pin!(tick(Rc::clone(&shared)));
        let mut going_round = std::pin::pin!(go_round(Rc::clone(&shared), Round::new()?));
        let mut shaking = std::pin::pin!(shake_hands(Rc::clone(&shared), Round::new()?));
        ready();
        while !shared.core.borrow().is_finished() {
            let mut readable = std::pin::pin!(wake.readable());
            poll_fn(|context| {
                // They never end, but are dropped with this function: tasks would be forgotten.
                let _ = ticking.as_mut().poll(context);
                let _ = going_round.as_mut().poll(context);
                let _ = shaking.as_mut().poll(context);
                if local.has_commands() || shared.core.borrow().is_finished() {
                    return Poll::Ready(());
                }
                local.set_waker(context.waker());
                *shared.main.borrow_mut() = Some(context.waker().clone());
                readable.as_mut().poll(context).map(drop)
            })
            .await;
            let commands = mailbox.take().into_iter().chain(local.take());
            shared.turn(|core| {
                commands.for_each(|command| core.execute(command));
                core.collect_published();
            });
        }
        mailbox.stop();
        shared.turn(Core::end);
        shared.end_tasks().await;
        Ok(())
    }
}

impl<H: Handler> Shared<H> {
    /// Lets something happen and settles every connection it touched.
    fn turn(self: &Rc<Self>, act: impl FnOnce(&mut Core<H, EpollSide>)) {
        let mut core = self.core.borrow_mut();
        core.read_clock();
        act(&mut core);
        let (draining, shaking) = (core.is_draining(), core.has_handshakes());
        drop(core);
        if shaking && let Some(shaker) = self.shaker.borrow_mut().take() {
            shaker.wake();
        }
        if draining {
            self.stop_accepting();
        }
        self.open_outbound();
        loop {
            let Some(token) = self.core.borrow_mut().next_dirty() else { break };
            self.settle(token);
        }
        if self.core.borrow().is_finished()
            && let Some(main) = self.main.borrow_mut().take()
        {
            main.wake();
        }
    }

    /// Spawns a task that [`end_tasks`](Self::end_tasks) waits for.
    fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.tasks.set(self.tasks.get() + 1);
        let shared = Rc::clone(self);
        monoio::spawn(async move {
            task.await;
            shared.tasks.set(shared.tasks.get() - 1);
        });
    }

    /// Lets go of the listeners by waking the tasks that hold them: the kernel refuses what comes,
    /// unless another process has them.
    fn stop_accepting(&self) {
        self.acceptors.take().into_iter().flatten().for_each(Waker::wake);
    }

    /// Lets every task end. The runtime forgets tasks that still wait when it is dropped: what they
    /// hold, sockets among it, would never be freed.
    async fn end_tasks(&self) {
        self.stop_accepting();
        let tokens = self.core.borrow().slots.tokens();
        for token in tokens {
            self.remove(token);
        }
        let deadline = Instant::now() + END_MAX;
        while self.tasks.get() > 0 && Instant::now() < deadline {
            // Nobody looks after them any more, and some only now come to step aside.
            self.aside.take().into_iter().for_each(Waker::wake);
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Sends what waits, ends what has ended.
    fn settle(self: &Rc<Self>, token: Token) {
        let mut guard = self.core.borrow_mut();
        let core = &mut *guard;
        let Some(slot) = core.slots.get_mut(token) else { return };
        let stream = Rc::clone(&slot.driver.stream);
        slot.connection.note_pressure(&mut core.services);
        if slot.connection.wants_send_checked()
            && let Some((batch, sent)) = slot.driver.blocked.take()
        {
            return check_send(core, token, &stream, (batch, sent), self.record);
        }
        let ready = slot.driver.blocked.is_none() && !slot.driver.connecting;
        if ready
            && slot.connection.phase() != Phase::Ended
            && let Some(batch) = slot.connection.poll_transmit(&mut core.services)
        {
            match send(&stream, batch, 0, self.record) {
                Sending::Done(batch) if slot.connection.is_above_soft_mark() => {
                    // The application may send more as soon as it is told, and would be told
                    // again at once: others have their turn first.
                    let bytes = batch.len();
                    slot.driver.blocked = Some((batch, bytes));
                    self.spawn(finish(Rc::clone(self), token));
                }
                Sending::Done(batch) => {
                    let bytes = batch.len();
                    batch.recycle(&mut core.services.pool);
                    core.transmitted(token, bytes, true);
                }
                Sending::Blocked(batch, sent) => {
                    slot.driver.blocked = Some((batch, sent));
                    self.spawn(write(Rc::clone(self), token, Rc::clone(&stream)));
                }
                Sending::Failed(batch) => {
                    let bytes = batch.len();
                    batch.recycle(&mut core.services.pool);
                    core.transmitted(token, bytes, false);
                    core.with(token, |connection, services, glue| {
                        connection.handle_end(true, services, glue);
                    });
                }
            }
        }
        let Some(slot) = core.slots.get_mut(token) else { return };
        let flushed = slot.driver.blocked.is_none() && !slot.connection.has_waiting();
        match slot.connection.phase() {
            Phase::Flushing if flushed => {
                drop(guard);
                return self.remove(token);
            }
            Phase::Ended => {
                drop(guard);
                return self.remove(token);
            }
            Phase::Lingering if flushed && !slot.driver.shut => {
                slot.driver.shut = true;
                // A socket that is no longer connected needs no shutting.
                let _ = SockRef::from(&stream.socket()).shutdown(Shutdown::Write);
            }
            _ => {}
        }
        if !slot.connection.is_held()
            && let Some(reader) = slot.driver.reader.take()
        {
            reader.wake();
        }
        core.schedule(token);
    }

    /// Forgets a connection. Shutting the socket wakes its tasks, which let go of it.
    fn remove(&self, token: Token) {
        let mut core = self.core.borrow_mut();
        let Some(mut slot) = core.remove(token) else { return };
        if let Some((batch, _)) = slot.driver.blocked.take() {
            batch.recycle(&mut core.services.pool);
        }
        drop(core);
        let _ = SockRef::from(&slot.driver.stream.socket()).shutdown(Shutdown::Both);
        if let Some(reader) = slot.driver.reader.take() {
            reader.wake();
        }
    }

    fn open_outbound(self: &Rc<Self>) {
        loop {
            let requests = self.core.borrow_mut().outbound.take();
            if requests.is_empty() {
                return;
            }
            for (request, state) in requests {
                match EpollStream::connect(request.address, request.source) {
                    Ok(stream) => {
                        let stream = Rc::new(stream);
                        let side = EpollSide::new(Rc::clone(&stream), true);
                        let token = self.core.borrow_mut().connecting(None, request, state, side);
                        self.spawn(connect(Rc::clone(self), token, stream));
                    }
                    Err(error) => {
                        self.core.borrow_mut().connect_failed(state, &error.to_string());
                    }
                }
            }
        }
    }

    /// Reads once; whether there may be more.
    fn read(self: &Rc<Self>, token: Token, stream: &EpollStream) -> bool {
        let mut buffer = self.buffer.borrow_mut();
        match stream.receive(&mut buffer) {
            Ok(0) => {
                self.end(token, false);
                false
            }
            Ok(bytes) => {
                let whole = bytes == buffer.len();
                self.turn(|core| {
                    core.with(token, |connection, services, glue| {
                        connection.handle_receive(&mut buffer[..bytes], services, glue);
                    });
                });
                whole
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(_) => {
                self.end(token, true);
                false
            }
        }
    }

    fn end(self: &Rc<Self>, token: Token, reset: bool) {
        self.turn(|core| {
            core.with(token, |connection, services, glue| {
                connection.handle_end(reset, services, glue);
            });
        });
    }
}

impl Side for EpollSide {
    // The kernel says that it takes more only when a good part of its buffer is free again.
    const PROGRESS_IS_TOLD: bool = false;

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.stream.socket())
    }
}

impl EpollSide {
    fn new(stream: Rc<EpollStream>, connecting: bool) -> Self {
        Self { stream, blocked: None, reader: None, connecting, shut: false }
    }
}

/// Reads from one connection until it ends.
async fn serve<H: Handler>(shared: Rc<Shared<H>>, token: Token, stream: Rc<EpollStream>) {
    loop {
        // Until it may read, and never again once the connection is gone.
        let alive = poll_fn(|context| {
            let mut core = shared.core.borrow_mut();
            let Some(slot) = core.slots.get_mut(token) else { return Poll::Ready(false) };
            if slot.connection.is_held() || slot.connection.phase() == Phase::Flushing {
                slot.driver.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(true)
        })
        .await;
        if !alive || stream.readable().await.is_err() {
            break;
        }
        let mut reads = 0;
        while shared.may_read(token) && shared.read(token, &stream) {
            reads += 1;
            if reads == READS_MAX {
                reads = 0;
                shared.step_aside().await;
            }
        }
    }
    shared.remove(token);
}

impl<H: Handler> Shared<H> {
    /// Waits until all others have had a turn.
    async fn step_aside(&self) {
        let mut stepped = false;
        poll_fn(|context| {
            if std::mem::replace(&mut stepped, true) {
                return Poll::Ready(());
            }
            self.aside.borrow_mut().push(context.waker().clone());
            if let Some(rounds) = self.rounds.borrow_mut().take() {
                rounds.wake();
            }
            Poll::Pending
        })
        .await;
    }

    fn may_read(&self, token: Token) -> bool {
        let mut core = self.core.borrow_mut();
        let slot = core.slots.get_mut(token);
        slot.is_some_and(|slot| {
            !slot.connection.is_held() && slot.connection.phase() != Phase::Flushing
        })
    }
}

/// Waits for an outbound connection, then reads from it.
async fn connect<H: Handler>(shared: Rc<Shared<H>>, token: Token, stream: Rc<EpollStream>) {
    let outcome = stream.writable().await.and_then(|()| stream.connect_outcome());
    shared.turn(|core| {
        if let Some(slot) = core.slots.get_mut(token) {
            slot.driver.connecting = false;
        }
        core.with(token, |connection, services, glue| {
            if let Err(error) = &outcome {
                connection.handle_connect_error(&error.to_string(), services, glue);
            }
        });
    });
    serve(shared, token, stream).await;
}

/// Looks after deadlines, for ever.
async fn tick<H: Handler>(shared: Rc<Shared<H>>) {
    loop {
        monoio::time::sleep(TICK).await;
        if shared.core.borrow().has_deadlines() {
            shared.turn(Core::expire);
        }
    }
}

/// Lets tasks that stepped aside go on after each round of the runtime, for ever.
async fn go_round<H: Handler>(shared: Rc<Shared<H>>, round: Round) {
    loop {
        poll_fn(|context| {
            if !shared.aside.borrow().is_empty() {
                return Poll::Ready(());
            }
            *shared.rounds.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        round.wait().await;
        shared.aside.take().into_iter().for_each(Waker::wake);
    }
}

/// Goes on with TLS handshakes that were put off, a few after each round of the runtime, for ever.
async fn shake_hands<H: Handler>(shared: Rc<Shared<H>>, round: Round) {
    loop {
        poll_fn(|context| {
            if shared.core.borrow().has_handshakes() {
                return Poll::Ready(());
            }
            *shared.shaker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        round.wait().await;
        shared.turn(Core::take_handshakes);
    }
}
