//! Several handlers with states of different types behind one `Handler`. It decides nothing: the
//! site has found the route before, and each callback goes to the handler of the connection's own
//! route. A server with a single handler does not come through here.

use std::any::Any;

use super::{Chunk, Conn, Handler, Message, Outbound, Upgrade};
use crate::connection::CloseInfo;
use crate::protocol::handshake::{Negotiated, Request, Status};

/// A connection's state with the number of its route.
pub(crate) struct RoutedState {
    route: u16,
    state: Box<dyn Any>,
}

/// The handlers of all routes, by number.
pub(crate) struct RoutedHandler {
    mounts: Vec<Box<dyn Mounted>>,
}

impl RoutedHandler {
    pub(crate) fn new(mounts: Vec<Box<dyn Mounted>>) -> Self {
        Self { mounts }
    }

    fn mount(&mut self, conn: &Conn<'_, RoutedState>) -> Option<&mut Box<dyn Mounted>> {
        self.mounts.get_mut(usize::from(conn.state().route))
    }
}

impl Handler for RoutedHandler {
    type State = RoutedState;

    fn on_start(&mut self, outbound: &mut Outbound<RoutedState>) {
        self.mounts.iter_mut().for_each(|mount| mount.on_start(outbound));
    }

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<RoutedState> {
        match request.context().route.and_then(|route| self.mounts.get_mut(usize::from(route))) {
            Some(mount) => mount.on_upgrade(request),
            None => Upgrade::reject(Status::NOT_FOUND, "nothing is served at this path"),
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, RoutedState>) {
        if let Some(mount) = self.mount(conn) {
            mount.on_open(conn);
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, RoutedState>, message: Message<'_>) {
        if let Some(mount) = self.mount(conn) {
            mount.on_message(conn, message);
        }
    }

    fn on_chunk(&mut self, conn: &mut Conn<'_, RoutedState>, chunk: Chunk<'_>) {
        if let Some(mount) = self.mount(conn) {
            mount.on_chunk(conn, chunk);
        }
    }

    fn on_pong(&mut self, conn: &mut Conn<'_, RoutedState>, payload: &[u8]) {
        if let Some(mount) = self.mount(conn) {
            mount.on_pong(conn, payload);
        }
    }

    fn on_drain(&mut self, conn: &mut Conn<'_, RoutedState>) {
        if let Some(mount) = self.mount(conn) {
            mount.on_drain(conn);
        }
    }

    fn on_gap(&mut self, conn: &mut Conn<'_, RoutedState>, topic: &str, messages: u64) {
        if let Some(mount) = self.mount(conn) {
            mount.on_gap(conn, topic, messages);
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_, RoutedState>, info: CloseInfo<'_>) {
        if let Some(mount) = self.mount(conn) {
            mount.on_close(conn, info);
        }
    }

    fn on_negotiated(&mut self, state: &mut RoutedState, negotiated: &Negotiated) {
        if let Some(mount) = self.mounts.get_mut(usize::from(state.route)) {
            mount.on_negotiated(state, negotiated);
        }
    }

    fn on_connect_failed(
        &mut self,
        outbound: &mut Outbound<RoutedState>,
        state: RoutedState,
        reason: &str,
    ) {
        if let Some(mount) = self.mounts.get_mut(usize::from(state.route)) {
            mount.on_connect_failed(outbound, state, reason);
        }
    }
}

/// A handler whose state's type is hidden. The callbacks are those of [`Handler`].
pub(crate) trait Mounted {
    fn on_start(&mut self, outbound: &mut Outbound<RoutedState>);
    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<RoutedState>;
    fn on_open(&mut self, conn: &mut Conn<'_, RoutedState>);
    fn on_message(&mut self, conn: &mut Conn<'_, RoutedState>, message: Message<'_>);
    fn on_chunk(&mut self, conn: &mut Conn<'_, RoutedState>, chunk: Chunk<'_>);
    fn on_pong(&mut self, conn: &mut Conn<'_, RoutedState>, payload: &[u8]);
    fn on_drain(&mut self, conn: &mut Conn<'_, RoutedState>);
    fn on_gap(&mut self, conn: &mut Conn<'_, RoutedState>, topic: &str, messages: u64);
    fn on_close(&mut self, conn: &mut Conn<'_, RoutedState>, info: CloseInfo<'_>);
    fn on_negotiated(&mut self, state: &mut RoutedState, negotiated: &Negotiated);
    fn on_connect_failed(
        &mut self,
        outbound: &mut Outbound<RoutedState>,
        state: RoutedState,
        reason: &str,
    );
}

/// A handler at its route.
pub(crate) struct Mount<H: Handler> {
    route: u16,
    handler: H,
    /// Outbound connections as the handler asks for them, before their states are wrapped.
    outbound: Outbound<H::State>,
}

impl<H: Handler> Mount<H> {
    pub(crate) fn new(route: u16, handler: H) -> Self {
        Self { route, handler, outbound: Outbound::default() }
    }

    fn call(
        &mut self,
        conn: &mut Conn<'_, RoutedState>,
        callback: impl FnOnce(&mut H, &mut Conn<'_, H::State>),
    ) {
        // The type is always right: only this mount makes states of its route.
        let Some(state) = conn.state.state.downcast_mut::<H::State>() else { return };
        let mut own = Conn {
            connection: conn.connection,
            services: conn.services,
            state,
            hub: conn.hub,
            outbound: &mut self.outbound,
            token: conn.token,
            socket: conn.socket,
        };
        callback(&mut self.handler, &mut own);
        self.pass_outbound(conn.outbound);
    }

    fn pass_outbound(&mut self, outbound: &mut Outbound<RoutedState>) {
        if self.outbound.is_empty() {
            return;
        }
        let route = self.route;
        for (request, state) in self.outbound.take() {
            outbound.connect(request, RoutedState { route, state: Box::new(state) });
        }
    }
}

impl<H: Handler> Mounted for Mount<H> {
    fn on_start(&mut self, outbound: &mut Outbound<RoutedState>) {
        self.handler.on_start(&mut self.outbound);
        self.pass_outbound(outbound);
    }

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<RoutedState> {
        let route = self.route;
        let wrap = move |state| RoutedState { route, state: Box::new(state) };
        self.handler.on_upgrade(request).map(wrap)
    }

    fn on_open(&mut self, conn: &mut Conn<'_, RoutedState>) {
        self.call(conn, |handler, conn| handler.on_open(conn));
    }

    fn on_message(&mut self, conn: &mut Conn<'_, RoutedState>, message: Message<'_>) {
        self.call(conn, |handler, conn| handler.on_message(conn, message));
    }

    fn on_chunk(&mut self, conn: &mut Conn<'_, RoutedState>, chunk: Chunk<'_>) {
        self.call(conn, |handler, conn| handler.on_chunk(conn, chunk));
    }

    fn on_pong(&mut self, conn: &mut Conn<'_, RoutedState>, payload: &[u8]) {
        self.call(conn, |handler, conn| handler.on_pong(conn, payload));
    }

    fn on_drain(&mut self, conn: &mut Conn<'_, RoutedState>) {
        self.call(conn, |handler, conn| handler.on_drain(conn));
    }

    fn on_gap(&mut self, conn: &mut Conn<'_, RoutedState>, topic: &str, messages: u64) {
        self.call(conn, |handler, conn| handler.on_gap(conn, topic, messages));
    }

    fn on_close(&mut self, conn: &mut Conn<'_, RoutedState>, info: CloseInfo<'_>) {
        self.call(conn, |handler, conn| handler.on_close(conn, info));
    }

    fn on_negotiated(&mut self, state: &mut RoutedState, negotiated: &Negotiated) {
        if let Some(state) = state.state.downcast_mut::<H::State>() {
            self.handler.on_negotiated(state, negotiated);
        }
    }

    fn on_connect_failed(
        &mut self,
        outbound: &mut Outbound<RoutedState>,
        state: RoutedState,
        reason: &str,
    ) {
        if let Ok(state) = state.state.downcast::<H::State>() {
            self.handler.on_connect_failed(&mut self.outbound, *state, reason);
            self.pass_outbound(outbound);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The callbacks that a source declares or passes on.
    fn callbacks(source: &str) -> BTreeSet<&str> {
        let names = source.split("fn on_").skip(1);
        names.map(|rest| rest.split(['(', '<']).next().unwrap_or_default()).collect()
    }

    #[test]
    fn every_callback_of_a_handler_reaches_the_handlers_of_routes() {
        let passed_on = callbacks(include_str!("routed.rs"));
        let declared = callbacks(include_str!("mod.rs"));
        assert!(declared.contains("message"), "{declared:?}");
        let missing: Vec<_> = declared.difference(&passed_on).collect();
        assert!(missing.is_empty(), "not passed on to routes: {missing:?}");
    }
}
