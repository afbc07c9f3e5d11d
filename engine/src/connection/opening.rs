//! The opening handshake of one connection (RFC 6455 section 4): collects the head, asks the
//! application, queues the answer. Parsing and checks are the protocol's.

use super::{Application, Connection, Decision, Phase, Services};
use crate::protocol::handshake::{
    ClientRequest, ClientResponse, HandshakeError, HandshakeLimits, HeadScanner, HeaderStorage,
    Rejection, Request, Status, write_page, write_switching_protocols,
};
use crate::protocol::{CloseCode, Role};

/// About how long an answer's head is.
pub(super) const HEAD_BYTES: usize = 256;

/// The request of an outbound connection, kept to check the answer against it.
#[derive(Debug)]
pub struct ClientHandshake {
    request: ClientRequest,
    /// The request as it is sent.
    bytes: Vec<u8>,
    verify_accept: bool,
}

impl ClientHandshake {
    /// A handshake that begins with `request`.
    ///
    /// # Errors
    /// When a header of the request would break it apart.
    pub fn new(request: ClientRequest) -> Result<Self, HandshakeError> {
        let mut bytes = Vec::new();
        request.write_to(&mut bytes)?;
        Ok(Self { request, bytes, verify_accept: true })
    }

    /// Takes any answer for a `101`. Only for measuring against servers that answer with canned
    /// bytes; a real client must check (section 4.1).
    #[must_use]
    pub fn without_verification(mut self) -> Self {
        self.verify_accept = false;
        self
    }

    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }
}

/// A handshake whose head has not arrived whole.
#[derive(Debug)]
pub(super) struct Opening {
    scanner: HeadScanner,
    head: Vec<u8>,
    client: Option<ClientHandshake>,
}

impl Opening {
    pub(super) fn client(handshake: ClientHandshake) -> Self {
        Self { scanner: HeadScanner::for_response(), head: Vec::new(), client: Some(handshake) }
    }
}

fn limits(services: &Services) -> HandshakeLimits {
    HandshakeLimits {
        head_bytes_max: services.limits.head_bytes_max,
        header_lines_max: services.limits.header_lines_max,
        target_bytes_max: services.limits.target_bytes_max,
    }
}

impl Connection {
    /// Reads handshake bytes; what follows the head stays in `input`.
    pub(super) fn receive_opening(
        &mut self,
        input: &mut &mut [u8],
        services: &mut Services,
        application: &mut impl Application,
    ) {
        let limits = limits(services);
        if self.opening.is_none() {
            // The usual case: the head in one segment is parsed where it lies.
            let mut scanner = HeadScanner::new();
            match scanner.scan(input, &limits) {
                Ok(Some(size)) => {
                    let (head, rest) = std::mem::take(input).split_at_mut(size);
                    *input = rest;
                    self.answer_request(head, services, application);
                }
                Ok(None) => {
                    let head = std::mem::take(input).to_vec();
                    self.opening = Some(Box::new(Opening { scanner, head, client: None }));
                }
                Err(rejection) => self.reject(&rejection, false, services),
            }
            return;
        }
        let Some(mut opening) = self.opening.take() else { return };
        match opening.scanner.scan(input, &limits) {
            Ok(Some(size)) => {
                let (front, rest) = std::mem::take(input).split_at_mut(size);
                *input = rest;
                opening.head.extend_from_slice(front);
                match &opening.client {
                    None => self.answer_request(&opening.head, services, application),
                    Some(client) => {
                        self.check_response(&opening.head, client, services, application);
                    }
                }
            }
            Ok(None) => {
                opening.head.extend_from_slice(input);
                *input = &mut [];
                self.opening = Some(opening);
            }
            Err(rejection) if opening.client.is_none() => self.reject(&rejection, false, services),
            Err(rejection) => {
                let error = HandshakeError::from(rejection);
                self.fail_connect(&error.to_string(), services, application);
            }
        }
    }

