//! A signal to threads that wait for descriptors: rung once, heard by all, never silent again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

#[derive(Debug)]
pub(super) struct Bell {
    signal: OwnedFd,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The descriptor is readable, or at its end.
    Readable,
    /// The bell was rung.
    Rung,
    /// The time is over.
    TimedOut,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { signal: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    pub(super) fn ring(&self) {
        // The only error is a counter at its maximum, and then it was rung before.
        let _ = rustix::io::write(&self.signal, &1u64.to_ne_bytes());
    }

    /// Waits for the descriptor or the bell, at most until the deadline if there is one.
    pub(super) fn wait_for(
        &self,
        fd: BorrowedFd<'_>,
        deadline: Option<Instant>,
    ) -> io::Result<Waited> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(fd, PollFlags::IN),
                PollFd::from_borrowed_fd(self.signal.as_fd(), PollFlags::IN),
            ];
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.map(timespec);
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Ok(Waited::TimedOut),
                Ok(_) if fds[1].revents().is_empty() => return Ok(Waited::Readable),
                Ok(_) => return Ok(Waited::Rung),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn timespec(span: Duration) -> Timespec {
    // A time too long to be written is as good as none.
    Timespec::try_from(span).unwrap_or(Timespec { tv_sec: i64::from(u32::MAX), tv_nsec: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_heard_again_and_again_and_goes_before_what_else_there_is() {
        let (bell, other) = (Bell::new().unwrap(), Bell::new().unwrap());
        let now = Some(Instant::now());
        assert_eq!(bell.wait_for(other.signal.as_fd(), now).unwrap(), Waited::TimedOut);
        other.ring();
        assert_eq!(bell.wait_for(other.signal.as_fd(), None).unwrap(), Waited::Readable);
        bell.ring();
        for _ in 0..2 {
            assert_eq!(bell.wait_for(other.signal.as_fd(), None).unwrap(), Waited::Rung);
        }
    }
}
