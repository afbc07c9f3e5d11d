//! A kernel at its worst, for tests. It carries out the operations of data rings on memory as the
//! kernel does, but late, in parts, in any order that the kernel may choose, with races lost and
//! shortages made up, all as dice with a seed fall. It never waits: a call that should is woken for
//! nothing. What the manual pages of io_uring promise to whoever submits it keeps.

mod world;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use io_uring::types::BufRingEntry;
use io_uring::{cqueue, squeue};
use rustix::event::{PollFd, PollFlags};

use super::queues::Queues;

pub(crate) use world::{Dice, Odds, World};

// The operations and flags that data rings use, by the numbers of `linux/io_uring.h`.
const POLL_ADD: u8 = 6;
const SENDMSG: u8 = 9;
const TIMEOUT: u8 = 11;
const ACCEPT: u8 = 13;
const ASYNC_CANCEL: u8 = 14;
const CLOSE: u8 = 19;
const SEND: u8 = 26;
const RECV: u8 = 27;
const FIXED_FILE: u8 = 1;
const BUFFER_SELECT: u8 = 1 << 5;
const SKIP_SUCCESS: u8 = 1 << 6;
const ACCEPT_MULTISHOT: u16 = 1;
const RECV_MULTISHOT: u16 = 1 << 1;
const POLL_MULTISHOT: u32 = 1;
const CANCEL_ANY: u32 = 1 << 2;
const COMPLETION_BUFFER: u32 = 1;
const COMPLETION_MORE: u32 = 1 << 1;

/// The kind of operation, in its tag, that is looked up in a table.
const OWNING: u8 = super::tag::Operation::Owning as u8;
/// What memory that belongs to the kernel is filled with.
const POISON: u8 = 0xdd;

/// `struct io_uring_sqe`, as far as it is looked at.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Submission {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: RawFd,
    offset: u64,
    address: u64,
    length: u32,
    operation_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

/// `struct io_uring_cqe`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Outcome {
    user_data: u64,
    result: i32,
    flags: u32,
}

/// An operation under way.
#[derive(Debug)]
struct Operation {
    submission: Submission,
    /// The descriptor itself, when the submission has a place among the registered ones.
    fd: RawFd,
    /// Bytes of a send that have left.
    sent: usize,
    /// When a timeout is due.
    due: u32,
}

/// What came of letting an operation go on.
enum Progress {
    /// Nothing could be done.
    Idle,
    /// It goes on, with or without having reported.
    On,
    Over,
}

/// The queues of one ring.
pub(crate) struct SimulatedQueues {
    world: Rc<RefCell<World>>,
    submissions: Vec<Submission>,
    submissions_max: usize,
    operations: Vec<Operation>,
    completions: VecDeque<Outcome>,
    /// Completions handed out at once.
    completions_max: usize,
    files: Vec<RawFd>,
    buffers: Buffers,
    /// Tags of operations that have ended.
    ended: Vec<u64>,
}

/// The ring of receive buffers as the kernel sees it.
#[derive(Debug, Default)]
struct Buffers {
    address: u64,
    entries: u16,
    head: u16,
    /// Up to where what was lent has been poisoned.
    poisoned: u16,
}

impl Buffers {
    fn tail(&self) -> u16 {
        let entries = self.address as *const BufRingEntry;
        // SAFETY: the address was registered as that of a ring whose first entry holds the tail, and
        // whoever registered it keeps it until the queues are gone.
        unsafe { BufRingEntry::tail(entries).read_volatile() }
    }

    /// Address, length and number of a lent buffer.
    fn entry(&self, position: u16) -> (u64, u32, u16) {
        let index = usize::from(position & (self.entries - 1));
        // SAFETY: the index is below the number of entries that were registered.
        let entry = unsafe { &*(self.address as *const BufRingEntry).add(index) };
        (entry.addr(), entry.len(), entry.bid())
    }

    /// Overwrites what was lent since the last time: it is the kernel's to write to.
    fn poison(&mut self) {
        while self.poisoned != self.tail() {
            let (address, length, _) = self.entry(self.poisoned);
            // SAFETY: a lent buffer belongs to the kernel, which this is, until a completion names it.
            unsafe { std::ptr::write_bytes(address as *mut u8, POISON, length as usize) };
            self.poisoned = self.poisoned.wrapping_add(1);
        }
    }

    fn take(&mut self) -> Option<(u64, u32, u16)> {
        self.poison();
        if self.head == self.tail() {
            return None;
        }
        let entry = self.entry(self.head);
        self.head = self.head.wrapping_add(1);
        Some(entry)
    }
}

