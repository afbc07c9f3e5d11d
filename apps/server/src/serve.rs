//! Runs a server from its start to its end: what was configured, what signals ask for. It handles
//! no connection.

use std::thread;

use ringsock::{Controller, Server, SetupError};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::apps::Apps;
use crate::cli::ServeArguments;
use crate::config::{self, Configuration, Said, Settings};
use crate::log;
use crate::plan::Plan;
use crate::reload::Reloader;
use crate::service::{self, Watchdog};
use crate::successor::Successor;

/// Serves echo at every path, or what the configuration mounts, until a signal has ended it.
pub(crate) fn serve(arguments: &ServeArguments, echo: bool) -> Result<(), String> {
    let settings = Settings::gather(&Said::by(arguments)?)?;
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
    let plan = Plan::make(Configuration::of(settings, apps, &config::from_disk)?)?;
    let level = log::begin(&plan.config.log_level, plan.config.log_format);
    let text = |error: SetupError| error.to_string();
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR2])
        .map_err(|error| format!("signals cannot be received: {error}"))?;
    let mut server = plan.describe(Server::builder(), service::passed_sockets()?)?;
    if arguments.test_tiny_buffers {
        server = server.tiny_buffers();
    }
    let running = plan.apps.start(server).map_err(text)?;
    let controller = running.controller();
    let with_successors = plan.config.handover.is_some();
    service::ready(with_successors);
    let foreign = &plan.settings.foreign;
    if !foreign.is_empty() {
        let variables = foreign.join(" ");
        tracing::info!(variables, "left alone: ours are RINGSOCK_SECTION__KEY");
    }
    let watchdog = Watchdog::start(&controller);
    let watcher = signals.handle();
    let handler = SignalHandler {
        reloader: Reloader::new(plan, level),
        arguments: arguments.clone(),
        successor: with_successors.then(|| Successor::new(&controller)),
        controller,
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

/// What signals need.
struct SignalHandler {
    reloader: Reloader,
    arguments: ServeArguments,
    controller: Controller,
    /// What starts the next server, if this one would hand over to it.
    successor: Option<Successor>,
}

impl SignalHandler {
    /// Does what signals ask for, until they are closed.
    fn obey(mut self, mut signals: Signals) {
        for signal in signals.forever() {
            match signal {
                SIGHUP => {
                    service::reloading();
                    self.reloader.reload(&self.arguments, &self.controller);
                    service::ready(self.successor.is_some());
                }
                SIGUSR2 => match &self.successor {
                    Some(successor) => successor.start(),
                    None => tracing::error!("no successor is started: it needs --handover"),
                },
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
