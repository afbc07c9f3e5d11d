//! The builder: collects what a server needs, then starts it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use core_affinity::CoreId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::admin::AdminAccess;
use super::choice::{Cores, Driver, DriverInUse};
use super::controller::Controller;
use super::error::{Result, SetupError};
use super::handover::Successor;
use super::inherited::Inherited;
use super::listener::Listener;
use super::mounting::Routes;
use super::running::Running;
use super::topics::Topics;
use super::tuning::{ends_records, tune_listeners, tune_ring};
use super::unix_socket::UnixListener;
use crate::driver::ring::RingConfig;
use crate::handler::{CommandBounds, Handler, Mailbox, Publisher, Site};
use crate::latency::Latency;
use crate::limits::Limits;
use crate::protocol::deflate::Deflate;
use crate::pubsub::{Bell, Exchange};
use crate::shard::{self, CoreConfig, EpollConfig, ShardDriver};
use crate::tls::Tls;

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
            unix_listeners: Vec::new(),
            inherited: Inherited::default(),
            is_dry: false,
            successor: None,
            admin: None,
            admin_token: None,
            cores: Cores::All,
            driver: Driver::Auto,
            limits: Limits::default(),
            latency: Latency::default(),
            site: Site::default(),
            routes: Routes::default(),
            server_name: Some("ringsock".to_owned()),
            deflate: None,
            topics: Topics::default(),
            tls: None,
            ring: RingConfig::default(),
            receive_bytes: None,
            connections_cap: usize::MAX,
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
    unix_listeners: Vec<UnixListener>,
    pub(super) inherited: Inherited,
    /// Addresses are looked at and not bound.
    pub(super) is_dry: bool,
    pub(super) successor: Option<Successor>,
    pub(super) admin: Option<Listener>,
    pub(super) admin_token: Option<String>,
    cores: Cores,
    driver: Driver,
    limits: Limits,
    latency: Latency,
    pub(super) site: Site,
    pub(super) routes: Routes,
    server_name: Option<String>,
    deflate: Option<Deflate>,
    pub(super) topics: Topics,
    tls: Option<Tls>,
    ring: RingConfig,
    receive_bytes: Option<usize>,
    connections_cap: usize,
}

impl ServerBuilder {
    /// Listens on `HOST:PORT`, on every shard. Port 0 takes a free one; see
    /// [`Running::addresses`]. May be called more than once.
    ///
    /// `unix:/path` listens on a Unix socket that the owner and the group may use,
    /// `unix:/path,mode=666` on one for everybody. One that is left over from a server that was
    /// killed is replaced, and the name is removed when the server ends.
    ///
    /// ```no_run
    /// # fn main() -> ringsock::Result<()> {
    /// let server = ringsock::Server::builder()
    ///     .listen("127.0.0.1:9001")?
    ///     .listen("unix:/run/chat/chat.sock")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SetupError::BadAddress`], [`SetupError::Bind`], [`SetupError::BindUnix`].
    pub fn listen(mut self, address: &str) -> Result<Self> {
        match address.strip_prefix("unix:") {
            Some(path) if self.is_dry => UnixListener::check(path)?,
            Some(path) => {
                let listener = UnixListener::bind(path, &mut self.inherited)?;
                self.unix_listeners.push(listener);
            }
            None => {
                let listener = self.bind(address)?;
                self.listeners.push(listener);
            }
        }
        Ok(self)
    }

    pub(super) fn bind(&mut self, address: &str) -> Result<Listener> {
        match self.is_dry {
            true => Listener::unbound(address),
            false => Listener::bind(address, &mut self.inherited),
        }
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

    /// What to pay for latency. Default: nothing.
    pub fn latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// The value of the `Server` header, or none. Default `ringsock`.
    pub fn server_name(mut self, name: Option<&str>) -> Self {
        self.server_name = name.map(str::to_owned);
        self
    }

    /// Accepts permessage-deflate (RFC 7692) from clients that offer it. Default: declined, because
    /// compressing costs more than all else a server does with a message, and because the length of
    /// what mixes a secret with what a stranger chose tells of the secret (section 8).
    ///
    /// ```no_run
    /// # fn main() -> ringsock::Result<()> {
    /// use ringsock::{Deflate, Server};
    /// let server = Server::builder().listen("127.0.0.1:9001")?.deflate(Deflate::default());
    /// # Ok(())
    /// # }
    /// ```
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.deflate = Some(deflate);
        self
    }

