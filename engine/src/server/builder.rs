//! The builder: collects what a server needs, then starts it.

use std::sync::{Arc, mpsc};
use std::thread;

use core_affinity::CoreId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::choice::{Cores, Driver, DriverInUse};
use super::error::{Result, SetupError};
use super::listener::Listener;
use super::running::{Controller, Running};
use crate::driver::ring::RingConfig;
use crate::handler::{Handler, Mailbox, Page, Pages};
use crate::limits::Limits;
use crate::shard::{self, CoreConfig, ShardDriver};

/// File descriptors a shard needs besides its connections.
const FILES_PER_SHARD: u64 = 16;
/// File descriptors the process needs besides its shards.
const FILES_BASE: u64 = 32;

/// A server; see [`Server::builder`].
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts to describe a server. Without further words it listens nowhere, has one shard on each
    /// core, picks the driver itself, and has the default [`Limits`].
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            listeners: Vec::new(),
            cores: Cores::All,
            driver: Driver::Auto,
            limits: Limits::default(),
            pages: Pages::default(),
            server_name: Some("ringsock".to_owned()),
            ring: RingConfig::default(),
            receive_bytes: None,
        }
    }
}

/// What a factory is told of the shard it makes a handler for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// Its number, from 0.
    pub shard: usize,
    /// How many there are.
    pub shards: usize,
    /// The core it is pinned to.
    pub core: usize,
}

/// A server being described.
#[derive(Debug)]
#[must_use]
pub struct ServerBuilder {
    listeners: Vec<Listener>,
    cores: Cores,
    driver: Driver,
    limits: Limits,
    pages: Pages,
    server_name: Option<String>,
    ring: RingConfig,
    receive_bytes: Option<usize>,
}

impl ServerBuilder {
    /// Listens on `HOST:PORT`, on every shard. Port 0 takes a free one; see
    /// [`Running::addresses`]. May be called more than once.
    ///
    /// # Errors
    /// [`SetupError::BadAddress`], [`SetupError::Bind`].
    pub fn listen(mut self, address: &str) -> Result<Self> {
        self.listeners.push(Listener::bind(address)?);
        Ok(self)
    }

    /// The cores that get a shard each. Default: all that this process may use.
    pub fn cores(mut self, cores: Cores) -> Self {
        self.cores = cores;
        self
    }

    /// The driver. Default: the data ring where it works, else epoll.
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    /// The bounds.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Answers plain HTTP requests for this path.
    pub fn page(mut self, path: impl Into<String>, page: Page) -> Self {
        self.pages.add(path.into(), page);
        self
    }

    /// The value of the `Server` header, or none. Default `ringsock`.
    pub fn server_name(mut self, name: Option<&str>) -> Self {
        self.server_name = name.map(str::to_owned);
        self
    }

    /// Receive buffers, queues and all else as small as can be, so that every resume path is
    /// taken all the time. For tests.
    #[doc(hidden)]
    pub fn tiny_buffers(mut self) -> Self {
        self.ring = RingConfig {
            submission_entries: 2,
            completion_entries: 8,
            receive_buffers: 4,
            receive_buffer_bytes: 256,
            registered_files: 8,
        };
        self.receive_bytes = Some(256);
        self
    }

