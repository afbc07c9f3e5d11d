//! Hands the listening sockets of a running server to its successor over a Unix socket, so that a
//! restart refuses nobody and resets nobody. It hands over no connection: those are drained.
//!
//! ```text
//! successor: connects, "ringsock handover 1"    predecessor: "sockets N", with the sockets
//!            starts its shards
//!            takes over the path, "ready"                     drains; the sockets live on
//! ```
//!
//! A successor that fails before it is ready changes nothing, and one that takes its time is waited
//! for: were it given up, both would serve from then on. Each message is one packet
//! (`SOCK_SEQPACKET`), and either side talks to the same user and to root only.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind,
    connect, listen, recvmsg, send, sendmsg, socket_with, sockopt,
};

use super::bell::Waited;
use super::controller::Controller;

const HELLO: &[u8] = b"ringsock handover 1";
const READY: &[u8] = b"ready";
/// Sockets of one message; the kernel allows 253.
const SOCKETS_PER_MESSAGE: usize = 128;
/// Longest message.
const MESSAGE_BYTES: usize = 64;
/// Time for either side to say what it has to say at once.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Time between an attempt that failed and the next.
const PAUSE: Duration = Duration::from_millis(50);
/// Attempts to find somebody who has not just handed over to somebody else.
const ATTEMPTS: usize = 5;

/// A successor's side, until its shards serve.
#[derive(Debug)]
pub(super) struct Successor {
    path: PathBuf,
    predecessor: Option<OwnedFd>,
}

impl Successor {
    /// Whether sockets can be at the path.
    pub(super) fn check(path: &Path) -> io::Result<()> {
        SocketAddrUnix::new(own_name(path))?;
        Ok(())
    }

    /// Asks whoever serves at the path for its sockets; none when nobody does.
    pub(super) fn ask(path: &Path) -> io::Result<(Self, Vec<OwnedFd>)> {
        Self::check(path)?;
        let mut outcome = Err(io::Error::other("it handed over to somebody else again and again"));
        for _ in 0..ATTEMPTS {
            outcome = match call(path) {
                Ok(None) => Ok((None, Vec::new())),
                Ok(Some(predecessor)) => match receive_sockets(predecessor.as_fd()) {
                    Ok(sockets) => Ok((Some(predecessor), sockets)),
                    Err(error) => Err(error),
                },
                Err(error) => return Err(error),
            };
            // The end of the conversation: it has just ended or handed over to somebody else.
            let gone = |error: &io::Error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::BrokenPipe
                )
            };
            if !outcome.as_ref().is_err_and(gone) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        outcome.map(|(predecessor, sockets)| (Self { path: path.to_owned(), predecessor }, sockets))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes over the path, then lets the predecessor go. To be called once the shards serve.
    pub(super) fn finish(self) -> io::Result<Predecessor> {
        let next = Predecessor::bind(&self.path)?;
        if let Some(predecessor) = &self.predecessor {
            match retry_on_intr(|| send(predecessor, READY, SendFlags::NOSIGNAL)) {
                Ok(_) => tracing::info!("took the listening sockets over; the predecessor drains"),
                Err(error) => {
                    tracing::warn!(%error, "the predecessor ended before it was relieved")
                }
            }
        }
        Ok(next)
    }
}

/// Whoever serves at the path, if anybody does.
fn call(path: &Path) -> io::Result<Option<OwnedFd>> {
    let socket = packet_socket()?;
    let address = SocketAddrUnix::new(path)?;
    match retry_on_intr(|| connect(&socket, &address)) {
        Ok(()) => {}
        Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    check_user(socket.as_fd(), "serves there")?;
    for timeout in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
        sockopt::set_socket_timeout(&socket, timeout, Some(ANSWER_MAX))?;
    }
    retry_on_intr(|| send(&socket, HELLO, SendFlags::NOSIGNAL))?;
    Ok(Some(socket))
}

/// Whether the other end is root or the same user; `what` it does goes into the error. For a socket
/// that has connected these are the credentials of whoever called `listen`.
fn check_user(socket: BorrowedFd<'_>, what: &str) -> io::Result<()> {
    let user = sockopt::socket_peercred(socket)?.uid;
    match user.is_root() || user == rustix::process::geteuid() {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {} {what}, who is not trusted", user.as_raw()),
        )),
    }
}

fn packet_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

