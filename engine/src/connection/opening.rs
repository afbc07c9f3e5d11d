//! The opening handshake of one connection (RFC 6455 section 4): collects the head, asks the
//! application, queues the answer. Parsing and checks are the protocol's.

use std::net::SocketAddr;

use super::{Application, Connection, Decision, Phase, Services};
use crate::protocol::handshake::{
    ClientRequest, ClientResponse, HandshakeError, HandshakeLimits, HeadScanner, HeaderStorage,
    Rejection, Request, Status, UpgradeFacts, write_page_with_headers, write_switching_protocols,
};
use crate::protocol::{CloseCode, Role};
use crate::tls::{ClientTls, Session, TlsError};

/// About how long an answer's head is.
pub(super) const HEAD_BYTES: usize = 256;

/// The request of an outbound connection, kept to check the answer against it.
#[derive(Debug)]
pub struct ClientHandshake {
    request: ClientRequest,
    /// The request as it is sent.
    bytes: Vec<u8>,
    verify_accept: bool,
    session: Option<Box<Session>>,
}

impl ClientHandshake {
    /// A handshake that begins with `request`.
    ///
    /// # Errors
    /// When a header of the request would break it apart.
    pub fn new(request: ClientRequest) -> Result<Self, HandshakeError> {
        let mut bytes = Vec::new();
        request.write_to(&mut bytes)?;
        Ok(Self { request, bytes, verify_accept: true, session: None })
    }

    /// Takes any answer for a `101`. Only for measuring against servers that answer with canned
    /// bytes; a real client must check (section 4.1).
    #[must_use]
    pub fn without_verification(mut self) -> Self {
        self.verify_accept = false;
        self
    }

    /// Speaks TLS first, to a server whose certificate must be for `host`: a name, or an address
    /// without brackets.
    ///
    /// # Errors
    /// When `host` is neither.
    pub fn over_tls(mut self, tls: &ClientTls, host: &str) -> Result<Self, TlsError> {
        self.session = Some(Box::new(tls.session(host)?));
        Ok(self)
    }

    pub(super) fn take_session(&mut self) -> Option<Box<Session>> {
        self.session.take()
    }

    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
    }
}

/// A handshake whose head has not arrived whole, or is being decided upon.
#[derive(Debug)]
pub(super) struct Opening {
    scanner: HeadScanner,
    head: Vec<u8>,
    client: Option<Box<ClientHandshake>>,
    /// The head is whole and the application decides on it: what has come behind it.
    early: Option<Vec<u8>>,
    /// A PROXY header comes first: what there is of it.
    pub(super) preface: Option<Vec<u8>>,
    /// Whom a trusted proxy speaks for. This is kept for as long as the connection.
    pub(super) client_address: Option<SocketAddr>,
}

impl Opening {
    fn server(scanner: HeadScanner, head: Vec<u8>) -> Self {
        Self { scanner, head, client: None, early: None, preface: None, client_address: None }
    }

    pub(super) fn behind_proxy() -> Self {
        Self { preface: Some(Vec::new()), ..Self::server(HeadScanner::new(), Vec::new()) }
    }

