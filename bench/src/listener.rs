//! The listening socket, as both raw servers use it.
//!
//! Accepting is not done here.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel may hold before they are accepted; it lowers this to its own limit.
const BACKLOG: i32 = 4096;

/// Binds and listens. Accepted sockets inherit TCP_NODELAY. If `shared`, other sockets may listen
/// on the same address, and the kernel spreads the connections over all of them.
///
/// # Errors
/// Those of the socket calls, above all that the address is in use.
pub fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Says on standard output, in one line, that connections are welcome and where: what starts a
/// server waits for this line, and learns the port if it asked for any.
///
/// # Errors
/// If the socket has no address or standard output is closed.
pub fn announce(listener: &TcpListener) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "listening on {}", listener.local_addr()?)?;
    output.flush()
}

/// Lifts the number of open files to the most this user may have, and returns it.
///
/// # Errors
/// If the kernel refuses.
pub fn allow_many_descriptors() -> io::Result<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let lifted = limit.current.unwrap_or(u64::MAX);
    setrlimit(Resource::Nofile, limit)?;
    Ok(lifted)
}

/// Ties the calling thread to a core.
///
/// # Errors
/// If the machine has no such core, or this process may not use it.
pub fn pin(core: usize) -> io::Result<()> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        return Ok(());
    }
    Err(io::Error::other(format!("core {core} cannot be used")))
}