    fn answer_request(
        &mut self,
        head: &[u8],
        services: &mut Services,
        application: &mut impl Application,
    ) {
        let mut storage = HeaderStorage::new();
        let request = match Request::parse(head, &mut storage, &limits(services)) {
            Ok(request) => request,
            Err(rejection) => {
                // A line break before the request line is passed over (RFC 9112 section 2.2).
                let line = head.strip_prefix(b"\r\n").unwrap_or(head);
                return self.reject(&rejection, line.starts_with(b"HEAD "), services);
            }
        };
        let head_only = request.method() == "HEAD";
        if !request.is_upgrade() {
            let answer = match request.check_http() {
                Ok(()) => application.decide(&request),
                Err(rejection) => Decision::Reject(rejection),
            };
            return match answer {
                Decision::Page { status, content_type, body } => {
                    services.counters.rejected += 1;
                    self.queue.append(&mut services.pool, HEAD_BYTES, |out| {
                        write_page(out, status, &content_type, &body, head_only);
                    });
                    self.enter(Phase::Lingering, services.now);
                }
                Decision::Reject(rejection) => self.reject(&rejection, head_only, services),
                Decision::Accept { .. } => {
                    self.reject(&Rejection::upgrade_required(), head_only, services);
                }
            };
        }
        let facts = match request.check() {
            Ok(facts) => facts,
            Err(rejection) => return self.reject(&rejection, head_only, services),
        };
        match application.decide(&request) {
            Decision::Accept { subprotocol, headers } => {
                let name = services.server_name.as_deref();
                let chosen = subprotocol.as_deref();
                self.queue.append(&mut services.pool, HEAD_BYTES, |out| {
                    write_switching_protocols(out, &facts.accept, chosen, None, name, &headers);
                });
                self.open(services, application);
            }
            Decision::Reject(rejection) => self.reject(&rejection, head_only, services),
            Decision::Page { status, .. } => {
                let rejection = Rejection::new(status, "a plain page, not a WebSocket");
                self.reject(&rejection, head_only, services);
            }
        }
    }

    fn check_response(
        &mut self,
        head: &[u8],
        client: &ClientHandshake,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        if client.verify_accept
            && let Err(error) = ClientResponse::parse(head, &client.request)
        {
            return self.fail_connect(&error.to_string(), services, application);
        }
        self.open(services, application);
    }

    fn open(&mut self, services: &mut Services, application: &mut impl Application) {
        services.counters.opened += 1;
        self.enter(Phase::Open, services.now);
        self.announced = true;
        application.opened(self, services);
    }

    /// Answers with an HTTP error and closes; what was pipelined behind is dropped.
    pub(super) fn reject(
        &mut self,
        rejection: &Rejection,
        head_only: bool,
        services: &mut Services,
    ) {
        services.counters.rejected += 1;
        self.queue.append(&mut services.pool, HEAD_BYTES, |out| rejection.write_to(out, head_only));
        self.enter(Phase::Lingering, services.now);
    }

    /// The application could not decide on the request.
    pub(super) fn reject_internally(&mut self, services: &mut Services) {
        let rejection = Rejection::new(Status::INTERNAL_SERVER_ERROR, "internal error");
        self.reject(&rejection, false, services);
    }

    pub(super) fn fail_connect(
        &mut self,
        reason: &str,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        services.counters.rejected += 1;
        self.enter(Phase::Ended, services.now);
        application.connect_failed(reason);
    }

    /// The handshake took too long (section 10.4).
    pub(super) fn opening_timed_out(
        &mut self,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        services.counters.timeouts += 1;
        match self.role {
            Role::Client => self.fail_connect("no answer in time", services, application),
            // Whoever sent nothing at all does not expect an answer.
            Role::Server if self.opening.is_none() => self.enter(Phase::Ended, services.now),
            Role::Server => {
                let rejection =
                    Rejection::new(Status::REQUEST_TIMEOUT, "the request head took too long");
                self.reject(&rejection, false, services);
            }
        }
    }

    /// The code an application sees when the peer's Close frame had none.
    pub(super) fn code_or_none(code: Option<CloseCode>) -> CloseCode {
        code.unwrap_or(CloseCode::NO_STATUS)
    }
}