    pub(super) fn client(handshake: ClientHandshake) -> Self {
        let client = Some(Box::new(handshake));
        Self { client, ..Self::server(HeadScanner::for_response(), Vec::new()) }
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
                    self.hold_early(input, services);
                }
                Ok(None) => {
                    let head = std::mem::take(input).to_vec();
                    self.opening = Some(Box::new(Opening::server(scanner, head)));
                }
                Err(rejection) => self.reject(&rejection, false, services),
            }
            return;
        }
        if self.is_deciding() {
            return self.hold_early(input, services);
        }
        let Some(mut opening) = self.opening.take() else { return };
        match opening.scanner.scan(input, &limits) {
            Ok(Some(size)) => {
                let (front, rest) = std::mem::take(input).split_at_mut(size);
                *input = rest;
                opening.head.extend_from_slice(front);
                match &opening.client {
                    None => {
                        self.keep_client_address(opening.client_address);
                        self.answer_request(&opening.head, services, application);
                        self.hold_early(input, services);
                    }
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
                Ok(()) => application.decide(self, services, &request),
                Err(rejection) => Decision::Reject(rejection),
            };
            return match answer {
                Decision::Page { status, content_type, body, headers } => {
                    services.counters.rejected += 1;
                    let server = services.server_name.as_deref().map(|name| ("Server", name));
                    let own = headers.iter().map(|(name, value)| (&**name, &**value));
                    let headers: Vec<_> = own.chain(server).collect();
                    let head_only = head_only || status == Status::NOT_MODIFIED;
                    self.queue.append(&mut services.pool, HEAD_BYTES, |out| {
                        write_page_with_headers(
                            out,
                            status,
                            &content_type,
                            &body,
                            head_only,
                            &headers,
                        );
                    });
                    self.enter(Phase::Lingering, services.now);
                }
                Decision::Reject(rejection) => self.reject(&rejection, head_only, services),
                Decision::Accept { .. } | Decision::Later => {
                    self.reject(&Rejection::upgrade_required(), head_only, services);
                }
            };
        }
        let facts = match request.check() {
            Ok(facts) => facts,
            Err(rejection) => return self.reject(&rejection, head_only, services),
        };
        match application.decide(self, services, &request) {
            Decision::Later => {
                let mut opening = Opening::server(HeadScanner::new(), head.to_vec());
                opening.early = Some(Vec::new());
                opening.client_address = self.client_address();
                self.opening = Some(Box::new(opening));
            }
            decision => self.answer_upgrade(&request, &facts, decision, services, application),
        }
    }

    /// Notes whom a trusted proxy speaks for, if it does.
    pub fn keep_client_address(&mut self, address: Option<SocketAddr>) {
        if address.is_some() {
            let empty = || Box::new(Opening::server(HeadScanner::new(), Vec::new()));
            self.opening.get_or_insert_with(empty).client_address = address;
        }
    }

    /// Whether the peer has sent anything of a head.
    fn has_begun(&self) -> bool {
        self.opening.as_ref().is_some_and(|opening| {
            opening.scanner.has_begun() || opening.early.is_some() || opening.client.is_some()
        })
    }

    /// Whether the application has yet to decide on a request.
    #[must_use]
    pub fn is_deciding(&self) -> bool {
        self.phase == Phase::Handshake
            && self.opening.as_ref().is_some_and(|opening| opening.early.is_some())
    }

    /// Keeps what comes before the decision. A client should not send anything yet (section 4.1),
    /// but some do, and a little is no harm.
    fn hold_early(&mut self, input: &mut &mut [u8], services: &mut Services) {
        if !self.is_deciding() {
            return;
        }
        let input = std::mem::take(input);
        let early = self.opening.as_mut().and_then(|opening| opening.early.as_mut());
        let Some(early) = early else { return };
        if early.len() + input.len() > services.limits.early_bytes_max {
            let most = services.limits.early_bytes_max;
            let detail = format!("more than {most} bytes were sent before the answer: wait for it");
            return self.reject(&Rejection::new(Status::BAD_REQUEST, detail), false, services);
        }
        early.extend_from_slice(input);
    }

    /// Takes the decision on a request that was put off. Ignored when nobody waits for it any more.
    pub fn handle_decision(
        &mut self,
        decision: Decision,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        if !self.is_deciding() {
            return;
        }
        let Some(opening) = self.opening.take() else { return };
        self.keep_client_address(opening.client_address);
        let mut storage = HeaderStorage::new();
        let parsed = Request::parse(&opening.head, &mut storage, &limits(services));
        let checked = parsed.and_then(|request| request.check().map(|facts| (request, facts)));
        match checked {
            Ok((request, facts)) => {
                self.answer_upgrade(&request, &facts, decision, services, application);
            }
            // The limits may have been changed meanwhile.
            Err(rejection) => return self.reject(&rejection, false, services),
        }
        if self.phase == Phase::Open
            && let Some(mut early) = opening.early
        {
            self.receive_bytes(&mut early, services, application);
        }
    }

    fn answer_upgrade(
        &mut self,
        request: &Request<'_>,
        facts: &UpgradeFacts,
        decision: Decision,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        let head_only = request.method() == "HEAD";
        match decision {
            Decision::Accept { subprotocol, headers } => {
                let name = services.server_name.as_deref();
                let offered = |name: &&str| request.subprotocols().any(|offer| offer == *name);
                let chosen = subprotocol.as_deref().filter(offered);
                let contexts_bytes_max = services.limits.deflate_contexts_bytes_max;
                let deflate = services.compression.choose(request, contexts_bytes_max);
                let extensions = deflate.as_ref().map(|(_, answer)| answer.as_str());
                self.queue.append(&mut services.pool, HEAD_BYTES, |out| {
                    write_switching_protocols(
                        out,
                        &facts.accept,
                        chosen,
                        extensions,
                        name,
                        &headers,
                    );
                });
                if let Some((agreement, _)) = deflate {
                    self.agree(agreement, None, services);
                }
                self.open(services, application);
            }
            Decision::Reject(rejection) => self.reject(&rejection, head_only, services),
            Decision::Later => self.reject_internally(services),
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
        if client.verify_accept {
            match ClientResponse::parse(head, &client.request) {
                Ok(negotiated) => {
                    if let Some(agreement) = negotiated.deflate {
                        let wanted = client.request.deflate.as_ref();
                        self.agree(
                            agreement,
                            wanted.map(|wanted| wanted.threshold_bytes),
                            services,
                        );
                    }
                    application.negotiated(negotiated);
                }
                Err(error) => {
                    return self.fail_connect(&error.to_string(), services, application);
                }
            }
        }
        self.open(services, application);
    }

    fn open(&mut self, services: &mut Services, application: &mut impl Application) {
        services.counters.opened += 1;
        self.enter(Phase::Open, services.now);
        self.announced = true;
        self.meter(services);
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
        let named =
            services.server_name.clone().map(|name| rejection.clone().with_header("Server", name));
        let rejection = named.as_ref().unwrap_or(rejection);
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
        services.counters.timeouts_handshake += 1;
        match self.role {
            Role::Client => {
                let reason = format!("no answer within {:?}", services.limits.handshake_timeout);
                self.fail_connect(&reason, services, application);
            }
            // Whoever sent nothing at all does not expect an answer.
            Role::Server if !self.has_begun() => self.enter(Phase::Ended, services.now),
            Role::Server if self.is_deciding() => {
                let detail = "whether you may come in could not be found out in time: try again";
                let rejection = Rejection::new(Status::SERVICE_UNAVAILABLE, detail);
                self.reject(&rejection, false, services);
            }
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
