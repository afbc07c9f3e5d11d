//! A non-blocking socket, the batch that is on its way, and the wait for either direction. It knows
//! no WebSocket.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rustix::net::SendFlags;
use socket2::SockRef;

use crate::buffer::{Batch, Pool};
use crate::driver::epoll::EpollStream;

/// A connected socket.
#[derive(Debug)]
pub(super) struct Stream {
    socket: EpollStream,
    /// What the kernel has not taken, and how much of it was.
    sending: Option<(Batch, usize)>,
}

impl Stream {
    /// Connects to an address.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Self> {
        let socket = EpollStream::connect(address, source)?;
        socket.writable().await?;
        socket.connect_outcome()?;
        Ok(Self { socket, sending: None })
    }

    /// Whether a batch is on its way.
    pub(super) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// How much of it the kernel has taken.
    pub(super) fn sent_bytes(&self) -> usize {
        self.sending.as_ref().map_or(0, |(_, sent)| *sent)
    }

    /// Begins to send a batch; there must be none on its way.
    pub(super) fn begin(&mut self, batch: Batch) {
        self.sending = Some((batch, 0));
    }

    /// Sends on; the length of the batch when the last of it is with the kernel.
    ///
    /// # Errors
    /// `WouldBlock` when the kernel takes no more for now, otherwise the connection's error.
    pub(super) fn send(&mut self, pool: &mut Pool) -> io::Result<usize> {
        let Some((batch, sent)) = &mut self.sending else { return Ok(0) };
        while *sent < batch.len() {
            match self.socket.send(batch, *sent, SendFlags::empty()) {
                Ok(bytes) => *sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let bytes = batch.len();
        if let Some((batch, _)) = self.sending.take() {
            batch.recycle(pool);
        }
        Ok(bytes)
    }

    /// Receives what is there; 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, otherwise the connection's error.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.receive(buffer)
    }

    /// Ends our direction.
    pub(super) fn shut(&self) {
        // A socket that is no longer connected needs no shutting.
        let _ = SockRef::from(&self.socket.socket()).shutdown(Shutdown::Write);
    }

    /// Waits until something can be read (if `reading`), sent (if a batch is on its way), or the
    /// time is up.
    pub(super) async fn ready(&self, reading: bool, time: Duration) -> io::Result<()> {
        let mut readable = pin!(self.socket.readable());
        let mut writable = pin!(self.socket.writable());
        let mut timer = pin!(monoio::time::sleep(time));
        let writing = self.is_sending();
        poll_fn(|context| {
            if reading && let Poll::Ready(outcome) = readable.as_mut().poll(context) {
                return Poll::Ready(outcome);
            }
            if writing && let Poll::Ready(outcome) = writable.as_mut().poll(context) {
                return Poll::Ready(outcome);
            }
            timer.as_mut().poll(context).map(Ok)
        })
        .await
    }
}
