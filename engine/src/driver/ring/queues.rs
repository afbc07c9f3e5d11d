//! The two queues between a data ring and whoever carries its operations out: the kernel, or in
//! tests something that behaves like it at its worst. Nothing here knows what an operation means.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{Ordering, fence};

use io_uring::{IoUring, cqueue, squeue};

use super::config::{RingConfig, set_up};
use super::enter::{ENTER_SQ_WAIT, ENTER_SQ_WAKEUP, EnterHandle, register_napi};

/// Where submissions go and completions come from.
pub(crate) trait Queues {
    /// Names the ring that lends receive buffers, at an address with so many entries, a group.
    ///
    /// # Safety
    /// The address is that of a page-aligned mapping with room for the entries, which outlives the
    /// queues.
    unsafe fn register_buffers(&mut self, address: u64, entries: u16, group: u16)
    -> io::Result<()>;

    /// Makes room for so many registered files.
    fn register_files(&mut self, count: u32) -> io::Result<()>;

    /// Puts a descriptor, or with -1 none, at a place among the registered files.
    fn set_file(&mut self, place: u32, fd: RawFd) -> io::Result<()>;

    /// Names the eventfd that completions are signalled on.
    fn register_eventfd(&mut self, fd: RawFd) -> io::Result<()>;

    /// Turns those signals on or off.
    fn signal_completions(&mut self, on: bool);

    /// Queues a submission; whether there was room.
    ///
    /// # Safety
    /// Every pointer in the entry leads to memory that lives until the operation has completed.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool;

    /// Submits what is queued so that there is room again, and waits for nothing else.
    fn make_room(&mut self) -> io::Result<()>;

    /// Submits what is queued, produces the completions that are ready, and waits until there are
    /// at least `want`.
    fn enter(&mut self, want: u32) -> io::Result<()>;

    /// Takes the completions that are there.
    fn take_completions(&mut self, into: &mut Vec<cqueue::Entry>);
}

/// The queues of an io_uring.
pub(crate) struct KernelQueues {
    ring: IoUring,
    handle: EnterHandle,
    /// A thread of the kernel's takes the submissions.
    submissions_polled: bool,
}

impl KernelQueues {
    /// Sets a ring up for the use of this thread.
    ///
    /// # Errors
    /// The kernel's: `EPERM` and `ENOSYS` where io_uring is forbidden or absent, `ENOMEM` when the
    /// locked-memory limit is too low even for the smallest ring.
    pub(crate) fn new(config: &RingConfig) -> io::Result<Self> {
        let ring = set_up(config)?;
        let handle = EnterHandle::new(&ring);
        if !config.busy_poll.is_zero() {
            let micros = u32::try_from(config.busy_poll.as_micros()).unwrap_or(u32::MAX);
            if let Err(error) = register_napi(&ring, micros) {
                tracing::warn!(%error, "this kernel has no busy polling for io_uring; left out");
            }
        }
        Ok(Self { ring, handle, submissions_polled: !config.submission_poll.is_zero() })
    }

    /// Whether the kernel's thread that takes submissions has gone to sleep and must be told of
    /// them. Nothing without such a thread.
    fn wake_flags(&mut self) -> u32 {
        if !self.submissions_polled {
            return 0;
        }
        // The thread looks at the queue once more after it has said that it sleeps: our entries must
        // be visible before we look at what it says.
        fence(Ordering::SeqCst);
        if self.ring.submission().need_wakeup() { ENTER_SQ_WAKEUP } else { 0 }
    }
}

impl Queues for KernelQueues {
    unsafe fn register_buffers(
        &mut self,
        address: u64,
        entries: u16,
        group: u16,
    ) -> io::Result<()> {
        // SAFETY: the caller's promise is what this asks for.
        unsafe { self.ring.submitter().register_buf_ring_with_flags(address, entries, group, 0) }
    }

    fn register_files(&mut self, count: u32) -> io::Result<()> {
        self.ring.submitter().register_files_sparse(count)
    }

    fn set_file(&mut self, place: u32, fd: RawFd) -> io::Result<()> {
        self.ring.submitter().register_files_update(place, &[fd]).map(drop)
    }

    fn register_eventfd(&mut self, fd: RawFd) -> io::Result<()> {
        self.ring.submitter().register_eventfd(fd)
    }

    fn signal_completions(&mut self, on: bool) {
        let completion = self.ring.completion();
        if on { completion.enable_eventfd() } else { completion.disable_eventfd() }
    }

    #[inline]
    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the caller's promise is what this asks for.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    fn make_room(&mut self) -> io::Result<()> {
        let waiting = self.ring.submission().len() as u32;
        let flags = if self.submissions_polled { ENTER_SQ_WAKEUP | ENTER_SQ_WAIT } else { 0 };
        self.handle.enter(waiting, 0, flags).map(drop)
    }

    #[inline]
    fn enter(&mut self, want: u32) -> io::Result<()> {
        let want = if self.ring.completion().is_empty() { want } else { 0 };
        let waiting = self.ring.submission().len() as u32;
        let flags = self.wake_flags();
        if self.submissions_polled && flags == 0 && want == 0 {
            return Ok(());
        }
        self.handle.enter(waiting, want, flags).map(drop)
    }

    #[inline]
    fn take_completions(&mut self, into: &mut Vec<cqueue::Entry>) {
        into.extend(self.ring.completion());
    }
}

impl Drop for KernelQueues {
    fn drop(&mut self) {
        self.handle.release();
    }
}
