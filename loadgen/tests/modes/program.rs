//! Runs the binary, for a bounded time.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A run takes a few seconds; a machine that is busy takes longer.
const TIME_MAX: Duration = Duration::from_secs(120);

/// What a run left.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// The result, of a run with `--json -`.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

/// Runs `ringload` with these words.
pub(crate) fn ringload(words: &[&str]) -> Finished {
    ringload_with(&[], words)
}

/// Runs `ringload` with these variables and words.
pub(crate) fn ringload_with(variables: &[(&str, &str)], words: &[&str]) -> Finished {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringload"))
        .envs(variables.iter().copied())
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Results are longer than what a pipe holds.
    let (stdout, stderr) = (read(child.stdout.take()), read(child.stderr.take()));
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > TIME_MAX {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
    let status = child.wait().unwrap();
    Finished { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Reads a pipe to its end.
fn read(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || std::io::read_to_string(pipe.unwrap()).unwrap())
}
