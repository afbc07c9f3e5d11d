//! Names to addresses. The system's resolver blocks, so it is asked aside; nothing is cached.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::aside::aside;

/// The addresses of a host, in the system's order of preference; never an empty list.
pub(super) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = host.to_owned();
    let look_up = move || (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
    let found: Vec<SocketAddr> = aside(look_up).await??;
    match found.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        false => Ok(found),
    }
}
