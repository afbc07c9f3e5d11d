//! Commands from other threads to a shard: bounded, and with one wake-up for any number of
//! commands that arrive while the shard has not looked. It executes nothing.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::Command;
use crate::pubsub::Bell;

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxError {
    /// As many commands wait as the limit allows.
    Full,
    /// The shard has ended.
    Stopped,
}

impl fmt::Display for MailboxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full => "the shard's mailbox is full: it is not keeping up",
            Self::Stopped => "the shard has ended",
        })
    }
}

impl std::error::Error for MailboxError {}

/// A shard's mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
    wake: OwnedFd,
    commands_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    commands: VecDeque<Command>,
    stopped: bool,
}

impl Mailbox {
    /// A mailbox for at most `commands_max` waiting commands.
    ///
    /// # Errors
    /// The system's, when it has no descriptor left for the wake-up.
    pub(crate) fn new(commands_max: usize) -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { inner: Mutex::default(), wake, commands_max })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a command in and wakes the shard if it has none waiting already.
    ///
    /// # Errors
    /// [`MailboxError`]; the command is dropped.
    pub(crate) fn push(&self, command: Command) -> Result<(), MailboxError> {
        let mut inner = self.lock();
        if inner.stopped {
            return Err(MailboxError::Stopped);
        }
        // Drain and Stop must get through whatever waits.
        let bounded = !matches!(command, Command::Drain { .. } | Command::Stop);
        if bounded && inner.commands.len() >= self.commands_max {
            return Err(MailboxError::Full);
        }
        inner.commands.push_back(command);
        let first = inner.commands.len() == 1;
        drop(inner);
        if first {
            self.ring();
        }
        Ok(())
    }

    /// Takes the wake-up and all commands that wait. In this order: what comes in between rings
    /// again, and then the shard looks once more than it need.
    #[must_use]
    pub(crate) fn take(&self) -> VecDeque<Command> {
        let mut counter = [0; 8];
        // Fails when nothing was signalled, which is as good.
        let _ = rustix::io::read(&self.wake, &mut counter);
        std::mem::take(&mut self.lock().commands)
    }

    /// Refuses everything from now on.
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopped = true;
        inner.commands.clear();
    }

    /// Becomes readable when commands wait.
    #[must_use]
    pub(crate) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Bell for Mailbox {
    fn ring(&self) {
        // The only error is a counter at its maximum, and then the shard is awake anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_but_stop_always_gets_in() {
        let mailbox = Mailbox::new(1).unwrap();
        let limits = || Command::SetLimits(Box::default());
        assert_eq!(mailbox.push(limits()), Ok(()));
        assert_eq!(mailbox.push(limits()), Err(MailboxError::Full));
        assert_eq!(mailbox.push(Command::Stop), Ok(()));
        assert_eq!(mailbox.take().len(), 2);
        mailbox.stop();
        assert_eq!(mailbox.push(Command::Drain { refuse: true }), Err(MailboxError::Stopped));
    }
}
