//! The turn of one thread: submit, wait, book what completed, note who is owed something, send to
//! those.
//!
//! What is owed is decided by [`Ledger`]; the buffers live in [`Buffers`].

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::squeue::{Entry, Flags};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, types};
use ringsock_bench::ledger::{Exchange, Ledger};

use crate::buffers::{Buffers, GROUP};
use crate::neighbours::Neighbours;
use crate::{Descriptors, Options};

/// Operations submitted at most in one system call. Both rings are walked in a circle, so larger
/// ones only cover more of the cache.
const SUBMISSIONS: u32 = 512;
const COMPLETIONS: u32 = 8192;
/// Sockets in the ring's own table, unless the limit on open files, which counts here too, is lower.
const DIRECT_MAX: u32 = 32_768;

/// What a completion belongs to: the upper half of its user data, the socket being the lower.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Operation {
    Accept,
    Receive,
    Send,
    /// Another thread's messages; their number is the result.
    Told,
    /// Cancellation and close, heard of only when they fail.
    Quiet,
}

/// The server and all it needs for one turn after another.
pub(crate) struct Server {
    ring: IoUring,
    listener: i32,
    state: State,
}

struct State {
    exchange: Exchange,
    descriptors: Descriptors,
    buffers: Buffers,
    fan_out: bool,
    /// Requests of this turn that are owed to everybody: of the own connections, and told by the
    /// other threads.
    published: u64,
    told: u64,
    /// Indexed by descriptor or by place in the ring's table.
    connections: Vec<Connection>,
    /// Connections that may be owed something, each once.
    dirty: Vec<u32>,
    /// Operations for the next submission.
    pending: Vec<Entry>,
}

#[derive(Clone, Default)]
struct Connection {
    ledger: Ledger,
    receiving: bool,
    sending: bool,
    dirty: bool,
    /// Nothing more is sent; the socket is closed once no operation holds it.
    ended: bool,
}

impl Server {
    /// Sets up the ring and its buffers.
    pub(crate) fn new(
        listener: &TcpListener,
        options: &Options,
        descriptors_max: u64,
    ) -> io::Result<Self> {
        if options.defer_accept {
            defer_accept(listener)?;
        }
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        if options.descriptors == Descriptors::Direct {
            let direct_max = descriptors_max.min(DIRECT_MAX.into()) as u32;
            ring.submitter().register_files_sparse(direct_max)?;
        }
        let buffers = Buffers::register(
            &ring.submitter(),
            options.buffers,
            options.buffer_bytes,
            options.buffer_gap_bytes,
        )?;
        let state = State {
            exchange: options.common.exchange()?,
            descriptors: options.descriptors,
            buffers,
            fan_out: options.fan_out,
            published: 0,
            told: 0,
            connections: Vec::new(),
            dirty: Vec::new(),
            pending: Vec::new(),
        };
        Ok(Self { ring, listener: listener.as_raw_fd(), state })
    }

    /// The ring, as other threads name it.
    pub(crate) fn ring(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Serves until the process is ended.
    pub(crate) fn run(mut self, neighbours: &Neighbours) -> io::Result<Infallible> {
        let (mut submitter, mut submissions, mut completions) = self.ring.split();
        // Saves the kernel a look-up each turn; the registration is known to this value only.
        submitter.register_ring_fd()?;
        self.state.accept(self.listener);
        loop {
            self.state.hand_over(&submitter, &mut submissions)?;
            match submitter.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
            self.state.reap(&mut completions, self.listener)?;
            self.state.share_out(neighbours);
            self.state.send_owed();
        }
    }
}

impl State {
    fn reap(&mut self, completions: &mut CompletionQueue<'_>, listener: i32) -> io::Result<()> {
        completions.sync();
        for completion in completions {
            let (result, flags) = (completion.result(), completion.flags());
            let index = completion.user_data() as u32;
            match (completion.user_data() >> 32) as u32 {
                kind if kind == Operation::Receive as u32 => self.received(index, result, flags),
                kind if kind == Operation::Send as u32 => self.sent(index, result),
                kind if kind == Operation::Accept as u32 => {
                    self.accepted(result)?;
                    if !cqueue::more(flags) {
                        self.accept(listener);
                    }
                }
                kind if kind == Operation::Told as u32 => self.hear(result)?,
                _ => {}
            }
        }
        self.buffers.publish();
        Ok(())
    }

    fn accept(&mut self, listener: i32) {
        let direct = self.descriptors == Descriptors::Direct;
        let accept = opcode::AcceptMulti::new(types::Fd(listener)).allocate_file_index(direct);
        self.push(accept.build(), Operation::Accept, 0);
    }

    fn accepted(&mut self, result: i32) -> io::Result<()> {
        if result < 0 {
            return match -result {
                libc::ECONNABORTED | libc::EINTR | libc::ECANCELED => Ok(()),
                code => Err(io::Error::from_raw_os_error(code)),
            };
        }
        let index = result as usize;
        if index >= self.connections.len() {
            self.connections.resize_with(index + 1, Connection::default);
        }
        self.connections[index] = Connection::default();
        self.receive(index as u32);
        Ok(())
    }

    fn receive(&mut self, index: u32) {
        self.connections[index as usize].receiving = true;
        let receive = match self.descriptors {
            Descriptors::Plain => opcode::RecvMulti::new(types::Fd(index as i32), GROUP),
            Descriptors::Direct => opcode::RecvMulti::new(types::Fixed(index), GROUP),
        };
        self.push(receive.build(), Operation::Receive, index);
    }

