//! The system call that submits and waits. It is made here and not by the `io-uring` crate, because
//! that remembers a registered ring only for the length of one borrow, and looking the ring's file
//! up at each call costs as much as parsing a frame. It knows no operation.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::IoUring;

const REGISTER_RING_FDS: libc::c_uint = 20;
const UNREGISTER_RING_FDS: libc::c_uint = 21;
const ENTER_GETEVENTS: libc::c_uint = 1;
const ENTER_REGISTERED_RING: libc::c_uint = 1 << 4;
/// Wakes the kernel thread that takes submissions.
pub(super) const ENTER_SQ_WAKEUP: libc::c_uint = 1 << 1;
/// Waits until that thread has made room for submissions.
pub(super) const ENTER_SQ_WAIT: libc::c_uint = 1 << 2;
const REGISTER_NAPI: libc::c_uint = 27;

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// How the kernel is told which ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnterHandle {
    ring: RawFd,
    /// Its place among the thread's registered rings, if it has one.
    registered: Option<u32>,
}

impl EnterHandle {
    /// Registers the ring with this thread, if the thread has room (sixteen rings); otherwise the
    /// descriptor is used, which is only slower.
    pub(super) fn new(ring: &IoUring) -> Self {
        let ring = ring.as_raw_fd();
        let mut update = RingUpdate { offset: u32::MAX, reserved: 0, data: ring as u64 };
        let registered = register(ring, REGISTER_RING_FDS, &mut update);
        Self { ring, registered: (registered == 1).then_some(update.offset) }
    }

    /// Submits `submissions` entries and waits for `completions`; returns how many were submitted.
    /// Completions that are ready are always produced: with deferred task work they are produced in
    /// this call only.
    pub(super) fn enter(
        self,
        submissions: u32,
        completions: u32,
        flags: libc::c_uint,
    ) -> io::Result<u32> {
        let flags = flags | ENTER_GETEVENTS;
        let (ring, flags) = match self.registered {
            Some(index) => (index as RawFd, flags | ENTER_REGISTERED_RING),
            None => (self.ring, flags),
        };
        let none = std::ptr::null::<libc::sigset_t>();
        // SAFETY: the descriptor or index names the ring of the `DataRing` that owns this handle;
        // no signal set is passed. What the entries point to is kept alive by their owners.
        let entered = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, ring, submissions, completions, flags, none, 0)
        };
        u32::try_from(entered).map_err(|_| io::Error::last_os_error())
    }

    /// Gives the place among the registered rings back. A place that is kept keeps the ring.
    pub(super) fn release(&mut self) {
        if let Some(offset) = self.registered.take() {
            let mut update = RingUpdate { offset, reserved: 0, data: 0 };
            register(self.ring, UNREGISTER_RING_FDS, &mut update);
        }
    }
}

/// `struct io_uring_napi`.
#[repr(C)]
struct Napi {
    busy_poll_micros: u32,
    prefer_busy_poll: u8,
    opcode: u8,
    padding: [u8; 2],
    parameter: u32,
    reserved: u32,
}

/// Has the ring poll the network card before it sleeps.
pub(super) fn register_napi(ring: &IoUring, micros: u32) -> io::Result<()> {
    let mut napi = Napi {
        busy_poll_micros: micros,
        prefer_busy_poll: 1,
        opcode: 0,
        padding: [0; 2],
        parameter: 0,
        reserved: 0,
    };
    let argument: *mut Napi = &mut napi;
    // SAFETY: the operation takes one such structure, which the kernel reads, and writes the former
    // settings to, during the call.
    let outcome = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring.as_raw_fd(), REGISTER_NAPI, argument, 1)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn register(ring: RawFd, operation: libc::c_uint, update: &mut RingUpdate) -> libc::c_long {
    let update: *mut RingUpdate = update;
    // SAFETY: both operations take an array of such updates and its length, here one; the kernel
    // writes to it only during the call.
    unsafe { libc::syscall(libc::SYS_io_uring_register, ring, operation, update, 1) }
}
