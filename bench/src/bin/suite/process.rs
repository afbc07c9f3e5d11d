//! Child processes that end in time, whatever happens to this one's plans.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// A server is expected to listen within this time.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A running server; it is killed when this is dropped.
pub(crate) struct RunningServer {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl RunningServer {
    /// Starts what `command` makes of the address to listen on, and waits until it does.
    pub(crate) fn start(command: impl FnOnce(SocketAddr) -> Command) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = command(address);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let mut server = Self { child, address };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{program} ended at once: {status}").into());
            }
            if Instant::now() > deadline {
                return Err(format!("{program} does not listen").into());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(server)
    }

    /// The process, as `/proc` names it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // Both fail only if the process has ended by itself, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end. It is killed, and an error returned, if that takes longer than
/// `time_max`; what it printed is in the error if it failed.
pub(crate) fn run_to_end(command: &mut Command, time_max: Duration) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let deadline = Instant::now() + time_max;
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() {
                Ok(())
            } else {
                Err(format!("{program} failed: {status}").into())
            };
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(format!("{program} did not end within {time_max:?}").into());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
