//! Joins a connection to the handler: makes the `Conn` that a callback sees.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use rustix::net::AddressFamily;

use super::admitting::{Counted, count_in};
use crate::buffer::Payload;
use crate::connection::{Application, CloseInfo, Connection, Decision, Phase, Piece, Services};
use crate::handler::{
    Addresses, Admission, Chunk, Conn, Deciding, Handler, Message, Neighbour, Outbound, Site,
    Token, Upgrade, complete,
};
use crate::protocol::MessageKind;
use crate::protocol::handshake::{Negotiated, Rejection, Request, RequestContext, Status};
use crate::pubsub::Hub;

/// Whom a socket comes from; `None` when it is gone.
fn neighbour(socket: Option<BorrowedFd<'_>>) -> Option<Neighbour> {
    let address = rustix::net::getpeername(socket?).ok()?;
    match address.map(|address| (address.address_family(), SocketAddr::try_from(address))) {
        // A Unix socket without a name of its own, which is what clients have.
        None | Some((AddressFamily::UNIX, _)) => Some(Neighbour::Unix),
        Some((_, address)) => address.ok().map(Neighbour::Address),
    }
}

fn address_of(neighbour: Neighbour) -> Option<SocketAddr> {
    match neighbour {
        Neighbour::Address(address) => Some(address),
        Neighbour::Unix => None,
    }
}

fn too_many() -> Rejection {
    let detail = "your address has too many connections here, or makes them too fast";
    Rejection::new(Status::TOO_MANY_REQUESTS, detail).with_header("Retry-After", "1")
}

/// A handler with one connection's state.
pub(super) struct Glue<'a, H: Handler> {
    pub(super) handler: &'a mut H,
    pub(super) state: &'a mut Option<H::State>,
    pub(super) hub: &'a RefCell<Hub>,
    pub(super) outbound: &'a mut Outbound<H::State>,
    /// The shard is draining and opens no connection.
    pub(super) refuses: bool,
    pub(super) site: &'a Site,
    pub(super) addresses: &'a Addresses,
    pub(super) counted: &'a mut Counted,
    pub(super) deciding: &'a Rc<Deciding<H::State>>,
    pub(super) token: Token,
    pub(super) socket: Option<BorrowedFd<'a>>,
}

impl<H: Handler> Glue<'_, H> {
    #[inline]
    fn call(
        &mut self,
        connection: &mut Connection,
        services: &mut Services,
        callback: impl FnOnce(&mut H, &mut Conn<'_, H::State>),
    ) {
        let Some(state) = self.state else { return };
        let mut conn = Conn {
            connection,
            services,
            state,
            hub: self.hub,
            outbound: self.outbound,
            token: self.token,
            socket: self.socket,
        };
        callback(self.handler, &mut conn);
    }

    fn neighbour(&self) -> Option<Neighbour> {
        neighbour(self.socket)
    }

    /// Takes the client's address from a header, if whoever sends it is trusted; the address.
    fn believe_headers(
        &self,
        connection: &mut Connection,
        request: &Request<'_>,
    ) -> Option<SocketAddr> {
        let proxies = self.site.proxies();
        if !proxies.write_headers() {
            return None;
        }
        let told = connection.client_address().map(Neighbour::Address);
        let is_trusted = |sender| proxies.include(sender);
        let sender = told.or_else(|| self.neighbour()).filter(|sender| is_trusted(*sender));
        let client = sender.and_then(|_| proxies.client_of(request));
        connection.keep_client_address(client);
        client
    }

    /// A decision that was put off has been made; `None` if that went wrong.
    pub(super) fn decided(
        &mut self,
        connection: &mut Connection,
        services: &mut Services,
        upgrade: Option<Upgrade<H::State>>,
        admission: Admission,
    ) {
        if !connection.is_deciding() {
            return;
        }
        let (decision, state) = match upgrade {
            _ if self.refuses => (Decision::Reject(Rejection::going_away()), None),
            Some(upgrade) => upgrade.into_parts(),
            None => (Decision::Later, None),
        };
        *self.state = state;
        connection.handle_decision(complete(decision, admission), services, self);
    }

    /// Messages of a topic were missed.
    pub(super) fn missed(
        &mut self,
        connection: &mut Connection,
        services: &mut Services,
        topic: &str,
        messages: u64,
    ) {
        // One that is closing cannot do anything about it.
        if connection.phase() == Phase::Open {
            self.call(connection, services, |handler, conn| handler.on_gap(conn, topic, messages));
        }
    }

    /// The queue has shrunk below its mark.
    pub(super) fn drained(&mut self, connection: &mut Connection, services: &mut Services) {
        self.call(connection, services, |handler, conn| handler.on_drain(conn));
    }
}

