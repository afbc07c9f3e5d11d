//! Tells the shards of a running server what to do and asks them how they are, from any thread. It
//! waits for no shard longer than it is told to.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::admin::AdminAccess;
use super::bell::Bell;
use super::error::{Result, SetupError};
use crate::handler::{Command, Mailbox, Publisher, ReportRequest, ShardReport};
use crate::limits::Limits;
use crate::tls::Tls;

/// A handle to a running server, from any thread.
#[derive(Clone, Debug)]
pub struct Controller {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    mailboxes: Vec<Arc<Mailbox>>,
    publisher: Publisher,
    /// What the process's file descriptors allow, whatever the limits say.
    connections_cap: usize,
    draining: AtomicBool,
    succeeded: AtomicBool,
    /// Rung when nothing more is to be accepted.
    drain_bell: Bell,
    /// Copies of the listening sockets, kept for a successor until nothing more is accepted.
    sockets: Mutex<Vec<OwnedFd>>,
    tls: Option<Tls>,
    admin_access: AdminAccess,
}

impl Controller {
    pub(super) fn new(
        mailboxes: Vec<Arc<Mailbox>>,
        publisher: Publisher,
        connections_cap: usize,
        tls: Option<Tls>,
        admin_access: AdminAccess,
    ) -> io::Result<Self> {
        let shared = Shared {
            mailboxes,
            publisher,
            connections_cap,
            draining: AtomicBool::new(false),
            succeeded: AtomicBool::new(false),
            drain_bell: Bell::new()?,
            sockets: Mutex::default(),
            tls,
            admin_access,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Stops accepting and closes open connections with 1001, spread over
    /// [`Limits::drain_window`]; handshakes that complete meanwhile are answered with 503. Shards
    /// end when theirs are gone. A second call ends them now.
    pub fn drain(&self) {
        self.begin_drain(true);
    }

    /// Drains for a successor that accepts in our place: whoever was accepted before is served.
    pub(super) fn drain_for_successor(&self) {
        self.shared.succeeded.store(true, Ordering::Relaxed);
        self.begin_drain(false);
    }

    fn begin_drain(&self, refuse: bool) {
        self.stop_accepting();
        self.tell(|| Command::Drain { refuse });
    }

    /// Ends now; open connections are cut.
    pub fn stop(&self) {
        self.stop_accepting();
        self.tell(|| Command::Stop);
    }

    fn stop_accepting(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.sockets().clear();
        self.shared.drain_bell.ring();
    }

    /// Rung when nothing more is to be accepted.
    pub(super) fn drain_bell(&self) -> &Bell {
        &self.shared.drain_bell
    }

    /// Whether it has been told to drain or to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Whether another process has taken over.
    pub(super) fn has_successor(&self) -> bool {
        self.shared.succeeded.load(Ordering::Relaxed)
    }

    /// The sockets kept for a successor.
    pub(super) fn sockets(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works within other limits from now on, open connections included. The bounds of
    /// mailboxes, inlets, patterns, histories and the names of topics stay as they were at the
    /// start, and `connections_max` at most what it could be then.
    ///
    /// # Errors
    /// [`SetupError::BadLimits`]: nothing has changed.
    pub fn set_limits(&self, mut limits: Limits) -> Result<()> {
        let share = limits.validate_share(self.shared.mailboxes.len());
        limits.validate().and(share).map_err(SetupError::BadLimits)?;
        limits.connections_max = limits.connections_max.min(self.shared.connections_cap);
        self.tell(|| Command::SetLimits(Box::new(limits.clone())));
        Ok(())
    }

    /// Reads the files of certificates and keys again, for the connections to come; see
    /// [`Tls::reload`]. Does nothing on a server without TLS.
    ///
    /// # Errors
    /// [`SetupError::Tls`]: nothing has changed.
    pub fn reload_tls(&self) -> Result<()> {
        self.shared.tls.as_ref().map_or(Ok(()), Tls::reload).map_err(SetupError::Tls)
    }

    /// Asks for another token at the admin address from now on, or for none; see
    /// [`ServerBuilder::admin_token`](crate::ServerBuilder::admin_token).
    ///
    /// # Errors
    /// [`SetupError::AdminExposed`]: nothing has changed.
    pub fn set_admin_token(&self, token: Option<String>) -> Result<()> {
        self.shared.admin_access.set_token(token)
    }

    pub(super) fn admin_access(&self) -> &AdminAccess {
        &self.shared.admin_access
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for mailbox in &self.shared.mailboxes {
            // A shard that has ended already needs no telling.
            let _ = mailbox.push(command());
        }
    }

    /// Asks every shard how it is, with at most `connections_max` connections of each listed.
    /// `None` for a shard that did not answer within `patience`: it has ended, or a callback keeps
    /// it from turning.
    #[must_use]
    pub fn reports(&self, patience: Duration, connections_max: usize) -> Vec<Option<ShardReport>> {
        let mut reports: Vec<Option<ShardReport>> = Vec::new();
        reports.resize_with(self.shared.mailboxes.len(), || None);
        let (answer, answers) = mpsc::channel();
        for (shard, mailbox) in self.shared.mailboxes.iter().enumerate() {
            let request = ReportRequest { shard, connections_max, answer: answer.clone() };
            // One that does not take it does not answer.
            let _ = mailbox.push(Command::Report(request));
        }
        drop(answer);
        let deadline = Instant::now() + patience;
        // The channel ends early when all have answered or are gone.
        while let Ok(report) =
            answers.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            let shard = report.shard;
            reports[shard] = Some(report);
        }
        reports
    }

    /// The handle that publishes to the server's topics from any thread.
    #[must_use]
    pub fn publisher(&self) -> &Publisher {
        &self.shared.publisher
    }
}
