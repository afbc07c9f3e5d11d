//! An open client connection. It moves bytes only while one of its functions is awaited: a program
//! that wants Pings answered keeps asking for the next message.

use std::io;
use std::time::{Duration, Instant};

use super::error::ClientError;
use super::inbox::Inbox;
use super::stream::Stream;
use crate::buffer::Payload;
use crate::connection::{
    ClientHandshake, ClosedBy, Connection, Millis, Phase, SendOutcome, Services,
};
use crate::handler::{Message, Outgoing};
use crate::limits::Limits;
use crate::protocol::deflate::DeflateAgreement;
use crate::protocol::{CloseCode, MessageKind};

/// Bytes asked from the kernel at once.
const RECEIVE_BYTES: usize = 16 * 1024;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The code: the server's, ours, 1005 when a Close frame had none, 1006 when there was none.
    pub code: CloseCode,
    /// The reason that came with it.
    pub reason: String,
    /// Who began it.
    pub by: ClosedBy,
}

/// A connection to a server; see [`Client`](super::Client).
///
/// Dropping it cuts the connection; [`close`](Self::close) ends it as RFC 6455 section 7 wants it.
#[derive(Debug)]
pub struct ClientSocket {
    stream: Stream,
    connection: Connection,
    services: Services,
    inbox: Inbox,
    buffer: Vec<u8>,
    /// The message lent by the latest `next`.
    current: Vec<u8>,
    started: Instant,
    shut: bool,
    /// We asked for the end.
    closing: bool,
    url: String,
}

impl ClientSocket {
    /// Shakes hands over a connected stream.
    pub(super) async fn open(
        stream: Stream,
        handshake: ClientHandshake,
        limits: Limits,
        url: String,
    ) -> Result<Self, ClientError> {
        let mut services = Services::new(limits, None);
        let connection = Connection::client(handshake, services.now, &mut services);
        let mut socket = Self {
            stream,
            connection,
            services,
            inbox: Inbox::default(),
            buffer: vec![0; RECEIVE_BYTES],
            current: Vec::new(),
            started: Instant::now(),
            shut: false,
            closing: false,
            url,
        };
        while !socket.inbox.open {
            if let Some(detail) = socket.inbox.refused.take() {
                return Err(ClientError::Handshake { url: socket.url, detail });
            }
            socket.step(true).await;
        }
        Ok(socket)
    }

