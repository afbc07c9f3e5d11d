//! Counts all system calls of a process, its threads and those that these start, with `perf`. It is a
//! tracepoint that counts, which makes every call on the machine a little slower: what `/proc` tells
//! for nothing is counted elsewhere.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Failure;
use crate::procfs::ProcessSample;
use crate::server_process::Group;

const EVENT: &str = "raw_syscalls:sys_enter";
/// Time in which perf has to do what it is told.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Counts the calls of one process, again and again.
#[derive(Debug)]
pub(crate) struct SystemCalls {
    process: u32,
    /// Ready, or counting.
    perf: Option<Perf>,
}

impl SystemCalls {
    /// Gets ready to count those of a process and of all that it has started.
    pub(crate) fn attach(process: u32) -> Result<Self, Failure> {
        let perf = Perf::start(process)
            .map_err(|cause| Failure::usage(format!("--count-system-calls: {cause}")))?;
        Ok(Self { process, perf: Some(perf) })
    }

    /// Counts from now on.
    pub(crate) fn begin(&mut self) {
        let perf = self.perf.take().or_else(|| Perf::start(self.process).ok());
        self.perf = perf.and_then(|mut perf| perf.order("enable").is_ok().then_some(perf));
    }

    /// Counts no more. That is quick; to be told takes a while.
    pub(crate) fn pause(&mut self) {
        if let Some(perf) = &mut self.perf {
            // Where it has ended because the process has, it has told already.
            let _ = perf.order("disable");
        }
    }

    /// The calls that were counted; `None` where that cannot be told.
    pub(crate) fn end(&mut self) -> Option<u64> {
        self.perf.take().and_then(|perf| calls_in(&perf.last_words()))
    }
}

/// A perf that is attached to a process, and is ended when this is dropped.
#[derive(Debug)]
struct Perf {
    child: Child,
    orders: ChildStdin,
    answers: ChildStdout,
    words: ChildStderr,
    /// So that a second Ctrl-C ends it as well.
    _group: Group,
}

impl Perf {
    /// Starts one that is ready; in words why not.
    fn start(process: u32) -> Result<Self, String> {
        let sample = ProcessSample::of(process).map_err(|error| error.to_string())?;
        let processes: Vec<String> = sample.processes.iter().map(u32::to_string).collect();
        let child = Command::new("perf")
            .args(["stat", "-x", ",", "-e", EVENT, "-D", "-1", "--control", "fd:0,1", "-p"])
            .arg(processes.join(","))
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let mut child = child.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                "there is no perf here; Debian has it in the package linux-perf".to_owned()
            }
            _ => format!("perf: {error}"),
        })?;
        let group = Group::of(&child);
        let (Some(orders), Some(answers), Some(words)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("perf: it cannot be talked to".to_owned());
        };
        let mut perf = Self { child, orders, answers, words, _group: group };
        match perf.order("ping") {
            Ok(()) => Ok(perf),
            Err(error) => Err(format!(
                "perf cannot count those of process {process}: {}; it takes root, or CAP_PERFMON, a \
                 readable /sys/kernel/tracing and kernel.perf_event_paranoid at 1 or less",
                cause_in(&perf.last_words()).unwrap_or_else(|| error.to_string())
            )),
        }
    }

    /// Tells it something, and waits until it has done that.
    fn order(&mut self, word: &str) -> io::Result<()> {
        writeln!(self.orders, "{word}")?;
        let end = Instant::now() + ANSWER_MAX;
        let mut answer = Vec::new();
        while !answer.ends_with(b"ack\n") {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).ok();
            let mut ready = [PollFd::new(&self.answers, PollFlags::IN)];
            if poll(&mut ready, left.as_ref())? == 0 {
                return Err(io::Error::new(ErrorKind::TimedOut, "it does not answer"));
            }
            let mut byte = [0];
            self.answers.read_exact(&mut byte)?;
            answer.extend(byte);
        }
        Ok(())
    }

    /// Ends it; what it has said.
    fn last_words(mut self) -> String {
        self.end();
        let mut words = Vec::new();
        // What cannot be read was not said.
        let _ = self.words.read_to_end(&mut words);
        String::from_utf8_lossy(&words).into_owned()
    }

    fn end(&mut self) {
        // It tells what it has counted when it is interrupted.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let began = Instant::now();
        while began.elapsed() < ANSWER_MAX {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Perf {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

/// The count in a line such as `29,,raw_syscalls:sys_enter,565449,100.00,,`. Of a process that never
/// ran meanwhile nothing is counted, which is none.
fn calls_in(words: &str) -> Option<u64> {
    let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let line =
        words.lines().map(fields).find(|fields| fields.get(2).is_some_and(|f| f == EVENT))?;
    match line[0].as_str() {
        "<not counted>" => Some(0),
        count => count.parse().ok(),
    }
}

/// What perf says is wrong, of all that it says.
fn cause_in(words: &str) -> Option<String> {
    let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let marked = lines.iter().position(|line| line.starts_with("Error:"));
    let cause = match marked.map(|at| lines[at].trim_start_matches("Error:").trim()) {
        Some("") => lines.get(marked? + 1).copied(),
        Some(cause) => Some(cause),
        None => lines.first().copied(),
    };
    cause.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_other_words() {
        let told = |count: &str| {
            calls_in(&format!("Events disabled\nEvents enabled\n{count},,{EVENT},5,100.00,,\n"))
        };
        assert_eq!(told("111050"), Some(111_050));
        assert_eq!(told("<not counted>"), Some(0));
        assert_eq!(told("<not supported>"), None);
        assert_eq!(calls_in("Events disabled\n"), None);
    }

    #[test]
    fn the_cause_is_what_is_called_an_error_or_what_is_said_first() {
        for (words, cause) in [
            (
                "event syntax error\n \\_ x\n\nError:\tNo permissions to read y\nHint: z\n",
                Some("No permissions to read y"),
            ),
            (
                "Error:\nAccess to observability is limited.\nConsider\n",
                Some("Access to observability is limited."),
            ),
            (
                "\nProblems finding threads of monitor\n\n Usage: perf\n",
                Some("Problems finding threads of monitor"),
            ),
            ("", None),
        ] {
            assert_eq!(cause_in(words).as_deref(), cause);
        }
    }
}