fn receive_sockets(predecessor: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut sockets = Vec::new();
    loop {
        let mut text = [0; MESSAGE_BYTES];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_PER_MESSAGE))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let slices = &mut [IoSliceMut::new(&mut text)];
        let receive = || recvmsg(predecessor, slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        let received = match retry_on_intr(receive) {
            // It waits for one at a time.
            Err(Errno::AGAIN) => {
                return Err(io::Error::other("no answer: another successor is starting"));
            }
            received => received?,
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                sockets.extend(fds);
            }
        }
        let text = &text[..received.bytes];
        if text.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let total = std::str::from_utf8(text).ok().and_then(|text| text.strip_prefix("sockets "));
        let total: usize = total
            .and_then(|total| total.parse().ok())
            .ok_or_else(|| io::Error::other("whoever serves there hands nothing over"))?;
        if sockets.len() >= total {
            return Ok(sockets);
        }
    }
}

/// A predecessor's side: waits for a successor.
#[derive(Debug)]
pub(super) struct Predecessor {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and number of the file, to know it again.
    file: (u64, u64),
}

impl Predecessor {
    /// Takes the path, whoever has it.
    fn bind(path: &Path) -> io::Result<Self> {
        let socket = packet_socket()?;
        let own = own_name(path);
        // One of that name is from a process that is gone.
        let _ = fs::remove_file(&own);
        bind(&socket, &SocketAddrUnix::new(&own)?)?;
        fs::set_permissions(&own, fs::Permissions::from_mode(0o600))?;
        listen(&socket, 8)?;
        let file = file_of(&own)?;
        fs::rename(&own, path)?;
        Ok(Self { socket, path: path.to_owned(), file })
    }

    /// Waits for a successor and drains once it serves, or ends with the drain that something else
    /// has begun.
    pub(super) fn serve(self, controller: &Controller) {
        loop {
            match controller.drain_bell().wait_for(self.socket.as_fd(), None) {
                Ok(Waited::Readable) => {}
                Ok(_) => return self.leave(),
                Err(error) => {
                    tracing::error!(%error, "no hand-over is possible any more");
                    return self.leave();
                }
            }
            match self.hand_over(controller) {
                Ok(true) => {
                    tracing::info!("draining: a successor has taken over");
                    return controller.drain_for_successor();
                }
                Ok(false) => return self.leave(),
                Err(error) => {
                    tracing::warn!(%error, "a hand-over failed; serving on");
                    // An error that stays must not become a spin.
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Whether the successor serves; not when a drain has begun meanwhile.
    fn hand_over(&self, controller: &Controller) -> io::Result<bool> {
        let successor = accept_with(&self.socket, SocketFlags::CLOEXEC)?;
        check_user(successor.as_fd(), "asked for it")?;
        let next = |expected: &[u8], patience: Option<Duration>| {
            let deadline = patience.map(|patience| Instant::now() + patience);
            match controller.drain_bell().wait_for(successor.as_fd(), deadline)? {
                Waited::Readable => {}
                Waited::Rung => return Ok(false),
                Waited::TimedOut => return Err(io::ErrorKind::TimedOut.into()),
            }
            let mut text = [0; MESSAGE_BYTES];
            let (_, bytes) = rustix::net::recv(&successor, &mut text[..], RecvFlags::DONTWAIT)?;
            match &text[..bytes] {
                text if text == expected => Ok(true),
                [] => Err(io::Error::other("the successor ended before it served")),
                _ => Err(io::Error::other("it does not speak our language")),
            }
        };
        if !next(HELLO, Some(ANSWER_MAX))? {
            return Ok(false);
        }
        send_sockets(successor.as_fd(), controller)?;
        next(READY, None)
    }

    /// Removes the path, unless a successor has taken it.
    fn leave(self) {
        if file_of(&self.path).is_ok_and(|file| file == self.file) {
            // When it cannot be removed, the next one replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The name under which a socket is made before it takes the path.
fn own_name(path: &Path) -> PathBuf {
    let mut own = path.as_os_str().to_owned();
    own.push(format!(".{}", std::process::id()));
    own.into()
}

fn file_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn send_sockets(successor: BorrowedFd<'_>, controller: &Controller) -> io::Result<()> {
    let sockets = controller.sockets();
    if sockets.is_empty() {
        return Err(io::Error::other("nothing is left to hand over"));
    }
    let text = format!("sockets {}", sockets.len());
    for part in sockets.chunks(SOCKETS_PER_MESSAGE) {
        let fds: Vec<BorrowedFd<'_>> = part.iter().map(AsFd::as_fd).collect();
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_PER_MESSAGE))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::other("too many sockets for one message"));
        }
        let slices = [IoSlice::new(text.as_bytes())];
        sendmsg(successor, &slices, &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    }
    Ok(())
}
