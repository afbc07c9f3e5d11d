//! Joins a connection to the handler: makes the `Conn` that a callback sees.

use std::os::fd::BorrowedFd;

use crate::buffer::Payload;
use crate::connection::{Application, CloseInfo, Connection, Decision, Services};
use crate::handler::{Conn, Handler, Message, Outbound, Pages, Token};
use crate::protocol::MessageKind;
use crate::protocol::handshake::{Rejection, Request};
use crate::pubsub::{Hub, Subscriptions};

/// A handler with one connection's state.
pub(super) struct Glue<'a, H: Handler> {
    pub(super) handler: &'a mut H,
    pub(super) state: &'a mut Option<H::State>,
    pub(super) subscriptions: &'a mut Subscriptions,
    pub(super) hub: &'a mut Hub,
    pub(super) outbound: &'a mut Outbound<H::State>,
    pub(super) pages: &'a Pages,
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
            subscriptions: self.subscriptions,
            hub: self.hub,
            outbound: self.outbound,
            token: self.token,
            socket: self.socket,
        };
        callback(self.handler, &mut conn);
    }

    /// The queue has shrunk below its mark.
    pub(super) fn drained(&mut self, connection: &mut Connection, services: &mut Services) {
        self.call(connection, services, |handler, conn| handler.on_drain(conn));
    }
}

impl<H: Handler> Application for Glue<'_, H> {
    fn decide(&mut self, request: &Request<'_>) -> Decision {
        if request.is_upgrade() {
            let (decision, state) = self.handler.on_upgrade(request).into_parts();
            *self.state = state;
            return decision;
        }
        match self.pages.find(request.path()) {
            Some(page) => page.decision(),
            None => Decision::Reject(Rejection::upgrade_required()),
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
    }

    fn connect_failed(&mut self, reason: &str) {
        if let Some(state) = self.state.take() {
            self.handler.on_connect_failed(self.outbound, state, reason);
        }
    }
}