impl<H: Handler> Application for Glue<'_, H> {
    fn expects_proxy_header(&self) -> bool {
        let proxies = self.site.proxies();
        proxies.speak_proxy_protocol() && self.neighbour().is_some_and(|it| proxies.include(it))
    }

    fn admits(&mut self, client: SocketAddr, services: &mut Services) -> bool {
        if self.site.proxies().include(Neighbour::Address(client)) {
            // It speaks for another one in its turn. As no proxy is counted, nothing is counted twice.
            return true;
        }
        match count_in(self.addresses, client.ip(), services) {
            Ok(counted) => *self.counted = counted,
            Err(_) => return false,
        }
        true
    }

    fn decide(
        &mut self,
        connection: &mut Connection,
        services: &mut Services,
        request: &Request<'_>,
    ) -> Decision {
        if self.refuses && request.is_upgrade() {
            return Decision::Reject(Rejection::going_away());
        }
        let told = self.believe_headers(connection, request);
        if told.is_some_and(|client| !self.admits(client, services)) {
            return Decision::Reject(too_many());
        }
        let (told, socket) = (connection.client_address(), self.socket);
        let ask = move || told.or_else(|| address_of(neighbour(socket)?));
        let context = RequestContext { peer_address: Some(&ask), ..*request.context() };
        let request = &request.with_context(context);
        let (handler, own) = (&mut *self.handler, &mut *self.state);
        let mut later = None;
        let (decision, admission) = self.site.decide(request, |request| {
            let (decision, state) = match handler.on_upgrade(request).into_future() {
                Ok(future) => {
                    later = Some(future);
                    return Decision::Later;
                }
                Err(upgrade) => upgrade.into_parts(),
            };
            *own = state;
            decision
        });
        match later {
            Some(future) => {
                self.deciding.start(self.token, future, admission);
                Decision::Later
            }
            None => complete(decision, admission),
        }
    }

    fn negotiated(&mut self, negotiated: Negotiated) {
        if let Some(state) = self.state {
            self.handler.on_negotiated(state, &negotiated);
        }
    }

    fn opened(&mut self, connection: &mut Connection, services: &mut Services) {
        self.call(connection, services, |handler, conn| handler.on_open(conn));
    }

    #[inline]
    fn message(
        &mut self,
        connection: &mut Connection,
        services: &mut Services,
        kind: MessageKind,
        payload: Payload<'_>,
    ) {
        self.call(connection, services, |handler, conn| {
            handler.on_message(conn, Message::new(kind, payload));
        });
    }

    fn chunk(
        &mut self,
        connection: &mut Connection,
        services: &mut Services,
        kind: MessageKind,
        piece: Piece<'_>,
    ) {
        self.call(connection, services, |handler, conn| {
            handler.on_chunk(conn, Chunk::new(kind, piece));
        });
    }

    fn pong(&mut self, connection: &mut Connection, services: &mut Services, payload: &[u8]) {
        self.call(connection, services, |handler, conn| handler.on_pong(conn, payload));
    }

    fn closed(
        &mut self,
        connection: &mut Connection,
        services: &mut Services,
        info: CloseInfo<'_>,
    ) {
        self.call(connection, services, |handler, conn| handler.on_close(conn, info));
        self.hub.borrow_mut().leave(self.token.slot);
    }

    fn connect_failed(&mut self, reason: &str) {
        if let Some(state) = self.state.take() {
            self.handler.on_connect_failed(self.outbound, state, reason);
        }
    }
}
