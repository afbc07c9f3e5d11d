//! Runs a server from its start to its end: what was configured, what signals ask for. It handles
//! no connection.

use std::thread;

use ringsock::{Controller, Server, ServerBuilder, SetupError};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::apps::Apps;
use crate::cli::ServeArguments;
use crate::config::{self, Config};
use crate::log;
use crate::reload::Reloader;
use crate::service::{self, Watchdog};

/// Serves echo at every path, or what the configuration mounts, until a signal has ended it.
pub(crate) fn serve(arguments: &ServeArguments, echo: bool) -> Result<(), String> {
    let settings = config::gather(arguments)?;
    let (mounts, file) = (settings.mounts(), settings.file_name());
    let apps = match echo {
        true if mounts.is_empty() => Apps::Echo,
        true => {
            return Err(format!(
                "{file} mounts applications: use 'ringsock serve --config {file}'"
            ));
        }
        false => Apps::mounted(mounts, &file)?,
    };
    let config = Config::read(&settings, &apps.limits())?;
    let level = log::begin(&config.log_level, config.log_format);
    let text = |error: SetupError| error.to_string();
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| format!("signals cannot be received: {error}"))?;
    let mut server = builder(&config).policy(config.access.clone());
    if arguments.test_tiny_buffers {
        server = server.tiny_buffers();
    }
    if let Some(files) = &config.tls {
        server = server.tls(files.load()?);
    }
    let server = listen(server, &config)?;
    let running = apps.start(server).map_err(text)?;
    let controller = running.controller();
    service::ready(config.handover.is_some());
    if !settings.foreign.is_empty() {
        let variables = settings.foreign.join(" ");
        tracing::info!(variables, "left alone: ours are RINGSOCK_SECTION__KEY");
    }
    let watchdog = Watchdog::start(&controller);
    let watcher = signals.handle();
    let handler = SignalHandler {
        reloader: Reloader { settings, apps, access: config.access, level },
        arguments: arguments.clone(),
        controller,
        with_successors: config.handover.is_some(),
    };
    let thread = thread::spawn(move || handler.obey(signals));
    let outcome = running.join();
    watcher.close();
    // A panic of it was printed, and there is nothing left to be told.
    let _ = thread.join();
    if let Some(watchdog) = watchdog {
        watchdog.end();
    }
    outcome.map_err(text)
}

fn builder(config: &Config) -> ServerBuilder {
    let name = Some(config.server_name.as_str()).filter(|name| !name.is_empty());
    let server = Server::builder()
        .cores(config.cores.clone())
        .driver(config.driver)
        .limits(config.limits.clone())
        .latency(config.latency.clone())
        .trusted_proxies(config.proxies.clone())
        .server_name(name);
    let server = match config.deflate {
        Some(deflate) => server.deflate(deflate),
        None => server,
    };
    match &config.admin_token {
        Some(token) => server.admin_token(token),
        None => server,
    }
}

/// Listens: first come the sockets of a predecessor and of the service manager.
fn listen(mut server: ServerBuilder, config: &Config) -> Result<ServerBuilder, String> {
    let text = |error: SetupError| error.to_string();
    let passed = service::passed_sockets()?;
    let has_passed = !passed.is_empty();
    server = server.inherit(passed).map_err(text)?;
    if let Some(path) = &config.handover {
        server = server.handover(path).map_err(text)?;
    }
    if let Some(address) = &config.admin {
        server = server.admin(address).map_err(text)?;
    }
    if has_passed && config.listen.is_empty() {
        return server.listen_inherited().map_err(text);
    }
    for address in config.listen_or_default() {
        server = server.listen(&address).map_err(text)?;
    }
    Ok(server)
}

/// What signals need.
struct SignalHandler {
    reloader: Reloader,
    arguments: ServeArguments,
    controller: Controller,
    with_successors: bool,
}

impl SignalHandler {
    /// Does what signals ask for, until they are closed.
    fn obey(mut self, mut signals: Signals) {
        for signal in signals.forever() {
            match signal {
                SIGHUP => {
                    service::reloading();
                    self.reloader.reload(&self.arguments, &self.controller);
                    service::ready(self.with_successors);
                }
                _ if self.controller.is_draining() => {
                    tracing::info!("ending now: open connections are cut");
                    self.controller.stop();
                }
                _ => {
                    service::stopping();
                    tracing::info!("draining: open connections are closed with 1001");
                    self.controller.drain();
                }
            }
        }
    }
}
