//! Listening sockets, at least one for each shard on the same address. It accepts nothing.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::error::{Result, SetupError};
use super::inherited::{Inherited, Place, deal};

/// Connections the kernel keeps ready for a shard that is busy; it lowers this to its own limit.
pub(super) const BACKLOG: i32 = 4096;
/// How long a port may stay in use before that is an error.
const RESTART_MAX: Duration = Duration::from_millis(500);

/// An address to listen on.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    /// The first shard's socket, bound at once, so that a taken port is known early and a port of
    /// zero has become a number.
    first: Option<OwnedFd>,
    /// Those that another process made; there are no others then.
    inherited: Vec<OwnedFd>,
}

impl Listener {
    /// `HOST:PORT`, without a socket.
    pub(super) fn unbound(text: &str) -> Result<Self> {
        let bad = |source| SetupError::BadAddress { text: text.to_owned(), source };
        let address = text
            .to_socket_addrs()
            .map_err(bad)?
            .next()
            .ok_or_else(|| bad(io::Error::other("the name has no address")))?;
        Ok(Self { address, first: None, inherited: Vec::new() })
    }

    /// Listens on `HOST:PORT`, with the sockets that were inherited for it if there are any.
    pub(super) fn bind(text: &str, inherited: &mut Inherited) -> Result<Self> {
        let Self { address, .. } = Self::unbound(text)?;
        let sockets = inherited.take(&Place::Port(address));
        if !sockets.is_empty() {
            return Ok(Self { address, first: None, inherited: sockets });
        }
        let failed = |source| SetupError::Bind { address, source };
        // Shards share the address by SO_REUSEPORT, and so would a second server by accident. A
        // first bind without it finds out.
        if address.port() != 0 {
            drop(bind_patiently(address).map_err(failed)?);
        }
        let first = socket(address, true).map_err(failed)?;
        let bound = first.local_addr().map_err(failed)?.as_socket().unwrap_or(address);
        Ok(Self { address: bound, first: Some(first.into()), inherited: Vec::new() })
    }

    /// Each shard's sockets.
    pub(super) fn take_sockets(&mut self, shards: usize) -> Result<Vec<Vec<OwnedFd>>> {
        let address = self.address;
        let failed = |source| SetupError::Bind { address, source };
        if !self.inherited.is_empty() {
            return deal(std::mem::take(&mut self.inherited), shards).map_err(failed);
        }
        let mut sockets: Vec<OwnedFd> = self.first.take().into_iter().collect();
        while sockets.len() < shards {
            sockets.push(socket(address, true).map_err(failed)?.into());
        }
        Ok(sockets.into_iter().map(|socket| vec![socket]).collect())
    }

    /// The only socket, for what is served by one thread. Others that were inherited are closed.
    pub(super) fn into_socket(mut self) -> Result<OwnedFd> {
        let mut sockets = self.take_sockets(1)?.into_iter().flatten();
        let gone = || SetupError::NotListening { source: io::Error::other("it is not there") };
        sockets.next().ok_or_else(gone)
    }
}

/// Binds alone. A process that was killed holds its port until the kernel has wound up its io_uring,
/// some milliseconds after it is gone; whoever restarts it should not fail over that.
fn bind_patiently(address: SocketAddr) -> io::Result<Socket> {
    let deadline = Instant::now() + RESTART_MAX;
    loop {
        match socket(address, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit it: no call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}