    /// Starts the shards and returns when all of them serve. `factory` is called on each shard's
    /// own thread, so what it makes needs neither `Send` nor `Sync`.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn start<H, F>(mut self, factory: F) -> Result<Running>
    where
        H: Handler,
        F: Fn(ShardInfo) -> H + Send + Sync + 'static,
    {
        self.limits.validate().map_err(SetupError::BadLimits)?;
        let cores = self.cores.resolve()?;
        self.fit_files(cores.len())?;
        let driver = self.driver.resolve()?;
        let shard_driver = match driver {
            DriverInUse::Ring => ShardDriver::Ring(self.ring),
            DriverInUse::Epoll => ShardDriver::Epoll(self.receive_bytes),
        };
        let config = CoreConfig {
            limits: self.limits.clone(),
            pages: Arc::new(self.pages),
            server_name: self.server_name,
        };
        let factory = Arc::new(factory);
        let mailbox = || Mailbox::new(self.limits.mailbox_commands_max).map(Arc::new);
        let mailboxes: Vec<_> = cores
            .iter()
            .enumerate()
            .map(|(shard, _)| mailbox().map_err(|source| SetupError::Shard { shard, source }))
            .collect::<Result<_>>()?;
        let shard_sockets = |_| self.listeners.iter_mut().map(Listener::take_socket).collect();
        let sockets = cores.iter().map(shard_sockets).collect::<Result<Vec<Vec<_>>>>()?;
        let controller = Controller::new(mailboxes.clone());
        let (report, reports) = mpsc::channel();
        let mut threads = Vec::new();
        let shards = cores.iter().zip(mailboxes.into_iter().zip(sockets));
        for (shard, (&core, (mailbox, sockets))) in shards.enumerate() {
            let info = ShardInfo { shard, shards: cores.len(), core };
            let (factory, config, report) = (Arc::clone(&factory), config.clone(), report.clone());
            let others = StopOnFailure { controller: controller.clone(), armed: true };
            let run = move || {
                core_affinity::set_for_current(CoreId { id: core });
                let ready = report.clone();
                let ready = move || {
                    let _ = ready.send((shard, Ok(())));
                };
                let make = move || factory(info);
                let outcome = shard::run(make, config, shard_driver, sockets, mailbox, ready);
                match &outcome {
                    Ok(()) => others.disarm(),
                    Err(error) => {
                        tracing::error!(shard, %error, "a shard ended; the server ends with it");
                        let copy = std::io::Error::new(error.kind(), error.to_string());
                        let _ = report.send((shard, Err(copy)));
                    }
                }
                outcome
            };
            let name = format!("shard-{shard}");
            match thread::Builder::new().name(name).spawn(run) {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    controller.stop();
                    return Err(SetupError::Shard { shard, source });
                }
            }
        }
        drop(report);
        let addresses = self.listeners.iter().map(|listener| listener.address).collect();
        let running = Running::new(threads, controller, addresses, driver);
        for _ in &cores {
            let (shard, outcome) = reports.recv().unwrap_or_else(|_| {
                (
                    0,
                    Err(std::io::Error::other(
                        "it ended before it was ready: its factory panicked",
                    )),
                )
            });
            if let Err(source) = outcome {
                running.controller().stop();
                return Err(SetupError::Shard { shard, source });
            }
        }
        for address in running.addresses() {
            tracing::info!(%driver, shards = cores.len(), "listening on ws://{address}/");
        }
        Ok(running)
    }

    /// Starts, and serves until SIGTERM or SIGINT has drained the server: no more connections are
    /// accepted, open ones are closed with 1001. A second signal ends it at once.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn serve<H, F>(self, factory: F) -> Result<()>
    where
        H: Handler,
        F: Fn(ShardInfo) -> H + Send + Sync + 'static,
    {
        if self.listeners.is_empty() {
            return Err(SetupError::NoListener);
        }
        let failed = |source| SetupError::Shard { shard: 0, source };
        let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
        let running = self.start(factory)?;
        let controller: Controller = running.controller();
        let watcher = signals.handle();
        let thread = thread::spawn(move || {
            for (number, _signal) in signals.forever().enumerate() {
                match number {
                    0 => {
                        tracing::info!("draining: open connections are closed with 1001");
                        controller.drain();
                    }
                    _ => controller.stop(),
                }
            }
        });
        let outcome = running.join();
        watcher.close();
        let _ = thread.join();
        outcome
    }

    /// Raises the limit of open files as far as allowed, and lowers the limit of connections to
    /// what is left of it.
    fn fit_files(&mut self, shards: usize) -> Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // When it is refused, the present limit holds.
        let _ = setrlimit(Resource::Nofile, raised);
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let own = FILES_BASE + FILES_PER_SHARD * shards as u64;
        if allowed < own + shards as u64 {
            return Err(SetupError::TooFewFiles { allowed, needed: own + shards as u64 });
        }
        let spare = (allowed - own).min(allowed / 10 * 9).max(1);
        let share = usize::try_from(spare / shards as u64).unwrap_or(usize::MAX);
        self.limits.connections_max = self.limits.connections_max.min(share.max(1));
        Ok(())
    }
}

/// Ends the other shards when one fails or panics: a server that quietly serves with fewer cores
/// than it was given would be found out too late, and a supervisor starts a dead one again.
struct StopOnFailure {
    controller: Controller,
    armed: bool,
}

impl StopOnFailure {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for StopOnFailure {
    fn drop(&mut self) {
        if self.armed {
            self.controller.stop();
        }
    }
}
