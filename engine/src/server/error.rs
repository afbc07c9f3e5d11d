//! What can keep a server from starting. Each says what happened, to what, and what to do about it
//! in one line.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::handler::BadSetting;
use crate::tls::TlsError;

/// A server could not be set up.
#[non_exhaustive]
pub enum SetupError {
    /// The address is not one.
    BadAddress {
        /// As given.
        text: String,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be set up.
    Tls(TlsError),
    /// Nothing to listen on and nothing to do.
    NoListener,
    /// The address cannot be bound.
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A socket that was passed to us is not a listening stream socket.
    NotListening {
        /// Why.
        source: io::Error,
    },
    /// An admin address that others can reach, without a token.
    AdminExposed {
        /// Which.
        address: SocketAddr,
    },
    /// The listening sockets could not be taken over, or not be offered to a successor.
    Handover {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The Unix socket cannot be made.
    BindUnix {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An empty list of cores.
    NoCores,
    /// A core that this process may not use.
    NoSuchCore {
        /// Which.
        core: usize,
        /// Those it may use.
        available: Vec<usize>,
    },
    /// A text that was to be a setting and is none.
    BadSetting(BadSetting),
    /// A route or a policy for a path that is none, or that another one has already.
    BadPath(String),
    /// More cores than a server can have shards.
    TooManyCores {
        /// How many it can have.
        most: usize,
    },
    /// A limit with a value that cannot work.
    BadLimits(String),
    /// The process may open too few files.
    TooFewFiles {
        /// It may open.
        allowed: u64,
        /// It needs at least.
        needed: u64,
    },
    /// io_uring was demanded and does not work here.
    RingUnavailable {
        /// The step that failed.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A shard could not start.
    Shard {
        /// Which.
        shard: usize,
        /// Why.
        source: io::Error,
    },
}

/// What setting up returns.
pub type Result<T> = std::result::Result<T, SetupError>;

impl fmt::Display for SetupError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress { text, source } => write!(
                formatter,
                "cannot listen on '{text}': {source}; give HOST:PORT, as in 127.0.0.1:9001 or [::]:9001, or unix:/path"
            ),
            Self::Tls(error) => fmt::Display::fmt(error, formatter),
            Self::NoListener => {
                formatter.write_str("nothing to listen on: call listen(\"127.0.0.1:9001\")")
            }
            Self::Bind { address, source } => {
                let advice = match source.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another program listens there: end it or choose another port"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need CAP_NET_BIND_SERVICE: choose another port or grant it"
                    }
                    io::ErrorKind::AddrNotAvailable => {
                        "no interface of this machine has that address"
                    }
                    _ => "check the address",
                };
                write!(formatter, "cannot listen on {address}: {source}; {advice}")
            }
            Self::NotListening { source } => write!(
                formatter,
                "an inherited socket is no listening TCP or Unix socket: {source}; \
                 check what the service manager passes"
            ),
            Self::AdminExposed { address } => write!(
                formatter,
                "the admin address {address} can be reached from elsewhere and has no token: set one, or \
                 listen on 127.0.0.1"
            ),
            Self::Handover { path, source } => write!(
                formatter,
                "no hand-over at {}: {source}; its folder must exist and be ours to write, and who serves there \
                 must be the same user",
                path.display()
            ),
            Self::BindUnix { path, source } => {
                let advice = match source.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another program listens there: end it or choose another path"
                    }
                    io::ErrorKind::AlreadyExists => "remove it or choose another path",
                    io::ErrorKind::NotFound => "make the folder first",
                    _ => "check the path and who may write there",
                };
                write!(formatter, "cannot listen on unix:{}: {source}; {advice}", path.display())
            }
            Self::NoCores => formatter.write_str("no core to run on: name at least one, as in 0"),
            Self::TooManyCores { most } => {
                write!(formatter, "a server has at most {most} shards: name fewer cores")
            }
            Self::NoSuchCore { core, available } => {
                write!(
                    formatter,
                    "core {core} does not exist or may not be used; available: {available:?}"
                )
            }
            Self::BadSetting(reason) => reason.fmt(formatter),
            Self::BadPath(reason) => write!(
                formatter,
                "{reason}; give /fixed, /a/{{parameter}} or /a/{{*rest}}, each once"
            ),
            Self::BadLimits(reason) => write!(formatter, "bad limits: {reason}"),
            Self::TooFewFiles { allowed, needed } => write!(
                formatter,
                "this process may open {allowed} files and needs at least {needed}: raise it with 'ulimit -n'"
            ),
            Self::RingUnavailable { step, source } => write!(
                formatter,
                "io_uring does not work here ({step}: {source}): use the epoll driver, or allow io_uring \
                 (sysctl kernel.io_uring_disabled, or the container's seccomp profile)"
            ),
            Self::Shard { shard, source } => {
                write!(formatter, "shard {shard} could not start: {source}")
            }
        }
    }
}

impl fmt::Debug for SetupError {
    /// As `Display`, because this is what a `main` that returns the error prints.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl std::error::Error for SetupError {}

impl From<BadSetting> for SetupError {
    fn from(reason: BadSetting) -> Self {
        Self::BadSetting(reason)
    }
}

impl From<TlsError> for SetupError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}
