//! A server that is started for a run: pinned to its cores, waited for until it listens, and ended
//! afterwards with all that it has started. It is a process group of its own, so that Ctrl-C on a
//! terminal is for the load generator alone. What it prints is kept in a file and shown only when it
//! fails to start.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringsock::Cores;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::failure::Failure;
use crate::interrupt;
use crate::procfs::has_running;

/// Time until it must listen.
const START_MAX: Duration = Duration::from_secs(30);
/// Time to end in order.
const END_MAX: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Bytes from the end of what it printed that are shown.
const LOG_SHOWN_BYTES: usize = 600;

/// The groups of servers that run, and of what helps to watch them.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A server that runs; it is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    group: Group,
    log: PathBuf,
}

/// A process group that ends when the load generator is told twice to end.
#[derive(Debug)]
pub(crate) struct Group(Pid);

impl Group {
    /// The group that a child leads.
    pub(crate) fn of(leader: &Child) -> Self {
        let group = Pid::from_child(leader);
        lock_groups().push(group);
        Self(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        lock_groups().retain(|group| *group != self.0);
    }
}

/// Ends all groups without further ado.
pub(crate) fn kill_all() {
    for group in lock_groups().iter() {
        // Fails when it has just ended, which is what is wanted.
        let _ = kill_process_group(*group, Signal::KILL);
    }
}

fn lock_groups() -> MutexGuard<'static, Vec<Pid>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ServerProcess {
    /// Starts a command, split at spaces and quotes as a shell would, and waits until something
    /// listens at the address.
    pub(crate) fn start(
        command: &str,
        cores: Option<&Cores>,
        address: SocketAddr,
    ) -> Result<Self, Failure> {
        let failed = |cause: String| Failure::usage(format!("--server-cmd {command:?}: {cause}"));
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
            return Err(failed(format!("something listens on {address} already")));
        }
        let words = split(command).map_err(&failed)?;
        let (program, arguments) =
            words.split_first().ok_or_else(|| failed("there is no command".to_owned()))?;
        let log = std::env::temp_dir().join(format!(
            "ringload-server-{}-{}.log",
            std::process::id(),
            address.port()
        ));
        let output = File::create(&log).map_err(|error| failed(error.to_string()))?;
        let errors = output.try_clone().map_err(|error| failed(error.to_string()))?;
        let mut spawned = Command::new(program);
        spawned.args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = spawn_on(spawned, cores).map_err(|error| failed(error.to_string()))?;
        let group = Group::of(&child);
        let mut server = Self { child, group, log };
        server.wait_until_it_listens(address).map_err(failed)?;
        Ok(server)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_listens(&mut self, address: SocketAddr) -> Result<(), String> {
        let began = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended with {status}{}", self.last_words()));
            }
            if began.elapsed() > START_MAX || interrupt::is_interrupted() {
                let waited = began.elapsed().as_secs();
                let words = self.last_words();
                return Err(format!("nothing listens on {address} after {waited} s{words}"));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// The end of what it printed.
    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_SHOWN_BYTES)..]);
        match text.trim() {
            "" => String::new(),
            words => format!("; it said: {words}"),
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Fails when all have just ended, which is what is wanted.
        let _ = kill_process_group(self.group.0, Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < END_MAX && self.is_alive() {
            thread::sleep(POLL_INTERVAL);
        }
        let _ = kill_process_group(self.group.0, Signal::KILL);
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

impl ServerProcess {
    /// Whether it, or somebody that it has started, has not ended.
    fn is_alive(&mut self) -> bool {
        let has_ended = matches!(self.child.try_wait(), Ok(Some(_)) | Err(_));
        !has_ended || has_running(self.child.id())
    }
}

/// Spawns from a thread that is on these cores, because a child begins where its parent is.
fn spawn_on(mut command: Command, cores: Option<&Cores>) -> io::Result<Child> {
    let Some(Cores::List(cores)) = cores else { return command.spawn() };
    let mut set = CpuSet::new();
    cores.iter().filter(|&&core| core < CpuSet::MAX_CPU).for_each(|&core| set.set(core));
    let spawn = move || {
        sched_setaffinity(None, &set)?;
        command.spawn()
    };
    thread::spawn(spawn).join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

/// The words of a command line. Single and double quotes keep words together, a backslash takes
/// the next character as it is.
fn split(command: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = characters.next().ok_or("a backslash stands at its end")?;
                word.get_or_insert_default().push(next);
            }
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if quote.is_some() { Err("a quote is not closed".to_owned()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_a_shell_would() {
        for (command, words) in [
            (
                "ringsock echo --listen 127.0.0.1:9001",
                &["ringsock", "echo", "--listen", "127.0.0.1:9001"][..],
            ),
            ("sh -c 'sleep 1; exit 3'", &["sh", "-c", "sleep 1; exit 3"]),
            (r#"a "b \" c" d\ e '' x"y"z"#, &["a", "b \" c", "d e", "", "xyz"]),
            ("  ", &[]),
        ] {
            assert_eq!(split(command).unwrap(), words, "{command}");
        }
        assert!(split("a 'b").is_err() && split("a\\").is_err());
    }

    /// Starts something that does not listen, and listens in its place.
    fn start(command: &str) -> ServerProcess {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listening = thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            let listener = std::net::TcpListener::bind(address).unwrap();
            listener.accept().map(drop)
        });
        let server = ServerProcess::start(command, None, address).unwrap();
        listening.join().unwrap().unwrap();
        server
    }

    #[test]
    fn whatever_a_server_has_started_ends_with_it_and_soon() {
        for command in
            ["sleep 1000", "sh -c 'sleep 1000; true'", "sh -c 'sh -c \"sleep 1000 & wait\" & wait'"]
        {
            let server = start(command);
            let (group, process) = (server.group.0, server.id());
            assert_ne!(group, rustix::process::getpgrp(), "Ctrl-C is not for it");
            assert!(lock_groups().contains(&group) && has_running(process));
            let began = Instant::now();
            drop(server);
            assert!(began.elapsed() < END_MAX, "{command}");
            assert!(!lock_groups().contains(&group));
            assert!(!has_running(process), "{command}");
        }
    }

    #[test]
    fn a_server_that_ends_or_is_not_there_is_told_with_its_words() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let start = |command| ServerProcess::start(command, None, nobody).unwrap_err().to_string();
        let error = start("sh -c 'echo no room >&2; exit 3'");
        assert!(error.contains("exit status: 3; it said: no room"), "{error}");
        assert!(start("/no/such/program").contains("No such file"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap();
        let error = ServerProcess::start("true", None, taken).unwrap_err().to_string();
        assert!(error.contains("listens on"), "{error}");
    }
}
