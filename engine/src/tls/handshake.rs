//! A handshake under way: rustls' state machine with its bytes. It ends as established traffic or
//! with a failure whose alert has been written.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, HandshakeKind, ProtocolVersion, ServerConfig};

use super::traffic::{Keys, Traffic};
use super::{Failure, TlsError};

/// Longest alert, ticket or flight that is made room for at first; rustls says if it is longer.
const FLIGHT_BYTES: usize = 2048;

/// What a handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// TLS 1.3, else 1.2.
    pub is_tls13: bool,
    /// The cipher suite, as RFC 8446 or RFC 5289 call it.
    pub cipher_suite: &'static str,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
    /// The peer's own certificate (DER), if it showed one. It has been verified.
    pub peer_certificate: Option<Box<[u8]>>,
}

impl TlsFacts {
    fn of(common: &CommonState) -> Self {
        let suite = common.negotiated_cipher_suite();
        let certificate = common.peer_certificates().and_then(<[_]>::first);
        Self {
            is_tls13: common.protocol_version() == Some(ProtocolVersion::TLSv1_3),
            cipher_suite: suite.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown"),
            is_resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            peer_certificate: certificate.map(|certificate| certificate.as_ref().into()),
        }
    }
}

/// A handshake of either role.
pub(super) enum Handshake {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// How far a handshake came.
pub(super) enum Progress {
    /// It needs more bytes.
    Blocked,
    /// It is complete.
    Done,
}

/// What one call of rustls asks for.
enum Next {
    Again,
    Stop(Progress),
}

/// Where a handshake's bytes go.
pub(super) struct Sinks<'a> {
    /// To the peer.
    pub(super) outgoing: &'a mut Vec<u8>,
    /// Content that came right behind the handshake.
    pub(super) early: &'a mut Vec<u8>,
    /// Whether close_notify came as well.
    pub(super) closed: &'a mut bool,
}

impl Handshake {
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Failure> {
        let made = UnbufferedServerConnection::new(config);
        made.map(|made| Self::Server(Box::new(made))).map_err(Failure::malformed)
    }

    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, TlsError> {
        let made = UnbufferedClientConnection::new(config, name);
        made.map(|made| Self::Client(Box::new(made))).map_err(TlsError::refused)
    }

    /// Goes as far as the bytes allow. What was used of them is removed.
    pub(super) fn advance(
        &mut self,
        incoming: &mut Vec<u8>,
        sinks: &mut Sinks<'_>,
    ) -> Result<Progress, Failure> {
        let mut used = 0;
        let outcome = loop {
            match self.step(&mut incoming[used..], &mut used, sinks) {
                Ok(Next::Again) => {}
                Ok(Next::Stop(progress)) => break Ok(progress),
                Err(error) => {
                    // The alert that says so is still to be fetched, and what goes before it. No more
                    // than that: rustls must not be shown again what it has refused.
                    while self.has_records() {
                        if self.step(&mut incoming[used..], &mut 0, sinks).is_err() {
                            break;
                        }
                    }
                    break Err(Failure::of_handshake(&error));
                }
            }
        };
        incoming.drain(..used);
        outcome
    }

    /// Whether records wait to be fetched.
    fn has_records(&self) -> bool {
        match self {
            Self::Server(made) => made.wants_write(),
            Self::Client(made) => made.wants_write(),
        }
    }

    fn step(
        &mut self,
        bytes: &mut [u8],
        used: &mut usize,
        sinks: &mut Sinks<'_>,
    ) -> Result<Next, Error> {
        let (discard, next) = match self {
            Self::Server(made) => digest(made.process_tls_records(bytes), sinks),
            Self::Client(made) => digest(made.process_tls_records(bytes), sinks),
        };
        *used += discard;
        next
    }

    /// The session that a complete handshake has agreed on.
    pub(super) fn into_traffic(self) -> Result<Traffic, Failure> {
        let (facts, made) = match self {
            Self::Server(made) => {
                let facts = TlsFacts::of(&made);
                let made = made.dangerous_into_kernel_connection();
                (facts, made.map(|(secrets, keys)| (secrets, Keys::Server(keys))))
            }
            Self::Client(made) => {
                let facts = TlsFacts::of(&made);
                let made = made.dangerous_into_kernel_connection();
                (facts, made.map(|(secrets, keys)| (secrets, Keys::Client(keys))))
            }
        };
        let (secrets, keys) = made.map_err(Failure::malformed)?;
        Traffic::new(secrets, keys, facts)
    }
}

fn digest<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    sinks: &mut Sinks<'_>,
) -> (usize, Result<Next, Error>) {
    let mut discard = status.discard;
    let next = status.state.and_then(|state| match state {
        ConnectionState::EncodeTlsData(mut encode) => {
            let start = sinks.outgoing.len();
            sinks.outgoing.resize(start + FLIGHT_BYTES, 0);
            let mut written = encode.encode(&mut sinks.outgoing[start..]);
            if let Err(EncodeError::InsufficientSize(size)) = &written {
                sinks.outgoing.resize(start + size.required_size, 0);
                written = encode.encode(&mut sinks.outgoing[start..]);
            }
            sinks.outgoing.truncate(start + *written.as_ref().unwrap_or(&0));
            written.map(|_| Next::Again).map_err(|error| Error::General(error.to_string()))
        }
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            Ok(Next::Again)
        }
        ConnectionState::ReadTraffic(mut read) => {
            while let Some(record) = read.next_record() {
                let record = record?;
                discard += record.discard;
                sinks.early.extend_from_slice(record.payload);
            }
            Ok(Next::Again)
        }
        ConnectionState::BlockedHandshake => Ok(Next::Stop(Progress::Blocked)),
        ConnectionState::WriteTraffic(_) => Ok(Next::Stop(Progress::Done)),
        ConnectionState::PeerClosed => {
            *sinks.closed = true;
            Ok(Next::Again)
        }
        ConnectionState::Closed => Ok(Next::Stop(Progress::Done)),
        _ => Err(Error::General("early data, which was not offered".to_owned())),
    });
    (discard, next)
}
