//! Listening sockets that another process made: a service manager or a predecessor. It makes none
//! itself.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::socket_acceptconn;
use socket2::SockRef;

use super::error::{Result, SetupError};

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Port(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    /// As `listen` reads it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// Sockets by their place, until somebody listens on it.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    sockets: Vec<(Place, OwnedFd)>,
}

impl Inherited {
    /// Takes a socket in that must be a listening one.
    pub(super) fn add(&mut self, socket: OwnedFd) -> Result<()> {
        let place = place_of(&socket).map_err(|source| SetupError::NotListening { source })?;
        // Accepted sockets inherit it; whoever made this one may not have known. Unix sockets have
        // no such thing.
        let _ = SockRef::from(&socket).set_tcp_nodelay(true);
        // Nor that no program started from here is to hold it open.
        fcntl_setfd(&socket, FdFlags::CLOEXEC)
            .map_err(|error| SetupError::NotListening { source: error.into() })?;
        self.sockets.push((place, socket));
        Ok(())
    }

    /// The sockets of a place, in the order they came.
    pub(super) fn take(&mut self, place: &Place) -> Vec<OwnedFd> {
        let (wanted, rest) = self.sockets.drain(..).partition(|(own, _)| own == place);
        self.sockets = rest;
        wanted.into_iter().map(|(_, socket): (_, OwnedFd)| socket).collect()
    }

    /// The places that nobody listens on yet.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        for (place, _) in &self.sockets {
            if !places.contains(place) {
                places.push(place.clone());
            }
        }
        places
    }
}

fn place_of(socket: &OwnedFd) -> io::Result<Place> {
    if !socket_acceptconn(socket.as_fd())? {
        return Err(io::Error::other("it does not listen"));
    }
    let address = SockRef::from(socket).local_addr()?;
    let port = address.as_socket().map(Place::Port);
    port.or_else(|| address.as_pathname().map(|path| Place::Unix(path.to_owned())))
        .ok_or_else(|| io::Error::other("it is neither a TCP socket nor a Unix one with a name"))
}

/// Deals sockets to shards: every socket has at least one shard that accepts from it, and every
/// shard at least one socket, shared with others if there are fewer.
pub(super) fn deal(sockets: Vec<OwnedFd>, shards: usize) -> io::Result<Vec<Vec<OwnedFd>>> {
    let mut dealt: Vec<Vec<OwnedFd>> = Vec::new();
    dealt.resize_with(shards, Vec::new);
    for shard in sockets.len()..shards {
        dealt[shard].push(sockets[shard % sockets.len()].try_clone()?);
    }
    for (number, socket) in sockets.into_iter().enumerate() {
        dealt[number % shards].push(socket);
    }
    Ok(dealt)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn listener() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    #[test]
    fn every_socket_has_a_shard_and_every_shard_a_socket() {
        for sockets in 1..5 {
            for shards in 1..5 {
                let all: Vec<OwnedFd> = (0..sockets).map(|_| listener()).collect();
                let mut addresses: Vec<_> = all.iter().map(|one| place_of(one).unwrap()).collect();
                let dealt = deal(all, shards).unwrap();
                assert_eq!(dealt.len(), shards);
                assert!(dealt.iter().all(|own| !own.is_empty()), "{sockets} to {shards}");
                let mut found: Vec<_> =
                    dealt.iter().flatten().map(|one| place_of(one).unwrap()).collect();
                assert_eq!(found.len(), sockets.max(shards));
                found.sort_unstable();
                found.dedup();
                addresses.sort_unstable();
                assert_eq!(found, addresses);
            }
        }
    }

    #[test]
    fn sockets_are_found_by_their_address_and_only_listening_ones_are_taken() {
        let (one, other) = (listener(), listener());
        let place = place_of(&one).unwrap();
        let mut inherited = Inherited::default();
        inherited.add(one.try_clone().unwrap()).unwrap();
        inherited.add(one).unwrap();
        inherited.add(other).unwrap();
        assert_eq!(inherited.places().len(), 2);
        assert_eq!(inherited.take(&place).len(), 2);
        assert_eq!(inherited.take(&place).len(), 0);
        assert_eq!(inherited.places().len(), 1);
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = inherited.add(file.into()).unwrap_err();
        assert!(error.to_string().contains("listening"), "{error}");
    }
}
