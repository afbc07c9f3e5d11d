//! The socket options no safe crate offers. No socket is made here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Lets a bind to an address without a port leave the choice of the port to the connect, which
/// knows the other end: ports are then shared between destinations and do not run out.
///
/// # Errors
/// The kernel's.
pub(crate) fn choose_port_at_connect(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// Hands a connection out only once its first bytes are there, for `seconds` at most.
///
/// # Errors
/// The kernel's.
pub(crate) fn defer_accept(listener: BorrowedFd<'_>, seconds: u32) -> io::Result<()> {
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// Takes data that comes with a connection's first packet, from `pending_max` unfinished ones.
///
/// # Errors
/// The kernel's.
pub(crate) fn fast_open(listener: BorrowedFd<'_>, pending_max: u32) -> io::Result<()> {
    set_option(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, pending_max)
}

/// Polls the network card for `micros` before sleeping; accepted sockets inherit it.
///
/// # Errors
/// The kernel's: `EPERM` without `CAP_NET_ADMIN`, `ENOPROTOOPT` where it is not built in.
pub(crate) fn busy_poll(socket: BorrowedFd<'_>, micros: u32) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL, micros)
}

fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: u32,
) -> io::Result<()> {
    let value = value as libc::c_int;
    // SAFETY: the value of each of these options is an int, whose address and size are passed; the
    // kernel copies it before the call returns.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
