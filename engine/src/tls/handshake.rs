//! A handshake under way: rustls' state machine with its bytes. It ends as established traffic or
//! with a failure whose alert has been written.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, HandshakeKind, ProtocolVersion, ServerConfig};

use super::records::{ALERT, HEADER_BYTES, record_bytes};
use super::traffic::{Keys, Traffic};
use super::{Failure, TlsError};

/// Longest alert, ticket or flight that is made room for at first; rustls says if it is longer.
const FLIGHT_BYTES: usize = 2048;

/// The alert decode_error as a record, for who has no keys (RFC 8446 sections 5.1 and 6.2).
const DECODE_ERROR: [u8; 7] = [ALERT, 3, 3, 0, 2, 2, 50];

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
pub(super) struct Handshake {
    made: Made,
    /// Bytes of what was kept that rustls has seen and still needs: messages in pieces.
    shown_bytes: usize,
    /// Something was written for the peer.
    has_spoken: bool,
}

enum Made {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// How far a handshake came.
pub(super) enum Progress {
    /// It needs more bytes.
    Blocked,
    /// It is complete. What is left of the bytes are records for the session.
    Done,
    /// The peer has said close_notify instead of going on.
    Closed,
}

/// What one call of rustls asks for.
enum Next {
    Again,
    Stop(Progress),
}

impl Handshake {
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, Failure> {
        let made = UnbufferedServerConnection::new(config).map_err(Failure::malformed)?;
        Ok(Self { made: Made::Server(Box::new(made)), shown_bytes: 0, has_spoken: false })
    }

    pub(super) fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, TlsError> {
        let made = UnbufferedClientConnection::new(config, name).map_err(TlsError::refused)?;
        Ok(Self { made: Made::Client(Box::new(made)), shown_bytes: 0, has_spoken: false })
    }

    /// Goes as far as the bytes allow. What was used of them is removed; what is to be sent goes to
    /// `outgoing`.
    ///
    /// rustls is shown one record at a time and none behind the last of the handshake: what it does
    /// about those (it renews keys, and keeps the answer to itself) is lost with its state.
    pub(super) fn advance(
        &mut self,
        incoming: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
    ) -> Result<Progress, Failure> {
        // What is shown, and how much of it are whole records.
        let (mut used, mut shown, mut whole) = (0, self.shown_bytes, self.shown_bytes);
        let outcome = loop {
            match self.step(&mut incoming[used..shown], &mut used, outgoing) {
                Ok(Next::Again) => {}
                Ok(Next::Stop(Progress::Blocked)) => {
                    match record_bytes(&incoming[shown..], false) {
                        Ok(Some(size)) if size <= incoming.len() - shown => {
                            if is_close_notify(&incoming[shown..shown + size]) {
                                break Ok(Progress::Closed);
                            }
                            shown += size;
                            whole = shown;
                        }
                        Ok(_) => break Ok(Progress::Blocked),
                        // No record at all, which is for rustls to say.
                        Err(_) => shown = incoming.len(),
                    }
                }
                Ok(Next::Stop(progress)) => break Ok(progress),
                Err(error) => {
                    // The alert that says so is still to be fetched, and what goes before it. No more
                    // than that: rustls must not be shown again what it has refused.
                    while self.has_records() {
                        if self.step(&mut incoming[used..shown], &mut 0, outgoing).is_err() {
                            break;
                        }
                    }
                    if !self.has_spoken && !matches!(error, Error::AlertReceived(_)) {
                        // rustls has no word for messages that it cannot read.
                        outgoing.extend_from_slice(&DECODE_ERROR);
                    }
                    break Err(Failure::of_handshake(&error));
                }
            }
        };
        incoming.drain(..used);
        self.shown_bytes = whole.saturating_sub(used);
        if self.shown_bytes > 0 && matches!(outcome, Ok(Progress::Done)) {
            return Err(Failure::malformed("a handshake message cut off by the handshake's end"));
        }
        outcome
    }

    /// Whether records wait to be fetched.
    fn has_records(&self) -> bool {
        match &self.made {
            Made::Server(made) => made.wants_write(),
            Made::Client(made) => made.wants_write(),
        }
    }

    fn step(
        &mut self,
        bytes: &mut [u8],
        used: &mut usize,
        outgoing: &mut Vec<u8>,
    ) -> Result<Next, Error> {
        let (discard, next) = match &mut self.made {
            Made::Server(made) => digest(made.process_tls_records(bytes), outgoing),
            Made::Client(made) => digest(made.process_tls_records(bytes), outgoing),
        };
        *used += discard;
        self.has_spoken |= !outgoing.is_empty();
        next
    }

    /// The session that a complete handshake has agreed on.
    pub(super) fn into_traffic(self) -> Result<Traffic, Failure> {
        let (facts, made) = match self.made {
            Made::Server(made) => {
                let facts = TlsFacts::of(&made);
                let made = made.dangerous_into_kernel_connection();
                (facts, made.map(|(secrets, keys)| (secrets, Keys::Server(keys))))
            }
            Made::Client(made) => {
                let facts = TlsFacts::of(&made);
                let made = made.dangerous_into_kernel_connection();
                (facts, made.map(|(secrets, keys)| (secrets, Keys::Client(keys))))
            }
        };
        let (secrets, keys) = made.map_err(Failure::malformed)?;
        Traffic::new(secrets, keys, facts)
    }
}

/// Whether a record is close_notify without protection. Anybody in between can say that, but can just
/// as well end the connection. A protected one is for rustls.
fn is_close_notify(record: &[u8]) -> bool {
    record.len() == HEADER_BYTES + 2 && record[0] == ALERT && record[HEADER_BYTES + 1] == 0
}

fn digest<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    outgoing: &mut Vec<u8>,
) -> (usize, Result<Next, Error>) {
    let next = status.state.and_then(|state| match state {
        ConnectionState::EncodeTlsData(mut encode) => {
            let start = outgoing.len();
            outgoing.resize(start + FLIGHT_BYTES, 0);
            let mut written = encode.encode(&mut outgoing[start..]);
            if let Err(EncodeError::InsufficientSize(size)) = &written {
                outgoing.resize(start + size.required_size, 0);
                written = encode.encode(&mut outgoing[start..]);
            }
            outgoing.truncate(start + *written.as_ref().unwrap_or(&0));
            written.map(|_| Next::Again).map_err(|error| Error::General(error.to_string()))
        }
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            Ok(Next::Again)
        }
        ConnectionState::BlockedHandshake => Ok(Next::Stop(Progress::Blocked)),
        ConnectionState::WriteTraffic(_) => Ok(Next::Stop(Progress::Done)),
        _ => Err(Error::General("content before the handshake's end".to_owned())),
    });
    (status.discard, next)
}
