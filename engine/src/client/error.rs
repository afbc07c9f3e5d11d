//! What can go wrong with a client's connection. Each error names the step, the other end and the
//! cause in one line, and no secret: addresses are without credentials and query.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::protocol::CloseCode;
use crate::protocol::handshake::{HandshakeError, UrlError};
use crate::tls::TlsError;

/// A connection could not be made, or broke.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The address is not one.
    BadUrl(UrlError),
    /// The address of the proxy is not one.
    BadProxy {
        /// What is wrong with it; it may hold a password, so it is not repeated.
        detail: &'static str,
    },
    /// The limits cannot work.
    BadLimits(String),
    /// TLS cannot be set up.
    Tls(TlsError),
    /// The request cannot be written.
    BadRequest(HandshakeError),
    /// The name has no address.
    Resolve {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// No TCP connection.
    Connect {
        /// To where; the last one tried.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The proxy opened no tunnel.
    Proxy {
        /// The proxy.
        address: SocketAddr,
        /// What it answered.
        detail: String,
    },
    /// The server does not speak WebSocket with us.
    Handshake {
        /// The address connected to, without its query.
        url: String,
        /// What it answered.
        detail: String,
    },
    /// The steps up to an open connection took too long.
    TimedOut {
        /// The address connected to, without its query.
        url: String,
        /// The time they had.
        after: Duration,
    },
    /// The connection ended without a closing handshake, or by a violation of the protocol.
    Lost {
        /// The address connected to, without its query.
        url: String,
        /// 1006 when the transport ended, otherwise the code that tells what the server violated.
        code: CloseCode,
        /// More words, if there are any.
        reason: String,
    },
    /// The connection is closing: nothing more can be sent.
    Closing {
        /// The address connected to, without its query.
        url: String,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadUrl(error) => error.fmt(formatter),
            Self::BadProxy { detail } => write!(
                formatter,
                "the proxy's address is wrong: {detail}; expected http://[user:password@]host:port"
            ),
            Self::BadLimits(detail) => write!(formatter, "limits that cannot work: {detail}"),
            Self::Tls(error) => error.fmt(formatter),
            Self::BadRequest(error) => error.fmt(formatter),
            Self::Resolve { host, source } => {
                write!(formatter, "cannot find the address of \"{host}\": {source}")
            }
            Self::Connect { address, source } => {
                write!(formatter, "cannot connect to {address}: {source}")
            }
            Self::Proxy { address, detail } => {
                write!(formatter, "the proxy {address} opened no tunnel: {detail}")
            }
            Self::Handshake { url, detail } => {
                write!(formatter, "no WebSocket connection to {url}: {detail}")
            }
            Self::TimedOut { url, after } => {
                write!(formatter, "no WebSocket connection to {url} within {after:?}")
            }
            Self::Lost { url, code, reason } if reason.is_empty() => {
                write!(formatter, "the connection to {url} was lost ({code})")
            }
            Self::Lost { url, code, reason } => {
                write!(formatter, "the connection to {url} was lost ({code}): {reason}")
            }
            Self::Closing { url } => write!(
                formatter,
                "the connection to {url} is closing: nothing more can be sent on it"
            ),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::BadUrl(error) => Some(error),
            Self::Tls(error) => Some(error),
            Self::BadRequest(error) => Some(error),
            Self::Resolve { source, .. } | Self::Connect { source, .. } => Some(source),
            _ => None,
        }
    }
}