    /// The subprotocol the server chose among those offered.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.inbox.subprotocol.as_deref()
    }

    /// What was agreed with the server on compression, if anything.
    #[must_use]
    pub fn compression(&self) -> Option<DeflateAgreement> {
        self.connection.compression()
    }

    /// How the connection ended, once it has.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.inbox.closed.as_ref()
    }

    /// Bytes queued and not yet taken by the kernel.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.connection.queued_bytes()
    }

    /// Sends [`Text`](crate::Text), [`Binary`](crate::Binary) or a received message. It returns when
    /// less than [`Limits::receive_pause_bytes`] wait for the kernel: what it queued leaves while
    /// this or any other function of the socket is awaited. Messages that arrive meanwhile are kept,
    /// up to the same number of bytes.
    ///
    /// # Errors
    /// [`ClientError::Closing`] after an end; why it ended is told by [`closed`](Self::closed).
    pub async fn send(&mut self, message: impl Outgoing) -> Result<(), ClientError> {
        self.read_clock();
        let compress = message.compress();
        let outcome = message.send_on(compress, &mut self.connection, &mut self.services);
        self.flush();
        if outcome != SendOutcome::Queued {
            return Err(ClientError::Closing { url: self.url.clone() });
        }
        let bytes_max = self.services.limits.receive_pause_bytes;
        while self.connection.queued_bytes() >= bytes_max && !self.is_over() {
            self.step(self.inbox.bytes() < bytes_max).await;
        }
        Ok(())
    }

    /// Sends a Ping with at most 125 bytes of payload. The Pong counts as a sign of life, nothing
    /// more.
    ///
    /// # Errors
    /// [`ClientError::Closing`] after an end.
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), ClientError> {
        self.read_clock();
        let outcome = self.connection.send_ping(payload, &mut self.services);
        self.flush();
        match outcome {
            SendOutcome::Queued => Ok(()),
            _ => Err(ClientError::Closing { url: self.url.clone() }),
        }
    }

    /// The next message; `None` after the closing handshake. Pings are answered meanwhile, and our
    /// own are sent. It may be dropped while it waits, and asked again, without losing anything.
    ///
    /// # Errors
    /// [`ClientError::Lost`] when the connection ended without a closing handshake.
    pub async fn next(&mut self) -> Result<Option<Message<'_>>, ClientError> {
        let Some((kind, vector)) = self.receive_next().await? else { return Ok(None) };
        self.services.pool.give(std::mem::replace(&mut self.current, vector));
        Ok(Some(Message::new(kind, Payload::Assembled(&mut self.current))))
    }

    async fn receive_next(&mut self) -> Result<Option<(MessageKind, Vec<u8>)>, ClientError> {
        loop {
            if let Some(message) = self.inbox.pop() {
                return Ok(Some(message));
            }
            if let Some(closed) = &self.inbox.closed {
                let orderly = match closed.by {
                    ClosedBy::Peer => true,
                    ClosedBy::Local => self.closing,
                    ClosedBy::Transport => false,
                };
                let Closed { code, reason, .. } = closed.clone();
                self.finish().await;
                return match orderly {
                    true => Ok(None),
                    false => Err(ClientError::Lost { url: self.url.clone(), code, reason }),
                };
            }
            self.step(true).await;
        }
    }

    /// Closes with this code and reason, and waits for the server's answer, at most
    /// [`Limits::close_timeout`]. Messages that arrive meanwhile are dropped. How it ended is told by
    /// [`closed`](Self::closed).
    pub async fn close(&mut self, code: CloseCode, reason: &str) {
        self.read_clock();
        self.closing = true;
        self.connection.close(code, reason, &mut self.services);
        self.finish().await;
    }

    /// Lets the connection come to its end.
    async fn finish(&mut self) {
        self.flush();
        while !self.is_over() {
            self.inbox.clear();
            self.step(true).await;
        }
    }

    fn is_over(&self) -> bool {
        let flushed = !self.stream.is_sending() && !self.connection.has_waiting();
        match self.connection.phase() {
            Phase::Ended => true,
            Phase::Flushing => flushed,
            _ => false,
        }
    }

    /// Sends what waits, waits for something to happen, and handles it.
    async fn step(&mut self, reading: bool) {
        self.flush();
        if self.is_over() {
            return;
        }
        let due = self.connection.next_deadline(&self.services);
        let millis = if self.services.now.reached(due) { 0 } else { due.since(self.services.now) };
        let waited = self.stream.ready(reading, Duration::from_millis(millis.into())).await;
        self.read_clock();
        if waited.is_err() {
            return self.connection.handle_end(true, &mut self.services, &mut self.inbox);
        }
        if reading {
            self.receive();
        }
        self.connection.handle_deadline(&mut self.services, &mut self.inbox);
        self.flush();
    }

    fn receive(&mut self) {
        let (connection, services) = (&mut self.connection, &mut self.services);
        match self.stream.receive(&mut self.buffer) {
            Ok(0) => connection.handle_end(false, services, &mut self.inbox),
            Ok(bytes) => {
                connection.handle_receive(&mut self.buffer[..bytes], services, &mut self.inbox);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => connection.handle_end(true, services, &mut self.inbox),
        }
    }

    /// Gives the kernel what it takes.
    fn flush(&mut self) {
        while self.connection.phase() != Phase::Ended {
            if !self.stream.is_sending() {
                match self.connection.poll_transmit(&mut self.services) {
                    Some(batch) => self.stream.begin(batch),
                    None => break,
                }
            }
            let before = self.stream.sent_bytes();
            match self.stream.send(&mut self.services.pool) {
                Ok(bytes) => self.connection.handle_transmitted(bytes, true, &mut self.services),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.stream.sent_bytes() > before {
                        // The peer reads on: nothing stalls.
                        self.connection.handle_transmitted(0, true, &mut self.services);
                    }
                    break;
                }
                Err(_) => {
                    self.connection.handle_end(true, &mut self.services, &mut self.inbox);
                }
            }
        }
        let flushed = !self.stream.is_sending() && !self.connection.has_waiting();
        if self.connection.phase() == Phase::Lingering && flushed && !self.shut {
            self.shut = true;
            self.stream.shut();
        }
    }

    fn read_clock(&mut self) {
        self.services.set_time(Millis(self.started.elapsed().as_millis() as u32));
    }
}
