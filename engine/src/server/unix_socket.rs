//! A listening Unix socket and its name in the file system: made without taking a living server's
//! place, and removed when nobody listens on it any more. It accepts nothing itself.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use socket2::{Domain, SockAddr, Socket, Type};

use super::error::{Result, SetupError};
use super::inherited::{Inherited, Place, deal};
use super::listener::BACKLOG;

/// Who may connect if nothing else is said: the owner and the group.
const MODE: u32 = 0o660;

/// A Unix socket to listen on.
#[derive(Debug)]
pub(super) struct UnixListener {
    path: PathBuf,
    sockets: Vec<OwnedFd>,
    name: Arc<UnixName>,
}

impl UnixListener {
    /// Whether it is `/path` or `/path,mode=666`.
    pub(super) fn check(text: &str) -> Result<()> {
        Self::read(text).map(drop)
    }

    fn read(text: &str) -> Result<(PathBuf, u32)> {
        parse(text).map_err(|why| SetupError::BadAddress {
            text: format!("unix:{text}"),
            source: io::Error::other(why),
        })
    }

    /// Listens on `/path` or `/path,mode=666`, with the socket that was inherited for it if there is
    /// one, and then with the mode that it has.
    pub(super) fn bind(text: &str, inherited: &mut Inherited) -> Result<Self> {
        let (path, mode) = Self::read(text)?;
        let failed = |source| SetupError::BindUnix { path: path.clone(), source };
        let mut sockets = inherited.take(&Place::Unix(path.clone()));
        if sockets.is_empty() {
            sockets.push(listen(&path, mode).map_err(failed)?);
        }
        let name = UnixName::new(&path).map_err(failed)?;
        Ok(Self { path, sockets, name: Arc::new(name) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The name in the file system, to be held for as long as anything is accepted.
    pub(super) fn name(&self) -> Arc<UnixName> {
        Arc::clone(&self.name)
    }

    /// Each shard's sockets: all accept from the same.
    pub(super) fn take_sockets(&mut self, shards: usize) -> Result<Vec<Vec<OwnedFd>>> {
        let sockets = std::mem::take(&mut self.sockets);
        deal(sockets, shards)
            .map_err(|source| SetupError::BindUnix { path: self.path.clone(), source })
    }
}

fn parse(text: &str) -> std::result::Result<(PathBuf, u32), &'static str> {
    let (path, mode) = match text.split_once(",mode=") {
        Some((path, digits)) => (path, u32::from_str_radix(digits, 8).ok()),
        None => (text, Some(MODE)),
    };
    let mode = mode.filter(|mode| *mode <= 0o777).ok_or("the mode is not as in 660")?;
    if !path.starts_with('/') {
        return Err("the path does not begin with /");
    }
    if SockAddr::unix(path).is_err() {
        return Err("the path is longer than a socket's may be, 107 bytes");
    }
    Ok((path.into(), mode))
}

/// Binds and listens. A socket that nobody listens on any more is replaced; anything else that
/// stands there is left alone.
fn listen(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    // Another server that starts at the same moment must not find ours before it listens.
    flock(&folder, FlockOperation::LockExclusive)?;
    let address = SockAddr::unix(path)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is no socket"));
        }
        Ok(_) if is_abandoned(&address)? => fs::remove_file(path)?,
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    // Before `listen` nobody can connect, whatever the mode was.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether nobody listens on a socket that has a name.
fn is_abandoned(address: &SockAddr) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    Ok(probe.connect(address).is_err_and(refused))
}

/// The name of a socket, removed when this is dropped, unless another one has taken its place or
/// another process listens on it by now.
#[derive(Debug)]
pub(super) struct UnixName {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl UnixName {
    fn new(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }
}

impl Drop for UnixName {
    fn drop(&mut self) {
        let own = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        let abandoned = SockAddr::unix(&self.path).and_then(|address| is_abandoned(&address));
        if own && abandoned.unwrap_or(false) {
            // Whoever took away the right to remove it will find it stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_with_or_without_a_mode() {
        assert_eq!(parse("/run/a.sock"), Ok((PathBuf::from("/run/a.sock"), 0o660)));
        assert_eq!(parse("/a,mode=666"), Ok((PathBuf::from("/a"), 0o666)));
        for bad in ["", "a.sock", "/a,mode=", "/a,mode=8", "/a,mode=1777", "/a,mode=rw"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let path = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
        assert!(parse(&path(107)).is_ok() && parse(&path(108)).is_err());
    }
}
