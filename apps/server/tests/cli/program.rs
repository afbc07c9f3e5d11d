//! Runs the binary, for a short time or until told to end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Longest time anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The binary with these arguments, its streams in our hands.
pub(crate) fn ringsock(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringsock"));
    command.args(arguments);
    piped(command)
}

/// The same after `limits`, which are commands of the shell.
pub(crate) fn ringsock_with(limits: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let script = format!("{limits} && exec \"$0\" \"$@\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_ringsock")]).args(arguments);
    piped(command)
}

fn piped(mut command: Command) -> Command {
    command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE").env_remove("NOTIFY_SOCKET");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for a program that is expected to end by itself.
pub(crate) fn finish(mut command: Command) -> Output {
    let mut child = command.spawn().expect("the program can be started");
    let started = Instant::now();
    while child.try_wait().expect("a child can be asked").is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().expect("a child can be killed");
            panic!("it has not ended: {command:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("what it has written")
}

/// A program that ends with an error: the one line it writes. Nothing goes to its output.
pub(crate) fn failure(command: Command) -> String {
    let output = finish(command);
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert_eq!(output.stdout, b"", "{error}");
    let line = error.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "more than a line: {error}");
    assert!(line.starts_with("ringsock: "), "{line}");
    line.to_owned()
}

/// A server that runs until dropped.
pub(crate) struct Serving {
    child: Child,
    log: BufReader<ChildStderr>,
    pub(crate) address: SocketAddr,
    /// What it wrote before it served.
    pub(crate) greeting: String,
}

impl Serving {
    /// Waits until it says where it listens.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program can be started");
        let mut log = BufReader::new(child.stderr.take().expect("its errors are piped"));
        let (greeting, address) = greeting(&mut log);
        match address {
            Some(address) => Self { child, log, address, greeting },
            None => {
                let status = child.wait().expect("it has ended");
                panic!("{status} before it served: {greeting}");
            }
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        send_signal(self.child.id(), name);
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The address that follows `before` in what it wrote before it served.
    pub(crate) fn address_after(&self, before: &str) -> SocketAddr {
        let (_, rest) = self.greeting.split_once(before).expect("it says where");
        let (address, _) = rest.split_once('/').expect("a URL");
        address.parse().expect("an address")
    }

    /// Reads its log until a line has these words, and returns that line.
    pub(crate) fn wait_for_line(&mut self, words: &str) -> String {
        let (done, ended) = mpsc::channel::<()>();
        let id = self.child.id();
        // One that says nothing is ended, so that the test fails instead of hanging.
        let guard = thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                send_signal(id, "KILL");
            }
        });
        let mut read = String::new();
        let line = loop {
            let before = read.len();
            assert_ne!(self.log.read_line(&mut read).expect("UTF-8"), 0, "no '{words}' in {read}");
            if read[before..].contains(words) {
                break read[before..].to_owned();
            }
        };
        drop(done);
        guard.join().expect("the guard has ended");
        line
    }

    /// Waits for the end: the exit code, and what else it wrote.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let code = self.wait_for_end();
        let mut log = String::new();
        self.log.read_to_string(&mut log).expect("UTF-8");
        (code, log)
    }

    /// The same where others write to its log as well, so that it may go on.
    pub(crate) fn wait_silently(mut self) -> Option<i32> {
        self.wait_for_end()
    }

    fn wait_for_end(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "it has not ended");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A connection that has completed its handshake.
    pub(crate) fn connect(&self) -> TcpStream {
        self.connect_to("/")
    }

    /// A connection that has completed its handshake at this path.
    pub(crate) fn connect_to(&self, path: &str) -> TcpStream {
        let mut stream = self.raw();
        let head = upgrade(&mut stream, path).expect("an answer");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        stream
    }

    /// The answer to a plain request.
    pub(crate) fn get(&self, path: &str) -> String {
        get(self.address, path)
    }

    /// A connection without more.
    pub(crate) fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("patience is not zero");
        stream
    }
}

fn send_signal(id: u32, name: &str) {
    let arguments = [&format!("-{name}"), &id.to_string()];
    let sent = Command::new("kill").args(arguments).status().expect("kill can be run");
    assert!(sent.success());
}

/// What a server writes until it says where it listens, and that address.
fn greeting(log: &mut impl BufRead) -> (String, Option<SocketAddr>) {
    let mut text = String::new();
    loop {
        let before = text.len();
        if log.read_line(&mut text).expect("UTF-8") == 0 {
            return (text, None);
        }
        if let Some((_, rest)) = text[before..].split_once("listening on ws") {
            let (_, rest) = rest.split_once("://").expect("a URL");
            let (address, _) = rest.split_once('/').expect("a URL");
            let address = address.parse().expect("an address");
            return (text, Some(address));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Both fail when it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The answer to a plain request.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("patience is not zero");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    answer
}

/// Asks for an upgrade; the head of the answer, `None` if the connection ends instead.
pub(crate) fn request(stream: &mut (impl Read + Write)) -> Option<String> {
    upgrade(stream, "/")
}

/// The same at this path.
pub(crate) fn upgrade(stream: &mut (impl Read + Write), path: &str) -> Option<String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// Sends a text of up to 125 bytes and waits for its echo.
pub(crate) fn echo(stream: &mut (impl Read + Write), text: &str) {
    // The mask is zero: the payload stands there as it is.
    let header = [0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    stream.write_all(&[&header, text.as_bytes()].concat()).expect("it can be sent");
    let mut answer = vec![0; 2 + text.len()];
    stream.read_exact(&mut answer).expect("an echo");
    assert_eq!(&answer[2..], text.as_bytes());
}
