//! A server that runs: where it listens, how it is told to end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::choice::DriverInUse;
use super::error::{Result, SetupError};
use crate::handler::{Command, Mailbox, MailboxError, Outgoing};

/// A started server. Dropping it does not end it.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<io::Result<()>>>,
    controller: Controller,
    addresses: Vec<SocketAddr>,
    driver: DriverInUse,
}

impl Running {
    pub(super) fn new(
        threads: Vec<JoinHandle<io::Result<()>>>,
        controller: Controller,
        addresses: Vec<SocketAddr>,
        driver: DriverInUse,
    ) -> Self {
        Self { threads, controller, addresses, driver }
    }

    /// Where it listens, in the order of the calls of `listen`.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The driver that runs.
    #[must_use]
    pub fn driver(&self) -> DriverInUse {
        self.driver
    }

    /// A handle for other threads.
    #[must_use]
    pub fn controller(&self) -> Controller {
        self.controller.clone()
    }

    /// Waits until all shards have ended.
    ///
    /// # Errors
    /// The first shard that ended with an error.
    pub fn join(self) -> Result<()> {
        let mut outcome = Ok(());
        for (shard, thread) in self.threads.into_iter().enumerate() {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
            if let Err(source) = ended
                && outcome.is_ok()
            {
                outcome = Err(SetupError::Shard { shard, source });
            }
        }
        outcome
    }
}

/// Tells a running server what to do, from any thread.
#[derive(Clone, Debug)]
pub struct Controller {
    mailboxes: Vec<Arc<Mailbox>>,
}

impl Controller {
    pub(super) fn new(mailboxes: Vec<Arc<Mailbox>>) -> Self {
        Self { mailboxes }
    }

    /// Stops accepting and closes open connections with 1001; shards end when theirs are gone.
    pub fn drain(&self) {
        self.tell(|| Command::Drain);
    }

    /// Ends now; open connections are cut.
    pub fn stop(&self) {
        self.tell(|| Command::Stop);
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for mailbox in &self.mailboxes {
            // A shard that has ended already needs no telling.
            let _ = mailbox.push(command());
        }
    }

    /// Publishes to a topic's subscribers on every shard.
    ///
    /// # Errors
    /// The first shard's that did not take it; the others got it all the same.
    pub fn publish(
        &self,
        topic: &str,
        message: &impl Outgoing,
    ) -> std::result::Result<(), MailboxError> {
        let mut outcome = Ok(());
        for mailbox in &self.mailboxes {
            let pushed = mailbox.push(Command::Publish {
                topic: topic.to_owned(),
                kind: message.kind(),
                payload: message.bytes().to_vec(),
            });
            outcome = outcome.and(pushed);
        }
        outcome
    }
}