impl SimulatedQueues {
    /// Queues of a ring in a world, with so many places for submissions and completions.
    pub(crate) fn new(
        world: &Rc<RefCell<World>>,
        submissions_max: usize,
        completions_max: usize,
    ) -> Self {
        Self {
            world: Rc::clone(world),
            submissions: Vec::new(),
            submissions_max,
            operations: Vec::new(),
            completions: VecDeque::new(),
            completions_max,
            files: Vec::new(),
            buffers: Buffers::default(),
            ended: Vec::new(),
        }
    }

    fn complete(&mut self, user_data: u64, result: i32, flags: u32) {
        self.completions.push_back(Outcome { user_data, result, flags });
    }

    /// Begins what was submitted, in order.
    fn submit(&mut self) {
        for submission in std::mem::take(&mut self.submissions) {
            self.begin(submission);
        }
    }

    fn begin(&mut self, submission: Submission) {
        let fd = match submission.flags & FIXED_FILE {
            0 => submission.fd,
            _ => self.files[submission.fd as usize],
        };
        match submission.opcode {
            ASYNC_CANCEL => self.cancel(submission),
            CLOSE => self.close(submission),
            POLL_ADD | SENDMSG | TIMEOUT | ACCEPT | SEND | RECV => {
                let mut due = 0;
                if submission.opcode == TIMEOUT {
                    // SAFETY: the submitter keeps the time, which is seconds and nanoseconds, until
                    // the operation has completed.
                    let [seconds, nanoseconds] =
                        unsafe { *(submission.address as *const [i64; 2]) };
                    let span = seconds * 1000 + nanoseconds / 1_000_000;
                    due = self.world.borrow().now + span as u32;
                }
                self.operations.push(Operation { submission, fd, sent: 0, due });
            }
            other => panic!("an operation that is not simulated: {other}"),
        }
    }

