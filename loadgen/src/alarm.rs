//! Waits on a shard's thread until a moment, to a few microseconds: the timers of the runtime count
//! milliseconds. It decides nothing about what happens then.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use monoio::net::UnixStream;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer of the kernel, readable when it is over.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: OwnedFd,
    /// The runtime registers streams only; nothing but readiness is asked of this one.
    readiness: UnixStream,
}

impl Alarm {
    /// Needs two descriptors, and to be made on a shard's thread.
    pub(crate) fn new() -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        let copy = StdUnixStream::from(timer.as_fd().try_clone_to_owned()?);
        Ok(Self { timer, readiness: UnixStream::from_std(copy)? })
    }

    /// Waits this long, and until all others on this thread have had a turn and the runtime has looked
    /// for what has come.
    pub(crate) async fn sleep(&self, nanoseconds: u64) -> io::Result<()> {
        // A time of zero would disarm the timer.
        let nanoseconds = nanoseconds.max(1);
        let value = Timespec {
            tv_sec: (nanoseconds / 1_000_000_000) as i64,
            tv_nsec: (nanoseconds % 1_000_000_000) as i64,
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec { it_interval: never, it_value: value };
        let mut readable = std::pin::pin!(self.readiness.readable(false));
        let mut is_armed = false;
        poll_fn(|context| {
            let outcome = readable.as_mut().poll(context);
            if !std::mem::replace(&mut is_armed, true) {
                // After the first look: a timer that is over before it is looked at would let whoever
                // waits go on at once, and the runtime would never look at anything else.
                timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
            }
            outcome
        })
        .await?;
        let mut expirations = [0; 8];
        // Fails when it was armed again meanwhile, which nobody does.
        let _ = rustix::io::read(&self.timer, &mut expirations);
        Ok(())
    }
}
