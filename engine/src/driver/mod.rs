//! The kernel boundary: how bytes get in and out. A driver knows sockets and buffers; it knows no
//! WebSocket and no handler.

pub(crate) mod epoll;
pub(crate) mod ring;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

pub(crate) use ring::{GENERATION_MASK, TICK};

/// A socket to connect to `address` with, from `source` if one is given.
pub(crate) fn outbound_socket(address: SocketAddr, source: Option<IpAddr>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        ring::choose_port_at_connect(socket.as_fd())?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}

/// Time until accepting is tried again when it cannot succeed at once.
pub(crate) const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Whether an accept failed for the connection alone that it was about to take (accept(2) passes on
/// what is wrong with it), so that the next may be taken at once. Everything else, a shortage of
/// descriptors or memory or a listener that is none any more, would only be met again.
pub(crate) fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::EPERM
                | libc::EINTR
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
        )
    )
}

/// The other end of a connected socket, if it still has one with an IP address.
pub(crate) fn peer_address(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    SockRef::from(&socket).peer_addr().ok()?.as_socket()
}