    fn close(&mut self, submission: Submission) {
        let fd = submission.fd;
        let busy = self.operations.iter().find(|operation| operation.fd == fd);
        assert!(busy.is_none(), "a socket is closed while it is used: {busy:?}");
        self.world.borrow_mut().close(fd);
        // SAFETY: the submitter gave the descriptor away for this.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        if submission.flags & SKIP_SUCCESS == 0 {
            self.complete(submission.user_data, 0, 0);
        }
    }

    fn cancel(&mut self, submission: Submission) {
        let any = submission.operation_flags & CANCEL_ANY != 0;
        let is_meant =
            |operation: &Operation| any || operation.submission.user_data == submission.address;
        let late = self.world.borrow_mut().happens(|odds| odds.cancel_late);
        if late {
            // What is to be cancelled was about to go on anyway.
            self.world.borrow_mut().mishaps.late_cancels += 1;
            self.go_on(&is_meant);
        }
        let (meant, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.operations).into_iter().partition(is_meant);
        self.operations = others;
        let found = !meant.is_empty();
        for Operation { submission, sent, .. } in meant {
            let result = if sent > 0 { sent as i32 } else { -libc::ECANCELED };
            let is_send = matches!(submission.opcode, SEND | SENDMSG);
            self.world.borrow_mut().mishaps.cancelled_sends += u32::from(is_send);
            self.complete(submission.user_data, result, 0);
        }
        if !found || submission.flags & SKIP_SUCCESS == 0 {
            let result = if found { 0 } else { -libc::ENOENT };
            self.complete(submission.user_data, result, 0);
        }
    }

    /// Lets those operations go on that can, once each and in any order.
    fn go_on(&mut self, is_meant: &impl Fn(&Operation) -> bool) {
        let mut order: Vec<usize> = (0..self.operations.len()).collect();
        for place in (1..order.len()).rev() {
            let other = self.world.borrow_mut().dice.below(place + 1);
            order.swap(place, other);
        }
        let mut over = vec![false; order.len()];
        for index in order {
            if is_meant(&self.operations[index]) {
                over[index] = matches!(self.advance(index), Progress::Over);
            }
        }
        let mut over = over.into_iter();
        self.operations.retain(|operation| {
            let ends = over.next() == Some(true);
            if ends {
                self.ended.push(operation.submission.user_data);
            }
            !ends
        });
    }

    fn advance(&mut self, index: usize) -> Progress {
        match self.operations[index].submission.opcode {
            ACCEPT => self.accept(index),
            RECV => self.receive(index),
            SEND | SENDMSG => self.send(index),
            POLL_ADD => self.poll(index),
            _ => self.time_out(index),
        }
    }

    fn accept(&mut self, index: usize) -> Progress {
        let Operation { submission, fd, .. } = &self.operations[index];
        let (submission, fd) = (*submission, *fd);
        let world = Rc::clone(&self.world);
        let mut world = world.borrow_mut();
        let waits = world.waiting.get(&fd).is_some_and(|waiting| !waiting.is_empty());
        if !waits {
            return Progress::Idle;
        }
        if world.happens(|odds| odds.accept_fails) {
            world.mishaps.failed_accepts += 1;
            let errors = [libc::EMFILE, libc::ENFILE, libc::ECONNABORTED, libc::EPROTO];
            let error = errors[world.dice.below(errors.len())];
            self.complete(submission.user_data, -error, 0);
            return Progress::Over;
        }
        let waiting = world.waiting.get_mut(&fd).and_then(VecDeque::pop_front);
        let accepted = waiting.map_or(-1, IntoRawFd::into_raw_fd);
        let ends = world.happens(|odds| odds.multishot_ends);
        let more = submission.priority & ACCEPT_MULTISHOT != 0 && !ends;
        self.complete(submission.user_data, accepted, if more { COMPLETION_MORE } else { 0 });
        if more { Progress::On } else { Progress::Over }
    }

    fn receive(&mut self, index: usize) -> Progress {
        let Operation { submission, fd, .. } = &self.operations[index];
        let (submission, fd) = (*submission, *fd);
        let selects = submission.flags & BUFFER_SELECT != 0;
        let world = Rc::clone(&self.world);
        let mut world = world.borrow_mut();
        let socket = world.socket(fd);
        if socket.reset {
            self.complete(submission.user_data, -libc::ECONNRESET, 0);
            return Progress::Over;
        }
        let (available, finished) = (socket.to_server.len(), socket.peer_finished);
        if available == 0 {
            if !finished {
                return Progress::Idle;
            }
            self.complete(submission.user_data, 0, 0);
            return Progress::Over;
        }
        let (address, room, flags) = if selects {
            let refuses = world.happens(|odds| odds.no_buffer);
            let Some((address, length, number)) = (!refuses).then(|| self.buffers.take()).flatten()
            else {
                world.mishaps.no_buffer += 1;
                self.complete(submission.user_data, -libc::ENOBUFS, 0);
                return Progress::Over;
            };
            (address, length, COMPLETION_BUFFER | u32::from(number) << 16)
        } else {
            (submission.address, submission.length, 0)
        };
        let bytes = world.dice.some_of(available.min(room as usize));
        for (place, byte) in world.socket(fd).to_server.drain(..bytes).enumerate() {
            // SAFETY: the memory was lent for at least `room` bytes, and `bytes` are at most those.
            unsafe { (address as *mut u8).add(place).write(byte) };
        }
        let ends = world.happens(|odds| odds.multishot_ends);
        let multishot = submission.priority & RECV_MULTISHOT != 0;
        world.mishaps.multishot_ends += u32::from(multishot && ends);
        let more = if multishot && !ends { COMPLETION_MORE } else { 0 };
        self.complete(submission.user_data, bytes as i32, flags | more);
        if more == 0 { Progress::Over } else { Progress::On }
    }

    fn send(&mut self, index: usize) -> Progress {
        let world = Rc::clone(&self.world);
        let mut world = world.borrow_mut();
        let operation = &mut self.operations[index];
        let (submission, fd) = (operation.submission, operation.fd);
        if world.socket(fd).reset {
            let result = match operation.sent {
                0 => -[libc::EPIPE, libc::ECONNRESET][world.dice.below(2)],
                sent => sent as i32,
            };
            self.complete(submission.user_data, result, 0);
            return Progress::Over;
        }
        let window = world.socket(fd).window;
        if window == 0 {
            return Progress::Idle;
        }
        let bytes = gathered(&submission);
        let rest = &bytes[operation.sent..];
        let taken = world.dice.some_of(rest.len().min(window));
        let socket = world.socket(fd);
        socket.to_peer.extend_from_slice(&rest[..taken]);
        socket.window -= taken;
        operation.sent += taken;
        let (sent, all) = (operation.sent, bytes.len());
        let short = sent < all && world.happens(|odds| odds.short_send);
        world.mishaps.short_sends += u32::from(short);
        if sent < all && !short {
            return Progress::On;
        }
        self.complete(submission.user_data, sent as i32, 0);
        Progress::Over
    }

    fn poll(&mut self, index: usize) -> Progress {
        let Operation { submission, fd, .. } = &self.operations[index];
        let submission = *submission;
        // SAFETY: whoever watches a descriptor keeps it open for as long.
        let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
        let mut polled = [PollFd::new(&fd, PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        if !matches!(rustix::event::poll(&mut polled, Some(&now)), Ok(1)) {
            return Progress::Idle;
        }
        let ends = self.world.borrow_mut().happens(|odds| odds.multishot_ends);
        let more = submission.length & POLL_MULTISHOT != 0 && !ends;
        let flags = if more { COMPLETION_MORE } else { 0 };
        self.complete(submission.user_data, i32::from(libc::POLLIN), flags);
        if more { Progress::On } else { Progress::Over }
    }

    fn time_out(&mut self, index: usize) -> Progress {
        let Operation { submission, due, .. } = &self.operations[index];
        if self.world.borrow().now < *due {
            return Progress::Idle;
        }
        self.complete(submission.user_data, -libc::ETIME, 0);
        Progress::Over
    }

    /// Sometimes makes a completion up: of something that has ended, or of nothing at all.
    fn make_up(&mut self) {
        let mut world = self.world.borrow_mut();
        if !world.happens(|odds| odds.stale) {
            return;
        }
        world.mishaps.stale += 1;
        let random = world.dice.below(usize::MAX) as u64;
        // Those whose place was taken again: one that has not been may go on, if it was a send of
        // which only a part had left.
        let replaced = |tag: &&u64| {
            let place = |tag: u64| tag & 0xff_ffff_ffff;
            let later = |other: &u64| place(*other) == place(**tag) && *other >> 40 > **tag >> 40;
            (**tag >> 32) as u8 == OWNING && self.ended.iter().any(later)
        };
        let known: Vec<u64> = self.ended.iter().filter(replaced).copied().collect();
        let user_data = match known.len() {
            0 => random | 0xff << 32,
            length => known[world.dice.below(length)],
        };
        drop(world);
        self.complete(user_data, (random % 100) as i32, 0);
    }
}

/// The bytes that a send is to send, from where they lie now.
fn gathered(submission: &Submission) -> Vec<u8> {
    if submission.opcode == SEND {
        let (address, length) = (submission.address as *const u8, submission.length as usize);
        // SAFETY: the submitter keeps the bytes until the operation has completed.
        return unsafe { std::slice::from_raw_parts(address, length) }.to_vec();
    }
    let mut all = Vec::new();
    // SAFETY: the submitter keeps the header, the list it names and what that names until the
    // operation has completed.
    unsafe {
        let header = &*(submission.address as *const libc::msghdr);
        for slice in std::slice::from_raw_parts(header.msg_iov, header.msg_iovlen) {
            let bytes = std::slice::from_raw_parts(slice.iov_base as *const u8, slice.iov_len);
            all.extend_from_slice(bytes);
        }
    }
    all
}

impl Queues for SimulatedQueues {
    unsafe fn register_buffers(&mut self, address: u64, entries: u16, _: u16) -> io::Result<()> {
        self.buffers = Buffers { address, entries, ..Buffers::default() };
        Ok(())
    }

    fn register_files(&mut self, count: u32) -> io::Result<()> {
        self.files = vec![-1; count as usize];
        Ok(())
    }

    fn set_file(&mut self, place: u32, fd: RawFd) -> io::Result<()> {
        self.files[place as usize] = fd;
        Ok(())
    }

    fn register_eventfd(&mut self, _: RawFd) -> io::Result<()> {
        Ok(())
    }

    fn signal_completions(&mut self, _: bool) {}

    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        if self.submissions.len() >= self.submissions_max {
            return false;
        }
        const { assert!(size_of::<squeue::Entry>() == size_of::<Submission>()) };
        // SAFETY: an entry is the structure that `Submission` spells out, of the same size and made of
        // integers, for which all bits are valid.
        self.submissions.push(unsafe { std::mem::transmute_copy(entry) });
        true
    }

    fn make_room(&mut self) -> io::Result<()> {
        if !self.completions.is_empty() && self.world.borrow_mut().happens(|odds| odds.interrupted)
        {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        self.submit();
        Ok(())
    }

    fn enter(&mut self, _want: u32) -> io::Result<()> {
        if self.world.borrow_mut().happens(|odds| odds.interrupted) {
            self.world.borrow_mut().mishaps.interrupted += 1;
            return Err(io::Error::from_raw_os_error(libc::EINTR));
        }
        self.submit();
        self.buffers.poison();
        let lazy: Vec<u64> = {
            let mut world = self.world.borrow_mut();
            let tags = self.operations.iter().map(|operation| operation.submission.user_data);
            tags.filter(|_| world.happens(|odds| odds.idle)).collect()
        };
        self.go_on(&|operation| !lazy.contains(&operation.submission.user_data));
        self.make_up();
        self.world.borrow_mut().look_for_shutdowns();
        Ok(())
    }

    fn take_completions(&mut self, into: &mut Vec<cqueue::Entry>) {
        const { assert!(size_of::<cqueue::Entry>() == size_of::<Outcome>()) };
        let count = self.completions.len().min(self.completions_max);
        for outcome in self.completions.drain(..count) {
            // SAFETY: an entry is the structure that `Outcome` spells out, of the same size and made of
            // integers, for which all bits are valid.
            into.push(unsafe { std::mem::transmute_copy(&outcome) });
        }
    }
}
