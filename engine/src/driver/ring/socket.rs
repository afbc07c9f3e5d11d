//! The one socket option no safe crate offers. No socket is made here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Lets a bind to an address without a port leave the choice of the port to the connect, which
/// knows the other end: ports are then shared between destinations and do not run out.
///
/// # Errors
/// The kernel's.
pub(crate) fn choose_port_at_connect(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int, whose address and size are passed; the kernel copies
    // it before the call returns.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
