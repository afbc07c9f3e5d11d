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
    pub(super) fn enter(self, submissions: u32, completions: u32) -> io::Result<u32> {
        let (ring, flags) = match self.registered {
            Some(index) => (index as RawFd, ENTER_GETEVENTS | ENTER_REGISTERED_RING),
            None => (self.ring, ENTER_GETEVENTS),
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

fn register(ring: RawFd, operation: libc::c_uint, update: &mut RingUpdate) -> libc::c_long {
    let update: *mut RingUpdate = update;
    // SAFETY: both operations take an array of such updates and its length, here one; the kernel
    // writes to it only during the call.
    unsafe { libc::syscall(libc::SYS_io_uring_register, ring, operation, update, 1) }
}
