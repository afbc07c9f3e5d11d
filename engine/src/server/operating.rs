//! What an operator adds to a server: inherited sockets, hand-over, the admin address; and the
//! threads for them, which run beside the shards and touch no connection.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::{self, JoinHandle};

use super::admin::{Admin, Subject};
use super::builder::ServerBuilder;
use super::controller::Controller;
use super::error::{Result, SetupError};
use super::handover::Successor;
use super::running::Running;

impl ServerBuilder {
    /// Takes listening TCP or Unix sockets that another process has made, a service manager for instance.
    /// Calls of [`listen`](Self::listen) and [`admin`](Self::admin) from here on use those of their
    /// address instead of making some. Shards take them in turn; if there are fewer than shards,
    /// some share one, and if there are more, some take several.
    ///
    /// # Errors
    /// [`SetupError::NotListening`].
    pub fn inherit(mut self, sockets: impl IntoIterator<Item = OwnedFd>) -> Result<Self> {
        for socket in sockets {
            self.inherited.add(socket)?;
        }
        Ok(self)
    }

    /// Listens on every inherited socket that nobody listens on yet.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn listen_inherited(mut self) -> Result<Self> {
        for place in self.inherited.places() {
            self = self.listen(&place.to_string())?;
        }
        Ok(self)
    }

    /// Restarts without refusing or resetting anybody: if a server already runs with this path, its
    /// listening sockets are inherited now (see [`inherit`](Self::inherit)), and it drains as soon
    /// as the shards of this one serve. Then this server waits at the path for its own successor.
    /// Both must run as the same user. Sockets for addresses that this server does not listen on
    /// are closed. To be called before [`listen`](Self::listen) and [`admin`](Self::admin).
    ///
    /// # Errors
    /// [`SetupError::Handover`].
    pub fn handover(mut self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |source| SetupError::Handover { path: path.to_owned(), source };
        if self.is_dry {
            Successor::check(path).map_err(failed)?;
            return Ok(self);
        }
        let (successor, sockets) = Successor::ask(path).map_err(failed)?;
        self.successor = Some(successor);
        self.inherit(sockets)
    }

    /// Serves `/healthz`, `/readyz`, `/metrics` (Prometheus text) and `/debug/connections` (JSON;
    /// `?limit=N`) over plain HTTP on `HOST:PORT`, from a thread of its own. An address that others
    /// can reach needs an [`admin_token`](Self::admin_token).
    ///
    /// # Errors
    /// [`SetupError::BadAddress`], [`SetupError::Bind`]; starting fails with
    /// [`SetupError::AdminExposed`].
    pub fn admin(mut self, address: &str) -> Result<Self> {
        self.admin = Some(self.bind(address)?);
        Ok(self)
    }

    /// As [`admin`](Self::admin), but if the address cannot be had, the server starts without it and
    /// says so in the log: for an address that nobody has asked for.
    ///
    /// # Errors
    /// [`SetupError::BadAddress`]; starting fails with [`SetupError::AdminExposed`].
    pub fn admin_if_free(mut self, address: &str) -> Result<Self> {
        match self.bind(address) {
            Ok(listener) => self.admin = Some(listener),
            Err(error @ SetupError::Bind { .. }) => {
                tracing::warn!(%error, "no admin address: health and metrics are not served");
            }
            Err(error) => return Err(error),
        }
        Ok(self)
    }

    /// What `/metrics` and `/debug/connections` ask for, as `Authorization: Bearer TOKEN`. Without
    /// one they answer those who ask by address or as `localhost`.
    /// [`Controller::set_admin_token`] changes it.
    pub fn admin_token(mut self, token: impl Into<String>) -> Self {
        self.admin_token = Some(token.into());
        self
    }

    /// Starts what runs beside the shards, now that they serve. `sockets` are copies of all that
    /// is listened on, for a successor.
    pub(super) fn start_beside(
        self,
        running: &mut Running,
        mut sockets: Vec<OwnedFd>,
    ) -> Result<()> {
        let controller = running.controller();
        let driver = running.driver();
        if let Some(listener) = self.admin {
            let address = listener.address;
            let failed = |source| SetupError::Bind { address, source };
            let socket = listener.into_socket()?;
            if self.successor.is_some() {
                sockets.push(socket.try_clone().map_err(failed)?);
            }
            let subject = Subject { controller: controller.clone(), driver };
            running.beside.admin = Some(Admin::start(socket, address, subject).map_err(failed)?);
            tracing::info!("admin on http://{address}/");
        }
        if let Some(successor) = self.successor {
            let path = successor.path().to_owned();
            let failed = |source| SetupError::Handover { path, source };
            *controller.sockets() = sockets;
            let predecessor = successor.finish().map_err(failed.clone())?;
            let serve = move || predecessor.serve(&controller);
            let thread = thread::Builder::new().name("handover".to_owned()).spawn(serve);
            running.beside.handover = Some(thread.map_err(failed)?);
        }
        Ok(())
    }
}

/// The threads of a server that are no shards.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) admin: Option<Admin>,
    /// Waits for a successor.
    pub(super) handover: Option<JoinHandle<()>>,
}

impl Beside {
    pub(super) fn end(self, controller: &Controller) {
        // The shards may have ended by themselves: then nobody has said that nothing is accepted.
        controller.stop();
        if let Some(admin) = self.admin {
            admin.end();
        }
        if let Some(handover) = self.handover {
            // A panic of it was printed, and nothing depends on it any more.
            let _ = handover.join();
        }
    }
}
