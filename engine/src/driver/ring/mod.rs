//! The data ring: one io_uring that carries all sockets of a shard. It knows operations and
//! buffers, not protocols: each completion comes out as a [`Completion`], and whoever asked for the
//! operation decides what it means.
//!
//! Rules that hold here, so that nobody above needs `unsafe`:
//! - Memory the kernel uses is owned by this module until its completion, even when the connection
//!   is long gone ([`operations`], [`buffers`]).
//! - A completion is believed only when its tag names an operation that is under way.
//! - Submissions are not linked to one another, and no send is zero-copy: both have had kernel bugs
//!   that reorder or lose data, and neither pays at the message sizes of a WebSocket.

#![expect(unsafe_code, reason = "this is the boundary to the kernel")]

mod buffers;
mod completion;
mod config;
mod enter;
mod operations;
mod prefetch;
mod probe;
mod queues;
#[cfg(test)]
pub(crate) mod simulated;
mod socket;
mod tag;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fd, Timespec};
use io_uring::{cqueue, opcode, squeue};

use crate::buffer::{Batch, Pool};
use crate::handler::Token;
use buffers::BufferRing;
use operations::{OperationTable, Owned, Pending};
use tag::{Operation, Tag};

pub(crate) use buffers::Lease;
pub(crate) use completion::{Completion, Received};
pub(crate) use config::RingConfig;
pub(crate) use prefetch::prefetch;
pub(crate) use probe::probe;
pub(crate) use queues::{KernelQueues, Queues};
pub(crate) use socket::{busy_poll, choose_port_at_connect, defer_accept, fast_open};
pub(crate) use tag::GENERATION_MASK;

/// The one buffer group.
const GROUP: u16 = 0;
/// Period of the standing timeout while it is armed.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// Completions between fetching a connection's memory and using it: with thousands of connections
/// each one has left the near caches since it was last used, and the misses overlap this way.
const LOOK_AHEAD: usize = 3;
/// How long the end of a ring waits for operations under way.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// The ring of one shard. It is made, used and dropped on the shard's thread.
pub(crate) struct DataRing<Q: Queues = KernelQueues> {
    // Declared first, dropped first: the kernel lets go of all memory below with it.
    queues: Q,
    buffers: BufferRing,
    operations: OperationTable,
    /// Places for registered files.
    files: u32,
    tick: Box<Timespec>,
    reaped: Vec<cqueue::Entry>,
    next: usize,
    /// Operations whose last completion has not come.
    outstanding: usize,
    /// How long to look for completions before sleeping.
    spin: Duration,
    multishot: bool,
}

impl<Q: Queues> std::fmt::Debug for DataRing<Q> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DataRing").field("outstanding", &self.outstanding).finish()
    }
}

impl<Q: Queues> DataRing<Q> {
    /// A ring over these queues.
    ///
    /// # Errors
    /// The kernel's, when it takes no receive buffers.
    pub(crate) fn new(mut queues: Q, config: &RingConfig) -> io::Result<Self> {
        let entries = config.receive_buffers;
        let buffers = BufferRing::new(&mut queues, GROUP, entries, config.receive_buffer_bytes)?;
        // Without them (an old kernel, a low limit of open files) everything works all the same.
        let registered = queues.register_files(config.registered_files);
        let files = if registered.is_ok() { config.registered_files } else { 0 };
        Ok(Self {
            queues,
            buffers,
            operations: OperationTable::new(config.ends_records),
            files,
            tick: Box::new(Timespec::from(TICK)),
            reaped: Vec::with_capacity(256),
            next: 0,
            outstanding: 0,
            spin: config.spin,
            multishot: config.multishot,
        })
    }

