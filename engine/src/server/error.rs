//! What can keep a server from starting. Each says what happened, to what, and what to do about it
//! in one line.

use std::fmt;
use std::io;
use std::net::SocketAddr;

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
    /// Nothing to listen on and nothing to do.
    NoListener,
    /// The address cannot be bound.
    Bind {
        /// Which.
        address: SocketAddr,
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
                "cannot listen on '{text}': {source}; give HOST:PORT, as in 127.0.0.1:9001 or [::]:9001"
            ),
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
            Self::NoCores => formatter.write_str("no core to run on: name at least one, as in 0"),
            Self::NoSuchCore { core, available } => {
                write!(
                    formatter,
                    "core {core} does not exist or may not be used; available: {available:?}"
                )
            }
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
