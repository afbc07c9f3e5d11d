//! Connections that read slowly or not at all, on purpose. They do not use the engine, which reads
//! as fast as it can: one thread looks after plain sockets. It speaks ws:// only and understands
//! nothing of what it reads.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringsock::protocol::{FrameHeader, MessageKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::failure::{Failure, Phase};
use crate::target::Target;

/// Bytes that the kernel takes for a connection that does not read: little, so that the server
/// feels it soon.
const RECEIVE_BUFFER_BYTES: usize = 4096;
/// Time between two looks at the sockets.
const TICK: Duration = Duration::from_millis(20);
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer to the handshake.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Time at the end without a byte from anybody, after which who has not ended is still open. A
/// publisher has stopped by then, so this comes to an end.
const QUIET_MAX: Duration = Duration::from_millis(300);
/// Bytes read at once at the end.
const LAST_READ_BYTES: usize = 1 << 20;

/// How they behave.
#[derive(Clone, Debug)]
pub(crate) struct Sluggishness {
    pub(crate) connections: usize,
    /// Zero: they do not read.
    pub(crate) bytes_per_second: u64,
    /// Bytes of the messages that each of them sends, if they are to be answered.
    pub(crate) sends: Option<usize>,
    /// What each sends first.
    pub(crate) join: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    ends: AtomicBool,
    bytes_read: AtomicU64,
    ended: AtomicUsize,
}

/// What became of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) bytes_read: u64,
    /// Those that the server ended.
    pub(crate) ended: usize,
}

/// The slow connections.
#[derive(Debug)]
pub(crate) struct Sluggards {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Sluggards {
    /// Opens them all.
    pub(crate) fn start(target: &Target, manner: &Sluggishness) -> Result<Self, Failure> {
        let first = frame(MessageKind::Text, manner.join.as_deref().map(str::as_bytes));
        let message = manner.sends.map(|bytes| vec![b'x'; bytes]);
        let message = frame(MessageKind::Binary, message.as_deref());
        let mut all = Vec::new();
        for number in 0..manner.connections {
            let socket = open(target, number)?;
            let unsent = first.clone();
            all.push(Sluggard { socket, unsent, message: message.clone(), is_open: true });
        }
        let shared = Arc::new(Shared::default());
        let (own, bytes_per_second) = (Arc::clone(&shared), manner.bytes_per_second);
        let thread = thread::spawn(move || look_after(all, bytes_per_second, &own));
        Ok(Self { shared, thread })
    }

    /// Ends them; what became of them.
    pub(crate) fn end(self) -> Fate {
        self.shared.ends.store(true, Ordering::Relaxed);
        // A thread that panicked leaves counts that are as good as any.
        let _ = self.thread.join();
        Fate {
            bytes_read: self.shared.bytes_read.load(Ordering::Relaxed),
            ended: self.shared.ended.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug)]
struct Sluggard {
    socket: TcpStream,
    /// What is left of a frame that has been begun.
    unsent: Vec<u8>,
    /// Sent again and again, if it is not empty.
    message: Vec<u8>,
    is_open: bool,
}

/// A masked frame, or nothing.
fn frame(kind: MessageKind, payload: Option<&[u8]>) -> Vec<u8> {
    let Some(payload) = payload else { return Vec::new() };
    let header = FrameHeader {
        fin: true,
        compressed: false,
        opcode: kind.opcode(),
        // A mask of zeros leaves the payload as it is.
        mask: Some([0; 4]),
        payload_bytes: payload.len() as u64,
    };
    let (bytes, length) = header.encode();
    [&bytes[..length], payload].concat()
}

fn open(target: &Target, number: usize) -> Result<TcpStream, Failure> {
    let failed =
        |phase, error: std::io::Error| Failure::of_server(target, phase, &error.to_string());
    let mut socket = TcpStream::connect_timeout(&target.address(), HANDSHAKE_MAX)
        .map_err(|error| failed(Phase::Connect, error))?;
    // A size that the kernel does not like becomes the nearest that it does.
    let _ = set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES);
    let request = target.handshake_bytes(number)?;
    let handshake = |socket: &mut TcpStream| -> std::io::Result<Vec<u8>> {
        socket.set_read_timeout(Some(HANDSHAKE_MAX))?;
        socket.write_all(&request)?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
            socket.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        socket.set_nonblocking(true)?;
        Ok(head)
    };
    let head = handshake(&mut socket).map_err(|error| failed(Phase::Handshake, error))?;
    if !head.starts_with(b"HTTP/1.1 101") {
        let line = String::from_utf8_lossy(head.split(|&byte| byte == b'\r').next().unwrap_or(&[]));
        return Err(Failure::of_server(target, Phase::Handshake, &format!("it says {line}")));
    }
    Ok(socket)
}

fn look_after(mut all: Vec<Sluggard>, bytes_per_second: u64, shared: &Shared) {
    let budget = bytes_per_second as f64 * TICK.as_secs_f64();
    let mut saved = 0.0;
    while !shared.ends.load(Ordering::Relaxed) {
        saved += budget;
        let bytes = saved as usize;
        saved -= bytes as f64;
        for one in all.iter_mut().filter(|one| one.is_open) {
            one.send();
            one.read(bytes, shared);
            if one.is_open && one.has_ended() {
                one.end(shared);
            }
        }
        thread::sleep(TICK);
    }
    // What the server has ended is known only when all it had sent before is read.
    let (mut began, mut before) = (Instant::now(), shared.bytes_read.load(Ordering::Relaxed));
    while began.elapsed() < QUIET_MAX && all.iter().any(|one| one.is_open) {
        thread::sleep(TICK);
        all.iter_mut().filter(|one| one.is_open).for_each(|one| one.read(LAST_READ_BYTES, shared));
        let now = shared.bytes_read.load(Ordering::Relaxed);
        if now != before {
            (began, before) = (Instant::now(), now);
        }
    }
}

impl Sluggard {
    fn send(&mut self) {
        if self.unsent.is_empty() {
            self.unsent.clone_from(&self.message);
        }
        // What cannot be sent now is sent later or never; an end is found by reading.
        if let Ok(bytes) = self.socket.write(&self.unsent) {
            self.unsent.drain(..bytes);
        }
    }

    fn read(&mut self, mut bytes: usize, shared: &Shared) {
        let mut buffer = [0; 16 * 1024];
        while bytes > 0 {
            let room = bytes.min(buffer.len());
            match self.socket.read(&mut buffer[..room]) {
                Ok(0) => return self.end(shared),
                Ok(read) => {
                    bytes -= read;
                    shared.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.end(shared),
            }
        }
    }

    /// Whether the other side has ended it, which can be known without reading.
    fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().intersects(ends)
    }

    fn end(&mut self, shared: &Shared) {
        self.is_open = false;
        shared.ended.fetch_add(1, Ordering::Relaxed);
    }
}