    #[inline]
    fn received(&mut self, index: u32, result: i32, flags: u32) {
        let connection = &mut self.connections[index as usize];
        if let (1.., Some(id)) = (result, cqueue::buffer_select(flags)) {
            let chunk = self.buffers.filled(id, result as usize);
            let requests = connection.ledger.receive(chunk, &self.exchange);
            if self.fan_out {
                self.published += requests;
            } else {
                connection.ledger.owe(requests, &self.exchange);
            }
            self.buffers.give_back(id);
            if !connection.dirty {
                connection.dirty = true;
                self.dirty.push(index);
            }
        }
        if cqueue::more(flags) {
            return;
        }
        connection.receiving = false;
        // ENOBUFS: all buffers were in use; by the next submission they are back.
        if (result > 0 || result == -libc::ENOBUFS) && !connection.ended {
            return self.receive(index);
        }
        connection.ended = true;
        self.close_if_idle(index);
    }

    /// Books what another thread said, or that it could not be told something.
    fn hear(&mut self, result: i32) -> io::Result<()> {
        let messages = u64::try_from(result);
        self.told += messages.map_err(|_| io::Error::from_raw_os_error(-result))?;
        Ok(())
    }

    /// Owes everybody what anybody sent in this turn.
    fn share_out(&mut self, neighbours: &Neighbours) {
        let requests = self.published + self.told;
        if requests == 0 {
            return;
        }
        if self.published > 0 {
            let told = u64::from(Operation::Told as u32) << 32;
            self.pending.extend(neighbours.tell(self.published, told));
        }
        (self.published, self.told) = (0, 0);
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if connection.ledger.is_open() && !connection.ended {
                connection.ledger.owe(requests, &self.exchange);
                if !connection.dirty {
                    connection.dirty = true;
                    self.dirty.push(index as u32);
                }
            }
        }
    }

    fn send_owed(&mut self) {
        for at in 0..self.dirty.len() {
            let index = self.dirty[at];
            self.connections[index as usize].dirty = false;
            self.send(index);
        }
        self.dirty.clear();
    }

    /// Sends what is owed, all in one operation, unless one is under way.
    #[inline]
    fn send(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.sending || connection.ended {
            return;
        }
        let Some(bytes) = connection.ledger.next_send(&self.exchange) else { return };
        connection.sending = true;
        let (address, length) = (bytes.as_ptr(), bytes.len() as u32);
        let send = match self.descriptors {
            Descriptors::Plain => opcode::Send::new(types::Fd(index as i32), address, length),
            Descriptors::Direct => opcode::Send::new(types::Fixed(index), address, length),
        };
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        self.push(send.flags(flags).build(), Operation::Send, index);
    }

    #[inline]
    fn sent(&mut self, index: u32, result: i32) {
        let connection = &mut self.connections[index as usize];
        connection.sending = false;
        if result <= 0 || connection.ended {
            connection.ended = true;
            return self.close_if_idle(index);
        }
        connection.ledger.sent(result as usize, &self.exchange);
        if connection.ledger.is_settled() {
            return self.shut_down(index);
        }
        self.send(index);
    }

    /// Cancels the receive that still holds the socket; its last completion closes it. A shutdown
    /// would run on a worker thread, late enough to hit the next connection with this index.
    fn shut_down(&mut self, index: u32) {
        self.connections[index as usize].ended = true;
        if self.connections[index as usize].receiving {
            let receive = u64::from(Operation::Receive as u32) << 32 | u64::from(index);
            let cancel = opcode::AsyncCancel::new(receive).build();
            self.push(cancel.flags(Flags::SKIP_SUCCESS), Operation::Quiet, index);
        }
        self.close_if_idle(index);
    }

    fn close_if_idle(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        if connection.receiving || connection.sending {
            return;
        }
        let close = match self.descriptors {
            Descriptors::Plain => opcode::Close::new(types::Fd(index as i32)).build(),
            Descriptors::Direct => opcode::Close::new(types::Fixed(index)).build(),
        };
        self.push(close.flags(Flags::SKIP_SUCCESS), Operation::Quiet, index);
    }

    #[inline]
    fn push(&mut self, entry: Entry, operation: Operation, index: u32) {
        self.pending.push(entry.user_data(u64::from(operation as u32) << 32 | u64::from(index)));
    }

    /// Moves the pending operations into the submission ring, submitting whenever it is full.
    fn hand_over(
        &mut self,
        submitter: &Submitter<'_>,
        submissions: &mut SubmissionQueue<'_>,
    ) -> io::Result<()> {
        for entry in self.pending.drain(..) {
            // SAFETY: sends name static bytes and receives a registered group of buffers that is
            // never freed, so whatever an operation refers to outlives it.
            while unsafe { submissions.push(&entry) }.is_err() {
                submissions.sync();
                submitter.submit()?;
                submissions.sync();
            }
        }
        submissions.sync();
        Ok(())
    }
}

/// Has the kernel hold a connection back until its first bytes are there (for a second at most),
/// so that accepting it and receiving the request take one turn, not two.
fn defer_accept(listener: &TcpListener) -> io::Result<()> {
    let seconds: libc::c_int = 1;
    // SAFETY: the option value is a `c_int` of the size given, alive for the call.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
