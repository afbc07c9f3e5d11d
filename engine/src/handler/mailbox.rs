//! Commands from other threads to a shard: bounded, and with one wake-up for any number of
//! commands that arrive while the shard has not looked. It executes nothing.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::command_queue::{CommandBounds, CommandQueue};
use super::{Command, PeerError};
use crate::pubsub::Bell;

/// A shard's mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
    wake: OwnedFd,
    bounds: CommandBounds,
}

#[derive(Debug, Default)]
struct Inner {
    commands: CommandQueue,
    stopped: bool,
}

impl Mailbox {
    /// A mailbox in which so much may wait.
    ///
    /// # Errors
    /// The system's, when it has no descriptor left for the wake-up.
    pub(crate) fn new(bounds: CommandBounds) -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { inner: Mutex::default(), wake, bounds })
    }

    /// How much may wait.
    pub(crate) fn bounds(&self) -> CommandBounds {
        self.bounds
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a command in and wakes the shard if it has none waiting already.
    ///
    /// # Errors
    /// [`PeerError::Full`], and [`PeerError::Gone`] when the shard has ended; the command is
    /// dropped.
    pub(crate) fn push(&self, command: Command) -> Result<(), PeerError> {
        if self.insert(command)? {
            self.ring();
        }
        Ok(())
    }

    /// Puts a command in; whether the bell must be rung.
    fn insert(&self, command: Command) -> Result<bool, PeerError> {
        let mut inner = self.lock();
        if inner.stopped {
            return Err(PeerError::Gone);
        }
        match inner.commands.push(command, self.bounds) {
            true => Ok(inner.commands.len() == 1),
            false => Err(PeerError::Full),
        }
    }

    /// Takes the wake-up and all commands that wait. In this order: what comes in between rings
    /// again, and then the shard looks once more than it need.
    #[must_use]
    pub(crate) fn take(&self) -> VecDeque<Command> {
        self.silence();
        self.empty()
    }

    fn silence(&self) {
        let mut counter = [0; 8];
        // Fails when nothing was signalled, which is as good.
        let _ = rustix::io::read(&self.wake, &mut counter);
    }

    fn empty(&self) -> VecDeque<Command> {
        self.lock().commands.take()
    }

    /// Refuses everything from now on.
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopped = true;
        drop(inner.commands.take());
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
#[path = "mailbox_tests.rs"]
mod tests;
