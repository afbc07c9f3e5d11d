//! Starts the next server beside this one, so that it belongs to the same service. It hands nothing
//! over: whoever is started asks for that.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, io, thread};

use ringsock::Controller;

/// What concerns this process alone: a successor is watched by another number, and gets its sockets from
/// us.
const OWN_VARIABLES: [&str; 4] = ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The next server, once it is asked for.
pub(crate) struct Successor {
    controller: Controller,
    is_starting: Arc<AtomicBool>,
}

impl Successor {
    pub(crate) fn new(controller: &Controller) -> Self {
        Self { controller: controller.clone(), is_starting: Arc::default() }
    }

    /// Starts the program that has our name by now, as we were started. When it serves, it takes over
    /// and this server drains; if it cannot, this one serves on.
    pub(crate) fn start(&self) {
        if self.controller.is_draining() || self.is_starting.swap(true, Ordering::Relaxed) {
            tracing::warn!("no successor is started: there is one already, or this server ends");
            return;
        }
        match spawn() {
            Ok(child) => {
                tracing::info!(process = child.id(), "a successor is starting");
                let (controller, starting) = (self.controller.clone(), self.is_starting.clone());
                thread::spawn(move || watch(child, &controller, &starting));
            }
            Err(error) => {
                tracing::error!(%error, "no successor can be started; serving on");
                self.is_starting.store(false, Ordering::Relaxed);
            }
        }
    }
}

fn spawn() -> io::Result<Child> {
    let mut arguments = env::args_os();
    let program = arguments.next().ok_or_else(|| io::Error::other("we do not know our name"))?;
    let mut command = Command::new(program);
    for variable in OWN_VARIABLES {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null()).spawn()
}

/// Waits for a successor that fails. One that succeeds outlives us.
fn watch(mut child: Child, controller: &Controller, starting: &AtomicBool) {
    let ended = child.wait();
    starting.store(false, Ordering::Relaxed);
    if let (Ok(status), false) = (ended, controller.is_draining()) {
        tracing::error!(%status, "the successor ended before it took over; serving on");
    }
}