    /// Registers an eventfd that is signalled with each completion, for a loop that waits
    /// elsewhere; silent until [`signal_completions`](Self::signal_completions) asks for it.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn register_eventfd(&mut self, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        self.queues.register_eventfd(eventfd.as_raw_fd())?;
        self.signal_completions(false);
        Ok(())
    }

    /// Turns the signals of the registered eventfd on or off, without a system call.
    pub(crate) fn signal_completions(&mut self, on: bool) {
        self.queues.signal_completions(on);
    }

    /// Accepts from a listener until told otherwise, or once where the kernel is too old for more.
    pub(crate) fn accept(&mut self, listener: u32, fd: BorrowedFd<'_>) {
        let tag = Tag::new(Operation::Accept, 0, listener);
        let (fd, flags, none) = (Fd(fd.as_raw_fd()), libc::SOCK_CLOEXEC, std::ptr::null_mut());
        let entry = match self.multishot {
            true => opcode::AcceptMulti::new(fd).flags(flags).build(),
            false => opcode::Accept::new(fd, none, none.cast()).flags(flags).build(),
        };
        self.start(entry.user_data(tag.pack()));
    }

    /// Ends accepting from a listener.
    pub(crate) fn cancel_accept(&mut self, listener: u32) {
        self.cancel(Tag::new(Operation::Accept, 0, listener));
    }

    /// Receives into provided buffers until told otherwise, or once where the kernel is too old.
    pub(crate) fn receive(&mut self, token: Token, fd: BorrowedFd<'_>) {
        if !self.multishot {
            return self.receive_once(token, fd);
        }
        let tag = Tag::new(Operation::Receive, token.generation, token.slot);
        let entry = opcode::RecvMulti::new(Fd(fd.as_raw_fd()), GROUP).build();
        self.start(entry.user_data(tag.pack()));
    }

    /// Receives once into a provided buffer: for a connection whose next bytes probably begin
    /// something that is then received directly.
    pub(crate) fn receive_once(&mut self, token: Token, fd: BorrowedFd<'_>) {
        let tag = Tag::new(Operation::Receive, token.generation, token.slot);
        let any = std::ptr::null_mut();
        let entry = opcode::Recv::new(Fd(fd.as_raw_fd()), any, 0).buf_group(GROUP).build();
        let entry = entry.flags(squeue::Flags::BUFFER_SELECT);
        self.start(entry.user_data(tag.pack()));
    }

    /// Ends a multishot receive; its last completion still comes.
    pub(crate) fn cancel_receive(&mut self, token: Token) {
        self.cancel(Tag::new(Operation::Receive, token.generation, token.slot));
    }

    /// Receives once, at most `room` bytes, straight into the spare capacity of `buffer`. The number
    /// of the operation is for [`cancel_operation`](Self::cancel_operation).
    pub(crate) fn receive_direct(
        &mut self,
        token: Token,
        fd: BorrowedFd<'_>,
        buffer: Vec<u8>,
        room: usize,
    ) -> u32 {
        self.start_owning(token, fd, Owned::Receive { buffer, room })
    }

    /// Sends a batch. One at a time for each connection. `registered` says that its socket was
    /// taken by [`register_file`](Self::register_file).
    pub(crate) fn send(
        &mut self,
        token: Token,
        fd: BorrowedFd<'_>,
        registered: bool,
        batch: Batch,
    ) -> u32 {
        let total = batch.len();
        let owned = Owned::Send { batch, sent: 0, total, gather: None };
        let fd = if registered { token.slot as RawFd } else { fd.as_raw_fd() };
        let pending = Pending { token, fd, fixed: registered, owned };
        let (number, entry) = self.operations.insert(pending, &self.buffers);
        self.start(entry);
        number
    }

    /// Puts a connection's socket among the ring's registered files, where the kernel finds it
    /// without counting references. It costs a system call here and one at the end, so it is for
    /// connections that send a lot. `false` when there is no room.
    pub(crate) fn register_file(&mut self, token: Token, fd: BorrowedFd<'_>) -> bool {
        token.slot < self.files && self.queues.set_file(token.slot, fd.as_raw_fd()).is_ok()
    }

    /// Takes it out again; until then the socket stays open.
    pub(crate) fn unregister_file(&mut self, token: Token) {
        // Nothing is sent on a connection that ends, so the place is not in use.
        let _ = self.queues.set_file(token.slot, -1);
    }

    /// Connects.
    pub(crate) fn connect(&mut self, token: Token, fd: BorrowedFd<'_>, address: SocketAddr) -> u32 {
        self.start_owning(token, fd, Owned::Connect { address: Box::new(address.into()) })
    }

    /// Ends a send, direct receive or connect of a connection, unless it has ended already. Its
    /// completion still comes; that of a send tells of what was taken.
    pub(crate) fn cancel_operation(&mut self, token: Token, number: u32) {
        if let Some(tag) = self.operations.tag(number, token) {
            self.cancel(tag);
        }
    }

    /// Closes a socket.
    pub(crate) fn close(&mut self, fd: OwnedFd) {
        let tag = Tag::new(Operation::Quiet, 0, 0);
        let entry = opcode::Close::new(Fd(fd.into_raw_fd())).build();
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(tag.pack()));
    }

    /// Reports when the mailbox's descriptor is readable.
    pub(crate) fn watch(&mut self, fd: BorrowedFd<'_>) {
        let tag = Tag::new(Operation::Wake, 0, 0);
        let entry =
            opcode::PollAdd::new(Fd(fd.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
        self.start(entry.user_data(tag.pack()));
    }

    /// Reports once, one [`TICK`] from now.
    pub(crate) fn start_tick(&mut self) {
        let tag = Tag::new(Operation::Tick, 0, 0);
        let timespec: *const Timespec = &*self.tick;
        self.start(opcode::Timeout::new(timespec).build().user_data(tag.pack()));
    }

    /// Submits, and waits until there is at least one completion.
    ///
    /// # Errors
    /// None that a caller could mend: see [`enter`](Self::enter).
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        if !self.spin.is_zero() {
            let end = Instant::now() + self.spin;
            while Instant::now() < end {
                self.enter(0)?;
                if self.has_reaped() {
                    return Ok(());
                }
            }
        }
        self.enter(1)
    }

    /// Submits, and lets the kernel finish what is ready.
    ///
    /// # Errors
    /// None that a caller could mend: see [`enter`](Self::enter).
    pub(crate) fn poll(&mut self) -> io::Result<()> {
        self.enter(0)
    }

    /// One system call: submits what is queued and reads what has completed.
    ///
    /// # Errors
    /// Those that mean the ring is unusable. `EBADR` says that the kernel has lost a completion:
    /// what it was for cannot be known any more.
    fn enter(&mut self, want: u32) -> io::Result<()> {
        if self.next < self.reaped.len() {
            return Ok(());
        }
        match self.queues.enter(want) {
            Ok(()) => {}
            // Interrupted, or no room for completions: reading some makes room.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ETIME)
                ) => {}
            Err(error) => return Err(error),
        }
        self.reaped.clear();
        self.next = 0;
        self.queues.take_completions(&mut self.reaped);
        Ok(())
    }

    /// Whether completions have been read and not taken.
    #[must_use]
    pub(crate) fn has_reaped(&self) -> bool {
        self.next < self.reaped.len()
    }

    /// The connection that a completion further on concerns, so that its memory can be fetched
    /// before its turn comes.
    #[inline]
    pub(crate) fn look_ahead(&self) -> Option<Token> {
        let far = self.reaped.get(self.next + 2 * LOOK_AHEAD).map(cqueue::Entry::user_data);
        if let Some(tag) = far.and_then(Tag::unpack)
            && tag.operation == Operation::Owning
        {
            self.operations.prefetch(tag);
        }
        let tag = Tag::unpack(self.reaped.get(self.next + LOOK_AHEAD)?.user_data())?;
        match tag.operation {
            Operation::Receive => Some(Token { slot: tag.index, generation: tag.generation }),
            Operation::Owning => self.operations.token(tag),
            _ => None,
        }
    }

    /// The next completion of those read. What a completed send owned goes to `pool`.
    pub(crate) fn next_completion(&mut self, pool: &mut Pool) -> Option<Completion> {
        while let Some(entry) = self.reaped.get(self.next) {
            let (bits, result, flags) = (entry.user_data(), entry.result(), entry.flags());
            self.next += 1;
            let Some(tag) = Tag::unpack(bits) else { return Some(Completion::Stale) };
            let more = cqueue::more(flags);
            // Whether one that owns memory is under way is found out in its table.
            if !more && !matches!(tag.operation, Operation::Quiet | Operation::Owning) {
                self.outstanding = self.outstanding.saturating_sub(1);
            }
            let completion = match tag.operation {
                Operation::Receive => self.received(tag, result, flags),
                Operation::Owning => self.owning_completed(tag, result, pool),
                Operation::Accept => Completion::Accepted {
                    listener: tag.index,
                    // SAFETY: a non-negative result of an accept is a descriptor that the kernel
                    // has just made for us and that nobody else owns.
                    result: outcome(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) }),
                    more,
                },
                Operation::Wake => Completion::Wake { more },
                Operation::Tick => Completion::Tick,
                Operation::Quiet => continue,
            };
            return Some(completion);
        }
        None
    }

    fn received(&mut self, tag: Tag, result: i32, flags: u32) -> Completion {
        let token = Token { slot: tag.index, generation: tag.generation };
        let lease = cqueue::buffer_select(flags)
            .and_then(|buffer| self.buffers.lease(buffer, result.max(0) as u32));
        let received = match (outcome(result), lease) {
            (Ok(1..), Some(lease)) => Received::Data(lease),
            (Ok(_), lease) => {
                // The end of a stream may come with a buffer that holds nothing.
                if let Some(lease) = lease {
                    self.buffers.give_back(lease);
                }
                Received::End
            }
            (Err(error), lease) => {
                if let Some(lease) = lease {
                    self.buffers.give_back(lease);
                }
                match error.raw_os_error() {
                    Some(libc::ENOBUFS) => {
                        self.buffers.widen();
                        Received::NoBuffers
                    }
                    Some(libc::ECANCELED) => Received::Cancelled,
                    _ => Received::Failed(error),
                }
            }
        };
        Completion::Received { token, received, more: cqueue::more(flags) }
    }

    fn owning_completed(&mut self, tag: Tag, result: i32, pool: &mut Pool) -> Completion {
        let Some(pending) = self.operations.get_mut(tag) else { return Completion::Stale };
        self.outstanding = self.outstanding.saturating_sub(1);
        let mut failed = None;
        if let Owned::Send { sent, total, .. } = &mut pending.owned {
            match outcome(result) {
                Ok(bytes) => {
                    *sent += bytes;
                    if *sent < *total && bytes > 0 {
                        let token = pending.token;
                        let entry = self.operations.submission(tag.index, &self.buffers);
                        self.start(entry);
                        return Completion::Progress { token };
                    }
                    if *sent < *total {
                        failed = Some(io::ErrorKind::WriteZero.into());
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        let Some(Pending { token, owned, .. }) = self.operations.remove(tag) else {
            return Completion::Stale;
        };
        match owned {
            Owned::Send { batch, total, .. } => {
                batch.recycle(pool);
                Completion::Sent { token, bytes: total, result: failed.map_or(Ok(()), Err) }
            }
            Owned::Receive { mut buffer, room } => {
                let result = outcome(result).map(|bytes| bytes.min(room));
                if let Ok(bytes) = result {
                    let length = (buffer.len() + bytes).min(buffer.capacity());
                    // SAFETY: the kernel reports that it has written `bytes` bytes into the spare
                    // capacity, which is where this operation had them put.
                    unsafe { buffer.set_len(length) };
                }
                Completion::ReceivedDirect { token, buffer, result }
            }
            Owned::Connect { .. } => {
                Completion::Connected { token, result: outcome(result).map(drop) }
            }
        }
    }

    /// The bytes of a lease.
    pub(crate) fn bytes_mut(&mut self, lease: &Lease) -> &mut [u8] {
        self.buffers.bytes_mut(lease)
    }

    /// Whether [`keep`](Self::keep) may be used now.
    #[must_use]
    pub(crate) fn may_share(&self) -> bool {
        self.buffers.may_share()
    }

    /// Keeps a buffer to send from; it returns to the kernel when as many shares of it have come
    /// back through the pool.
    pub(crate) fn keep(&mut self, lease: Lease, shares: u32) {
        self.buffers.keep(lease, shares);
    }

    /// Takes shares of kept buffers back. Once a turn.
    pub(crate) fn collect_returned(&mut self, pool: &mut Pool) {
        if pool.has_returned() {
            let returned = pool.take_returned();
            for &buffer in &returned {
                self.buffers.release(buffer);
            }
            pool.reuse_returned(returned);
        }
    }

    /// Gives a buffer back to the kernel.
    pub(crate) fn give_back(&mut self, lease: Lease) {
        self.buffers.give_back(lease);
    }

    /// Whether a receive that found no buffer may try again.
    #[must_use]
    pub(crate) fn has_spare_buffers(&self) -> bool {
        self.buffers.has_spare()
    }

    /// Whether nothing is under way and every buffer is back.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.operations.is_empty() && self.buffers.is_whole()
    }

    fn start_owning(&mut self, token: Token, fd: BorrowedFd<'_>, owned: Owned) -> u32 {
        let pending = Pending { token, fd: fd.as_raw_fd(), fixed: false, owned };
        let (number, entry) = self.operations.insert(pending, &self.buffers);
        self.start(entry);
        number
    }

    fn start(&mut self, entry: squeue::Entry) {
        self.outstanding += 1;
        self.push(entry);
    }

    fn cancel(&mut self, tag: Tag) {
        let quiet = Tag::new(Operation::Quiet, 0, 0);
        let entry = opcode::AsyncCancel::new(tag.pack()).build();
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(quiet.pack()));
    }

    /// Queues a submission; when the queue is full, it is submitted first.
    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: every pointer in an entry that reaches this function leads to memory owned by
        // `operations`, `tick` or `buffers`, which outlive the operation.
        while !unsafe { self.queues.push(&entry) } {
            let Err(error) = self.queues.make_room() else { continue };
            // The kernel takes no submissions until completions are read.
            let before = self.reaped.len();
            self.queues.take_completions(&mut self.reaped);
            let passing = matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN));
            if self.reaped.len() == before && !passing {
                // What cannot be submitted would never complete, and its owner would wait for ever.
                // The next turn meets the same error and ends the shard with it.
                tracing::error!(%error, "io_uring takes no submissions any more");
                return;
            }
        }
    }
}

impl<Q: Queues> Drop for DataRing<Q> {
    /// Ends every operation and waits for the last completion before the memory they use is freed.
    /// When the kernel does not answer in time the memory is leaked: a leak is better than a kernel
    /// that writes into memory that has a new owner.
    fn drop(&mut self) {
        let deadline = Instant::now() + SHUTDOWN_MAX;
        let quiet = Tag::new(Operation::Quiet, 0, 0);
        while self.outstanding > 0 && Instant::now() < deadline {
            let cancel = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
            self.push(cancel.user_data(quiet.pack()));
            if self.poll().is_err() {
                break;
            }
            while let Some(completion) = self.next_completion(&mut Pool::new()) {
                if let Completion::Received { received: Received::Data(lease), .. } = completion {
                    self.buffers.give_back(lease);
                }
            }
            if self.outstanding > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if self.outstanding > 0 {
            tracing::error!(
                operations = self.outstanding,
                "io_uring operations did not end; their memory is leaked"
            );
            std::mem::forget(std::mem::take(&mut self.operations));
            self.buffers.leak();
        }
    }
}

/// A completion's result as the kernel's functions would return it.
fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
