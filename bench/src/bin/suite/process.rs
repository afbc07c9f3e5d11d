//! Child processes that end in time, whatever happens to this one's plans, and whose last words are
//! told when they fail.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::Result;

/// A server is expected to listen within this time.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Lines from the end of what a process printed, and characters of each, that are told.
const LAST_LINES: usize = 3;
const LINE_CHARACTERS_MAX: usize = 300;

/// A running server; it is killed when this is dropped.
pub(crate) struct RunningServer {
    child: Child,
    log: Log,
    pub(crate) address: SocketAddr,
}

impl RunningServer {
    /// Starts what `command` makes of the address to listen on, and waits until it does.
    pub(crate) fn start(command: impl FnOnce(SocketAddr) -> Command) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (child, log) = spawn(&mut command(address))?;
        let mut server = Self { child, log, address };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(server.log.blamed(&format!("ended at once, {status}")).into());
            }
            if Instant::now() > deadline {
                return Err(server.log.blamed("does not listen").into());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(server)
    }

    /// The process, as `/proc` names it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What went wrong under load, with how the server ended, if it did.
    pub(crate) fn explain(&mut self, error: &dyn std::error::Error) -> String {
        match self.child.try_wait() {
            Ok(Some(status)) => {
                format!("{}; {error}", self.log.blamed(&format!("ended, {status}")))
            }
            _ => error.to_string(),
        }
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
/// `time_max`; the end of what it printed is in the error if it failed.
pub(crate) fn run_to_end(command: &mut Command, time_max: Duration) -> Result<()> {
    let (mut child, log) = spawn(command)?;
    let deadline = Instant::now() + time_max;
    loop {
        if let Some(status) = child.try_wait()? {
            return match status.success() {
                true => Ok(()),
                false => Err(log.blamed(&format!("failed, {status}")).into()),
            };
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(log.blamed(&format!("did not end within {time_max:?}")).into());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn spawn(command: &mut Command) -> Result<(Child, Log)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let log = Log::new(program)?;
    let output = File::create(&log.path)?;
    let errors = output.try_clone()?;
    let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
    let child = child.map_err(|error| format!("{}: {error}", log.program))?;
    Ok((child, log))
}

/// What a process prints, in a file that goes with this value: a pipe that nobody reads would stop
/// the process once it is full.
struct Log {
    program: String,
    path: PathBuf,
}

impl Log {
    fn new(program: String) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringsock-suite-{}-{number}.log", std::process::id());
        Ok(Self { program, path: std::env::temp_dir().join(name) })
    }

    /// Says that the program did something, and what it printed last.
    fn blamed(&self, deed: &str) -> String {
        let printed = fs::read(&self.path).unwrap_or_default();
        let printed = String::from_utf8_lossy(&printed);
        let lines = printed.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut last: Vec<String> = lines.rev().take(LAST_LINES).map(shortened).collect();
        last.reverse();
        let program = self.program.rsplit('/').next().unwrap_or(&self.program);
        match last.is_empty() {
            true => format!("{program} {deed}, and said nothing"),
            false => format!("{program} {deed}, and said: {}", last.join(" / ")),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Nobody needs it any more; one that is left is small and in a folder for such files.
        let _ = fs::remove_file(&self.path);
    }
}

fn shortened(line: &str) -> String {
    line.chars().take(LINE_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_tells_the_last_lines_of_both_outputs() {
        let script = "seq 100; echo refused >&2; echo; echo 'beware  of me'; exit 3";
        let error = run_to_end(&mut shell(script), START_TIMEOUT).unwrap_err().to_string();
        assert_eq!(error, "sh failed, exit status: 3, and said: 100 / refused / beware  of me");
        assert!(run_to_end(&mut shell("true"), START_TIMEOUT).is_ok());
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let mut sleep = shell("echo tired; exec sleep 600");
        let error = run_to_end(&mut sleep, Duration::from_millis(300)).unwrap_err().to_string();
        assert!(error.starts_with("sh did not end within 300ms"), "{error}");
    }

    #[test]
    fn a_server_that_ends_or_is_not_there_is_told() {
        let start = |script: &str| {
            let started = RunningServer::start(|_| shell(script));
            started.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let error = start("echo 'port in use' >&2; exit 2");
        assert_eq!(error, "sh ended at once, exit status: 2, and said: port in use");
        assert_eq!(start("exit 2"), "sh ended at once, exit status: 2, and said nothing");
        let missing = RunningServer::start(|_| Command::new("/no/such/program")).err().unwrap();
        assert!(missing.to_string().contains("/no/such/program: No such file"), "{missing}");
    }
}
