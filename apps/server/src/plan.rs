//! From what was said to a server that could start. Whoever only wants to know whether it could goes
//! the same way, and nothing is started here.

use std::os::fd::OwnedFd;

use ringsock::{Server, ServerBuilder, SetupError};

use crate::apps::Apps;
use crate::config::{Access, Admin, Config, Configuration, Settings};

/// A server that could start.
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) apps: Apps,
    pub(crate) access: Access,
    pub(crate) config: Config,
}

impl Plan {
    /// Looks at the whole as a start does, without binding anything.
    pub(crate) fn make(configuration: Configuration) -> Result<Self, String> {
        let Configuration { settings, apps, access, config } = configuration;
        let plan = Self { settings, apps, access, config };
        let rehearsal = plan.describe(Server::builder().dry_run(), Vec::new())?;
        rehearsal.check().map_err(|error| error.to_string())?;
        Ok(plan)
    }

    /// The server with all that was said of it, and with the sockets that the service manager passes.
    pub(crate) fn describe(
        &self,
        server: ServerBuilder,
        passed: Vec<OwnedFd>,
    ) -> Result<ServerBuilder, String> {
        let config = &self.config;
        let name = Some(config.server_name.as_str()).filter(|name| !name.is_empty());
        let mut server = server
            .cores(config.cores.clone())
            .driver(config.driver)
            .limits(config.limits.clone())
            .latency(config.latency.clone())
            .trusted_proxies(config.proxies.clone())
            .server_name(name)
            .policy(self.access.clone());
        if config.deflates {
            server = server.deflate(config.deflate);
        }
        if let Some(token) = &config.admin_token {
            server = server.admin_token(token);
        }
        if let Some(files) = &config.tls {
            server = server.tls(files.load()?);
        }
        let server = self.apps.mount(server);
        self.listen(server, passed).map_err(|error| error.to_string())
    }

    /// Listens: first come the sockets of a predecessor and of the service manager.
    fn listen(
        &self,
        server: ServerBuilder,
        passed: Vec<OwnedFd>,
    ) -> Result<ServerBuilder, SetupError> {
        let config = &self.config;
        let has_passed = !passed.is_empty();
        let mut server = server.inherit(passed)?;
        if let Some(path) = &config.handover {
            server = server.handover(path)?;
        }
        server = match &config.admin {
            Admin::Off => server,
            Admin::Usual(address) => server.admin_if_free(address)?,
            Admin::At(address) => server.admin(address)?,
        };
        if has_passed && config.listen.is_empty() {
            return server.listen_inherited();
        }
        for address in config.listen_or_default() {
            server = server.listen(&address)?;
        }
        Ok(server)
    }
}
