//! A server that does no WebSocket work, over epoll: what the readiness interface of the kernel
//! costs at least.
//!
//! It parses no frame and unmasks nothing; see [`ringsock_bench::ledger`]. One thread, one
//! receive buffer for all connections, level-triggered: a receive that did not fill the buffer
//! has emptied the socket, so no call is spent on hearing that there is no more. With `--fan-out`,
//! what anybody sends is owed to everybody, gathered for all that was ready at once.

#![forbid(unsafe_code)]

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use clap::Parser;
use ringsock_bench::ledger::{Exchange, Ledger};
use ringsock_bench::listener::{allow_many_descriptors, announce, bind, pin};
use ringsock_bench::options::Common;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};

#[derive(Parser)]
#[command(about = "Answers byte counts over epoll: the kernel's limit, without WebSocket work")]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Size of the one receive buffer
    #[arg(long, default_value_t = 65_536)]
    buffer_bytes: usize,
    /// Answer each request on every connection, as a topic with all of them as subscribers does
    #[arg(long)]
    fan_out: bool,
}

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

fn main() -> io::Result<()> {
    let options = Options::parse();
    allow_many_descriptors()?;
    pin(options.common.core)?;
    let listener = bind(options.common.listen, false)?;
    listener.set_nonblocking(true)?;
    announce(&listener)?;
    Server::new(listener, &options)?.run()
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    exchange: Exchange,
    fan_out: bool,
    /// Requests that are owed to everybody and not yet booked.
    published: u64,
    /// Indexed by descriptor.
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
}

struct Connection {
    socket: OwnedFd,
    ledger: Ledger,
    /// Whether the kernel was asked to say when there is room to send.
    awaits_room: bool,
}

/// What remains of a connection after it was served.
#[derive(PartialEq, Eq)]
enum Outcome {
    Kept,
    Ended,
}

impl Server {
    fn new(listener: TcpListener, options: &Options) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let data = EventData::new_u64(listener.as_raw_fd() as u64);
        epoll::add(&epoll, &listener, data, EventFlags::IN)?;
        Ok(Self {
            epoll,
            listener,
            exchange: options.common.exchange()?,
            fan_out: options.fan_out,
            published: 0,
            connections: Vec::new(),
            buffer: vec![0; options.buffer_bytes],
        })
    }

    fn run(mut self) -> io::Result<()> {
        let listener = self.listener.as_raw_fd() as u64;
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    data if data == listener => self.accept()?,
                    data => self.serve(data as usize),
                }
            }
            self.share_out();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match accept_with(&self.listener, SocketFlags::NONBLOCK) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let index = socket.as_raw_fd() as usize;
            let data = EventData::new_u64(index as u64);
            epoll::add(&self.epoll, &socket, data, EventFlags::IN)?;
            if index >= self.connections.len() {
                self.connections.resize_with(index + 1, || None);
            }
            let ledger = Ledger::default();
            self.connections[index] = Some(Connection { socket, ledger, awaits_room: false });
        }
    }

    fn serve(&mut self, index: usize) {
        let Some(connection) = self.connections[index].as_mut() else { return };
        let outcome = match connection.receive_all(&mut self.buffer, &self.exchange) {
            None => Outcome::Ended,
            Some(requests) => {
                if self.fan_out {
                    self.published += requests;
                } else {
                    connection.ledger.owe(requests, &self.exchange);
                }
                connection.send_owed(&self.epoll, &self.exchange)
            }
        };
        if outcome == Outcome::Ended {
            // Closing the descriptor also takes it out of the epoll set.
            self.connections[index] = None;
        }
    }

    /// Owes everybody what anybody has sent, and sends it to those who have room.
    fn share_out(&mut self) {
        let requests = std::mem::take(&mut self.published);
        if requests == 0 {
            return;
        }
        for place in &mut self.connections {
            let Some(connection) = place else { continue };
            if !connection.ledger.is_open() {
                continue;
            }
            connection.ledger.owe(requests, &self.exchange);
            if !connection.awaits_room
                && connection.send_owed(&self.epoll, &self.exchange) == Outcome::Ended
            {
                *place = None;
            }
        }
    }
}

impl Connection {
    /// Takes what has arrived; how many requests that completes, `None` if the peer has ended.
    fn receive_all(&mut self, buffer: &mut [u8], exchange: &Exchange) -> Option<u64> {
        let mut requests = 0;
        loop {
            match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return None,
                Ok((count, _)) => {
                    requests += self.ledger.receive(&buffer[..count], exchange);
                    if count < buffer.len() {
                        return Some(requests);
                    }
                }
                Err(Errno::AGAIN) => return Some(requests),
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    fn send_owed(&mut self, epoll: &OwnedFd, exchange: &Exchange) -> Outcome {
        while let Some(bytes) = self.ledger.next_send(exchange) {
            match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => self.ledger.sent(count, exchange),
                Err(Errno::AGAIN) => return self.await_room(epoll, true),
                Err(Errno::INTR) => {}
                Err(_) => return Outcome::Ended,
            }
        }
        if self.ledger.is_settled() {
            return Outcome::Ended;
        }
        if self.awaits_room { self.await_room(epoll, false) } else { Outcome::Kept }
    }

    fn await_room(&mut self, epoll: &OwnedFd, awaits_room: bool) -> Outcome {
        if self.awaits_room == awaits_room {
            return Outcome::Kept;
        }
        self.awaits_room = awaits_room;
        let interest = if awaits_room { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        let data = EventData::new_u64(self.socket.as_raw_fd() as u64);
        match epoll::modify(epoll, self.socket.as_fd(), data, interest) {
            Ok(()) => Outcome::Kept,
            Err(_) => Outcome::Ended,
        }
    }
}
