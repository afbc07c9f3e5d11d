//! How the threads of a fan-out hear of each other's messages: each tells the rings of all others
//! how many there were, once a turn.
//!
//! No message travels; what is owed for them is decided by each thread for its own connections.

use std::io;
use std::os::fd::RawFd;
use std::sync::{Barrier, Mutex};

use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};

/// Where threads leave the descriptors of their rings for each other.
pub(crate) struct Meeting {
    rings: Mutex<Vec<RawFd>>,
    complete: Barrier,
}

/// The rings of all other threads.
pub(crate) struct Neighbours {
    rings: Vec<RawFd>,
}

impl Meeting {
    /// A meeting of so many threads.
    pub(crate) fn of(threads: usize) -> Self {
        Self { rings: Mutex::new(Vec::with_capacity(threads)), complete: Barrier::new(threads) }
    }

    /// Waits until all threads have come with their ring.
    ///
    /// # Errors
    /// If another thread panicked here.
    pub(crate) fn join(&self, own: RawFd) -> io::Result<Neighbours> {
        let broken = |_| io::Error::other("another thread failed");
        self.rings.lock().map_err(broken)?.push(own);
        self.complete.wait();
        let rings = self.rings.lock().map_err(broken)?;
        Ok(Neighbours { rings: rings.iter().copied().filter(|&ring| ring != own).collect() })
    }
}

impl Neighbours {
    /// The operations that make `messages` appear in the other rings, as the result of a
    /// completion with `user_data`. They complete here, with the same, only when they fail.
    pub(crate) fn tell(&self, messages: u64, user_data: u64) -> impl Iterator<Item = Entry> {
        let messages = i32::try_from(messages).unwrap_or(i32::MAX);
        self.rings.iter().map(move |&ring| {
            let tell = opcode::MsgRingData::new(types::Fd(ring), messages, user_data, None);
            tell.build().user_data(user_data).flags(Flags::SKIP_SUCCESS)
        })
    }
}
