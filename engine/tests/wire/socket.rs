//! A server under test behind a TCP socket, in this process or another. Nothing here starts it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::row::Deadline;
use crate::subject::{Effort, Link, Received, Subject};

/// Longest time a segment may take to be accepted by the kernel.
const SEND_PATIENCE: Duration = Duration::from_secs(10);

/// A server at an address.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// All its deadlines, when they were shortened so that rows can wait for them.
    pub(crate) deadline: Option<Duration>,
    /// In how many ways inputs are cut.
    pub(crate) effort: Effort,
}

impl Subject for Server {
    fn connect(&self) -> Box<dyn Link + '_> {
        let stream = TcpStream::connect(self.address).expect("the server under test accepts");
        stream.set_nodelay(true).expect("a TCP socket can send at once");
        Box::new(Socket { stream: Some(stream), inbox: Vec::new() })
    }

    fn effort(&self) -> Effort {
        self.effort
    }

    fn deadline(&self, _deadline: Deadline) -> Option<Duration> {
        self.deadline
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(3)
    }
}

/// A client's socket; `None` once either side has torn it down.
struct Socket {
    stream: Option<TcpStream>,
    /// Received while a send had to wait: a server that does not get rid of its answers may stop
    /// reading.
    inbox: Vec<u8>,
}

impl Socket {
    /// Sends as much as goes at once and keeps what arrives meanwhile.
    fn send_some(stream: &mut TcpStream, inbox: &mut Vec<u8>, segment: &[u8]) -> SendProgress {
        match stream.write(segment) {
            Ok(bytes) => return SendProgress::Sent(bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted => return SendProgress::Sent(0),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return SendProgress::Refused,
            Err(_) => {}
        }
        let mut buffer = [0; 65_536];
        match stream.read(&mut buffer) {
            Ok(bytes) if bytes > 0 => inbox.extend_from_slice(&buffer[..bytes]),
            _ => thread::sleep(Duration::from_micros(100)),
        }
        SendProgress::Sent(0)
    }
}

enum SendProgress {
    Sent(usize),
    Refused,
}

impl Link for Socket {
    fn send(&mut self, mut segment: &[u8]) {
        let Some(stream) = &mut self.stream else { return };
        let started = Instant::now();
        stream.set_nonblocking(true).expect("a socket can be made non-blocking");
        while !segment.is_empty() && started.elapsed() < SEND_PATIENCE {
            match Self::send_some(stream, &mut self.inbox, segment) {
                SendProgress::Sent(bytes) => segment = &segment[bytes..],
                SendProgress::Refused => break,
            }
        }
        stream.set_nonblocking(false).expect("a socket can be made blocking");
    }

    fn settle(&mut self) {
        thread::sleep(Duration::from_millis(1));
    }

    fn finish_sending(&mut self) {
        if let Some(stream) = &self.stream {
            // Fails when the server was first, which is what the row then finds out.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .expect("a socket can be told to send RST");
        }
    }

    fn advance(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn receive(&mut self, patience: Duration) -> Received {
        if !self.inbox.is_empty() {
            return Received::Bytes(std::mem::take(&mut self.inbox));
        }
        let Some(stream) = &mut self.stream else { return Received::Ended };
        stream.set_read_timeout(Some(patience)).expect("patience is not zero");
        let mut buffer = vec![0; 65_536];
        match stream.read(&mut buffer) {
            Ok(0) => Received::Ended,
            Ok(bytes) => {
                buffer.truncate(bytes);
                Received::Bytes(buffer)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Received::Nothing,
                // A server that has lingered long enough resets the connection.
                _ => Received::Ended,
            },
        }
    }

    fn is_gone(&mut self) -> bool {
        // The first byte for a socket that is gone is answered with RST, which the second meets.
        self.send(b"?");
        self.settle();
        self.stream.as_mut().is_none_or(|stream| stream.write(b"?").is_err())
    }

    fn application_close_code(&self) -> Option<u16> {
        None
    }
}
