//! What a service manager is told and what it passes to us: systemd's protocols. Without one
//! nothing of this happens.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use listenfd::ListenFd;
use ringsock::Controller;
use sd_notify::NotifyState;

/// Listening sockets that the service manager passed (`LISTEN_FDS`, `LISTEN_PID`).
pub(crate) fn passed_sockets() -> Result<Vec<OwnedFd>, String> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for number in 0..passed.len() {
        let tcp = passed.take_tcp_listener(number).map(|socket| socket.map(OwnedFd::from));
        // One that is not taken stays where it is.
        let socket = tcp
            .or_else(|_| passed.take_unix_listener(number).map(|socket| socket.map(OwnedFd::from)));
        sockets.extend(socket.map_err(|error| {
            format!(
                "socket {number} of the service manager is no listener of ours: {error}; \
                 give ListenStream= with a port or a path"
            )
        })?);
    }
    Ok(sockets)
}

/// Tells the service manager something. When it does not listen any more, nobody needs to know.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// The server serves. With a hand-over the service has a new main process, which is this one.
pub(crate) fn ready(with_successors: bool) {
    let process = NotifyState::MainPid(std::process::id());
    match with_successors {
        true => tell(&[process, NotifyState::Ready]),
        false => tell(&[NotifyState::Ready]),
    }
}

/// The server drains.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The configuration is read again, until [`ready`] is told.
pub(crate) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// Tells a watchdog, if there is one, that every shard turns. One that does not is not reported
/// for, so that the service manager ends the server and starts it again. During a drain shards end
/// one by one, and how long that may take is another limit's.
#[derive(Debug)]
pub(crate) struct Watchdog {
    thread: JoinHandle<()>,
    end: Sender<()>,
}

impl Watchdog {
    pub(crate) fn start(controller: &Controller) -> Option<Self> {
        let patience = sd_notify::watchdog_enabled()?;
        // Asked for twice in that time, so that one late answer does no harm.
        let interval = (patience / 3).max(Duration::from_millis(1));
        let (end, ended) = mpsc::channel();
        let controller = controller.clone();
        let watch = move || {
            loop {
                let turning = controller.reports(interval, 0).iter().all(Option::is_some);
                if turning || controller.is_draining() {
                    tell(&[NotifyState::Watchdog]);
                } else {
                    tracing::error!(
                        "a shard does not turn: the watchdog is not told that all is well"
                    );
                }
                if ended.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(watch).ok()?;
        Some(Self { thread, end })
    }

    pub(crate) fn end(self) {
        drop(self.end);
        // A panic of it was printed, and there is nothing left to watch.
        let _ = self.thread.join();
    }
}
