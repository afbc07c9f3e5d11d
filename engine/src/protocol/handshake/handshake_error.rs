//! Why a client's handshake failed. This module does not decide that it did.

use std::borrow::Cow;
use std::fmt;

use super::status::Status;

/// Why a client has no connection: what the server sent, and what was expected instead.
/// Texts of the server's are escaped and cut to a readable length.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The server answered with another status than 101.
    Status {
        /// What it answered.
        status: Status,
        /// Where a redirect points. It is not followed.
        location: Option<String>,
    },
    /// The answer is not an HTTP/1.1 response head, or exceeds a limit.
    Malformed {
        /// What is wrong with it.
        detail: Cow<'static, str>,
    },
    /// A header of the answer is missing, repeated or has the wrong value.
    Header {
        /// The header's name.
        name: &'static str,
        /// The values sent, joined by commas; `None` if there was no such header.
        sent: Option<String>,
        /// The value the protocol asks for.
        expected: String,
    },
    /// The server chose a subprotocol that was not offered, or several.
    Subprotocol {
        /// What it chose.
        sent: String,
        /// What was offered.
        offered: Vec<String>,
    },
    /// The server switched on an extension that was not asked for, or not in this form.
    Extension {
        /// What it switched on.
        sent: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// The request cannot be sent as it is: the caller's mistake, found before any byte is written.
    InvalidRequest {
        /// Which part is wrong.
        detail: String,
    },
    /// The system gave no random bytes for the key.
    NoRandomness,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, location: None } => {
                write!(formatter, "the server answered {status}; expected 101 Switching Protocols")
            }
            Self::Status { status, location: Some(location) } => write!(
                formatter,
                "the server answered {status} and points to \"{location}\"; expected 101 \
                 Switching Protocols: connect to that address instead"
            ),
            Self::Malformed { detail } => {
                write!(formatter, "the server's answer is not a handshake: {detail}")
            }
            Self::Header { name, sent: None, expected } => {
                write!(formatter, "the server sent no {name}; expected \"{expected}\"")
            }
            Self::Header { name, sent: Some(sent), expected } => {
                write!(formatter, "the server sent {name}: \"{sent}\"; expected \"{expected}\"")
            }
            Self::Subprotocol { sent, offered } => {
                write!(formatter, "the server chose the subprotocol \"{sent}\"; ")?;
                match offered.is_empty() {
                    true => write!(formatter, "none was offered"),
                    false => write!(formatter, "offered were: {}", offered.join(", ")),
                }
            }
            Self::Extension { sent, expected } => {
                write!(formatter, "the server switched on \"{sent}\"; expected {expected}")
            }
            Self::InvalidRequest { detail } => {
                write!(formatter, "the handshake cannot be sent: {detail}")
            }
            Self::NoRandomness => write!(formatter, "the system gave no random bytes for the key"),
        }
    }
}

impl std::error::Error for HandshakeError {}
