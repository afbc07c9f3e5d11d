//! Non-blocking socket calls for the portable driver, and readiness through the monoio runtime's
//! epoll. It keeps no connection and no buffer of its own.
#![expect(unsafe_code, reason = "the runtime's stream shows its descriptor only as a number")]

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, TcpStream as StdStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;

use monoio::net::{TcpStream, UnixStream};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use super::outbound_socket;
use crate::buffer::Batch;

/// Most slices of one call.
const SLICES_MAX: usize = 64;

/// A connection's socket, registered with the runtime.
#[derive(Debug)]
pub(crate) struct EpollStream {
    stream: TcpStream,
}

impl EpollStream {
    /// Registers a connected (or connecting) socket.
    ///
    /// # Errors
    /// When the system has no descriptor left, or the runtime cannot register it.
    pub(crate) fn new(socket: StdStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { stream: TcpStream::from_std(socket)? })
    }

    /// Starts to connect, from `source` if one is given; it is done when writable.
    ///
    /// # Errors
    /// When the system refuses at once.
    pub(crate) fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        let socket = outbound_socket(address, source)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Self::new(socket.into()),
        }
    }

    /// Why a connect failed, once it is writable.
    ///
    /// # Errors
    /// The connect's error.
    pub(crate) fn connect_outcome(&self) -> io::Result<()> {
        rustix::net::sockopt::socket_error(self.socket())?.map_err(io::Error::from)
    }

    /// Waits until there is something to read, an end or an error included.
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.stream.readable(false).await
    }

    /// Waits until something can be written.
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.stream.writable(false).await
    }

    /// The socket.
    #[must_use]
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor and is borrowed for as long as the result lives.
        unsafe { BorrowedFd::borrow_raw(self.stream.as_raw_fd()) }
    }

    /// Receives what is there; 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, otherwise the connection's error.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::net::recv(self.socket(), &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((_, bytes)) => return Ok(bytes),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends as much of a batch as goes without waiting, from byte `sent` on; the bytes sent. With
    /// [`SendFlags::EOR`] as `record` it is a record of its own for the kernel.
    ///
    /// # Errors
    /// `WouldBlock` when nothing goes, otherwise the connection's error.
    pub(crate) fn send(&self, batch: &Batch, sent: usize, record: SendFlags) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | record;
        let sent = match batch {
            Batch::One(segment) => {
                rustix::net::send(self.socket(), &segment.bytes()[sent..], flags)?
            }
            Batch::Many(segments) => {
                let mut skip = sent;
                let mut slices = Vec::with_capacity(segments.len().min(SLICES_MAX));
                for segment in segments {
                    let bytes = segment.bytes();
                    let rest = &bytes[skip.min(bytes.len())..];
                    skip = skip.saturating_sub(bytes.len());
                    if !rest.is_empty() && slices.len() < SLICES_MAX {
                        slices.push(IoSlice::new(rest));
                    }
                }
                let mut none = SendAncillaryBuffer::default();
                rustix::net::sendmsg(self.socket(), &slices, &mut none, flags)?
            }
        };
        Ok(sent)
    }
}

/// Any descriptor that can be polled, registered with the runtime.
#[derive(Debug)]
pub(crate) struct Readiness {
    // The runtime registers streams only; nothing but readiness is asked of this one.
    stream: UnixStream,
}

impl Readiness {
    /// Registers a copy of a descriptor.
    ///
    /// # Errors
    /// When the system has no descriptor left, or the runtime cannot register it.
    pub(crate) fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let stream = StdUnixStream::from(fd.try_clone_to_owned()?);
        Ok(Self { stream: UnixStream::from_std(stream)? })
    }

    /// Waits until it is readable.
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.stream.readable(false).await
    }
}

/// Lets whoever is busy give the whole runtime a turn. A task that merely wakes itself would not: it
/// is run again before all others, and while any task is ready the runtime looks at no timer.
#[derive(Debug)]
pub(crate) struct Round {
    signal: OwnedFd,
    readiness: Readiness,
}

impl Round {
    /// Needs two descriptors.
    ///
    /// # Errors
    /// When the system has none left, or the runtime cannot register one.
    pub(crate) fn new() -> io::Result<Self> {
        let signal = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let readiness = Readiness::new(signal.as_fd())?;
        Ok(Self { signal, readiness })
    }

    /// Waits until every task that was ready has run, and timers and sockets have been looked at.
    /// One may wait at a time.
    pub(crate) async fn wait(&self) {
        let mut counter = [0; 8];
        // Fails when nothing was left of the last round, which is as good.
        let _ = rustix::io::read(&self.signal, &mut counter);
        let mut readable = std::pin::pin!(self.readiness.readable());
        let mut signalled = false;
        poll_fn(|context| {
            let outcome = readable.as_mut().poll(context).map(drop);
            if !std::mem::replace(&mut signalled, true) {
                // After the first look, so that it is news: the runtime must go and find it.
                let _ = rustix::io::write(&self.signal, &1u64.to_ne_bytes());
            }
            outcome
        })
        .await;
    }
}