    /// Speaks TLS on every address, and nothing else. Default: plain.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
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
            ..RingConfig::default()
        };
        self.receive_bytes = Some(256);
        self
    }

    /// No multishot operations, as on kernels before 6.8. For tests.
    #[doc(hidden)]
    pub fn one_shot_operations(mut self) -> Self {
        self.ring.multishot = false;
        self
    }

    /// Makes what follows a rehearsal: addresses are looked at and not bound, nothing is taken over
    /// from a predecessor, and [`check`](Self::check) tells whether all of it could start.
    ///
    /// ```
    /// # use ringsock::{Conn, Handler, Message, Server};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type State = ();
    /// #     fn on_message(&mut self, _: &mut Conn<'_, ()>, _: Message<'_>) {}
    /// # }
    /// let server = Server::builder().dry_run().listen("0.0.0.0:443")?.route("chat", |_shard| Echo);
    /// assert!(server.check().unwrap_err().to_string().contains("'chat' does not begin with /"));
    /// # Ok::<(), ringsock::SetupError>(())
    /// ```
    pub fn dry_run(mut self) -> Self {
        self.is_dry = true;
        self
    }

    /// Whether it could start, as far as that can be told without starting: paths, limits, cores, a
    /// driver that is demanded, an admin address without a token. A start begins with the same.
    ///
    /// # Errors
    /// What starting would fail with.
    pub fn check(&self) -> Result<()> {
        self.check_paths()?;
        self.verify()?;
        match self.driver {
            Driver::Ring => self.driver.resolve().map(drop),
            Driver::Auto | Driver::Epoll => Ok(()),
        }
    }

    /// Looks at what is described, and resolves it.
    fn verify(&self) -> Result<(Vec<usize>, AdminAccess)> {
        self.limits.validate().map_err(SetupError::BadLimits)?;
        self.latency.validate().map_err(SetupError::BadLimits)?;
        if let Some(Err(reason)) = self.deflate.map(|deflate| deflate.validate()) {
            return Err(SetupError::BadLimits(reason));
        }
        self.topics.rules.validate().map_err(SetupError::BadLimits)?;
        let cores = self.cores.resolve()?;
        if cores.len() > Exchange::SHARDS_MAX {
            return Err(SetupError::TooManyCores { most: Exchange::SHARDS_MAX });
        }
        self.limits.validate_share(cores.len()).map_err(SetupError::BadLimits)?;
        let admin = self.admin.as_ref().map(|listener| listener.address);
        Ok((cores, AdminAccess::new(admin, self.admin_token.clone())?))
    }

    pub(super) fn start_shards<H, F>(mut self, factory: F) -> Result<Running>
    where
        H: Handler,
        F: Fn(ShardInfo) -> H + Send + Sync + 'static,
    {
        let (cores, admin_access) = self.verify()?;
        self.fit_files(cores.len())?;
        let driver = self.driver.resolve()?;
        tune_ring(&self.latency, driver, &mut self.ring);
        let shard_driver = match driver {
            DriverInUse::Ring => ShardDriver::Ring(self.ring),
            DriverInUse::Epoll => ShardDriver::Epoll(EpollConfig {
                receive_bytes: self.receive_bytes,
                ends_records: ends_records(&self.latency),
            }),
        };
        let factory = Arc::new(factory);
        let bounds = CommandBounds::of(&self.limits);
        let mailbox = || Mailbox::new(bounds).map(Arc::new);
        let mailboxes: Vec<_> = cores
            .iter()
            .enumerate()
            .map(|(shard, _)| mailbox().map_err(|source| SetupError::Shard { shard, source }))
            .collect::<Result<_>>()?;
        let failed = |source| SetupError::Shard { shard: 0, source };
        let bells = mailboxes.iter().map(|mailbox| Arc::clone(mailbox) as Arc<dyn Bell>);
        let rules = std::mem::take(&mut self.topics.rules);
        let exchange = Arc::new(Exchange::new(bells, rules, &self.limits));
        if let Some(deflate) = &self.deflate {
            exchange.set_compression(deflate);
        }
        let config = CoreConfig {
            limits: self.limits.clone(),
            site: Arc::new(std::mem::take(&mut self.site)),
            server_name: self.server_name.take(),
            deflate: self.deflate,
            tls: self.tls.clone(),
            exchange: Arc::clone(&exchange),
            addresses: Arc::default(),
            started: Instant::now(),
            shard: 0,
            shards: cores.len(),
        };
        let publisher = Publisher::new(Arc::clone(&exchange));
        if let Some(backend) = self.topics.make_backend(&publisher) {
            exchange.set_backend(backend);
        }
        let (tls, cap) = (self.tls.clone(), self.connections_cap);
        let controller = Controller::new(mailboxes.clone(), publisher, cap, tls, admin_access);
        let controller = controller.map_err(failed)?;
        let sockets = self.deal_sockets(cores.len())?;
        tune_listeners(&self.latency, &sockets);
        let copies = match &self.successor {
            Some(successor) => copies_of(&sockets)
                .map_err(|source| SetupError::Handover { path: successor.path().into(), source })?,
            None => Vec::new(),
        };
        let (report, reports) = mpsc::channel();
        let mut threads = Vec::new();
        let shards = cores.iter().zip(mailboxes.into_iter().zip(sockets));
        for (shard, (&core, (mailbox, sockets))) in shards.enumerate() {
            let info = ShardInfo { shard, shards: cores.len(), core };
            let config = CoreConfig { shard, ..config.clone() };
            let (factory, report) = (Arc::clone(&factory), report.clone());
            let names: Vec<_> = self.unix_listeners.iter().map(UnixListener::name).collect();
            let others = StopOnFailure { controller: controller.clone(), armed: true };
            let run = move || {
                if !core_affinity::set_for_current(CoreId { id: core }) {
                    tracing::warn!(
                        shard,
                        core,
                        "the thread of a shard could not be tied to its core"
                    );
                }
                let ready = report.clone();
                let ready = move || {
                    let _ = ready.send((shard, Ok(())));
                };
                let make = move || factory(info);
                // The name of a Unix socket goes with the last shard that accepts from it.
                let _names = names;
                let outcome = shard::run(make, config, shard_driver, sockets, mailbox, ready);
                match &outcome {
                    Ok(()) => others.disarm(),
                    Err(error) => {
                        tracing::error!(shard, %error, "a shard ended; the server ends with it");
                        let copy = io::Error::new(error.kind(), error.to_string());
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
        let paths = self.unix_listeners.iter().map(|listener| listener.path().to_owned()).collect();
        let mut running = Running::new(threads, controller, addresses, paths, driver);
        for _ in &cores {
            let (shard, outcome) = reports.recv().unwrap_or_else(|_| {
                (0, Err(io::Error::other("it ended before it was ready: its factory panicked")))
            });
            if let Err(source) = outcome {
                running.controller().stop();
                return Err(SetupError::Shard { shard, source });
            }
        }
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        if let Err(error) = self.start_beside(&mut running, copies) {
            running.controller().stop();
            return Err(error);
        }
        for address in running.addresses() {
            tracing::info!(%driver, shards = cores.len(), "listening on {scheme}://{address}/");
        }
        for path in running.unix_paths() {
            tracing::info!(%driver, shards = cores.len(), "listening on unix:{}", path.display());
        }
        Ok(running)
    }

    /// Each shard's sockets.
    fn deal_sockets(&mut self, shards: usize) -> Result<Vec<Vec<OwnedFd>>> {
        let mut sockets: Vec<Vec<OwnedFd>> = Vec::new();
        sockets.resize_with(shards, Vec::new);
        for listener in &mut self.listeners {
            for (own, dealt) in sockets.iter_mut().zip(listener.take_sockets(shards)?) {
                own.extend(dealt);
            }
        }
        for listener in &mut self.unix_listeners {
            for (own, dealt) in sockets.iter_mut().zip(listener.take_sockets(shards)?) {
                own.extend(dealt);
            }
        }
        Ok(sockets)
    }

    /// Serves what `start` starts until SIGTERM or SIGINT has drained it.
    pub(super) fn serve_with(self, start: impl FnOnce(Self) -> Result<Running>) -> Result<()> {
        if self.listeners.is_empty() && self.unix_listeners.is_empty() {
            return Err(SetupError::NoListener);
        }
        let failed = |source| SetupError::Shard { shard: 0, source };
        let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
        let running = start(self)?;
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
        self.connections_cap = share.max(1);
        self.limits.connections_max = self.limits.connections_max.min(self.connections_cap);
        Ok(())
    }
}

fn copies_of(sockets: &[Vec<OwnedFd>]) -> io::Result<Vec<OwnedFd>> {
    sockets.iter().flatten().map(OwnedFd::try_clone).collect()
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
