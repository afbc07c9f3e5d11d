//! A server that runs: where it listens, how it is told to end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::JoinHandle;

use super::choice::DriverInUse;
use super::controller::Controller;
use super::error::{Result, SetupError};
use super::operating::Beside;
use crate::handler::Publisher;

/// A started server. Dropping it does not end it.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<io::Result<()>>>,
    controller: Controller,
    addresses: Vec<SocketAddr>,
    unix_paths: Vec<PathBuf>,
    driver: DriverInUse,
    /// What runs beside the shards.
    pub(super) beside: Beside,
}

impl Running {
    pub(super) fn new(
        threads: Vec<JoinHandle<io::Result<()>>>,
        controller: Controller,
        addresses: Vec<SocketAddr>,
        unix_paths: Vec<PathBuf>,
        driver: DriverInUse,
    ) -> Self {
        Self { threads, controller, addresses, unix_paths, driver, beside: Beside::default() }
    }

    /// The ports it listens on, in the order of the calls of `listen`.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The Unix sockets it listens on, in the order of the calls of `listen`.
    #[must_use]
    pub fn unix_paths(&self) -> &[PathBuf] {
        &self.unix_paths
    }

    /// The driver that runs.
    #[must_use]
    pub fn driver(&self) -> DriverInUse {
        self.driver
    }

    /// Where the admin address is, if there is one.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.beside.admin.as_ref().map(|admin| admin.address)
    }

    /// A handle for other threads.
    #[must_use]
    pub fn controller(&self) -> Controller {
        self.controller.clone()
    }

    /// The handle that publishes to the server's topics from any thread.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.controller.publisher().clone()
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
        self.beside.end(&self.controller);
        outcome
    }
}
