//! What a client's connection has received and nobody has asked for yet. It decides nothing.

use std::collections::VecDeque;

use super::socket::Closed;
use crate::buffer::{HEADROOM_BYTES, Payload};
use crate::connection::{Application, CloseInfo, Connection, Decision, Services};
use crate::protocol::MessageKind;
use crate::protocol::handshake::{Negotiated, Rejection, Request};

/// The application of one client connection: keeps events for the task that reads them.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    messages: VecDeque<(MessageKind, Vec<u8>)>,
    bytes: usize,
    pub(super) open: bool,
    pub(super) subprotocol: Option<String>,
    pub(super) refused: Option<String>,
    pub(super) closed: Option<Closed>,
}

impl Inbox {
    /// The oldest message, in a vector whose first [`HEADROOM_BYTES`] are free.
    pub(super) fn pop(&mut self) -> Option<(MessageKind, Vec<u8>)> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.1.len();
        Some(message)
    }

    /// Payload bytes that wait, with their headroom.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the messages.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }
}

impl Application for Inbox {
    fn decide(
        &mut self,
        _connection: &mut Connection,
        _services: &mut Services,
        _request: &Request<'_>,
    ) -> Decision {
        // Nobody asks a client.
        Decision::Reject(Rejection::upgrade_required())
    }

    fn negotiated(&mut self, negotiated: Negotiated) {
        self.subprotocol = negotiated.subprotocol;
    }

    fn opened(&mut self, _connection: &mut Connection, _services: &mut Services) {
        self.open = true;
    }

    fn message(
        &mut self,
        _connection: &mut Connection,
        _services: &mut Services,
        kind: MessageKind,
        payload: Payload<'_>,
    ) {
        let vector = match payload {
            Payload::Assembled(vector) => std::mem::take(vector),
            Payload::InPlace(payload) => {
                let mut vector = Vec::with_capacity(HEADROOM_BYTES + payload.bytes().len());
                vector.resize(HEADROOM_BYTES, 0);
                vector.extend_from_slice(payload.bytes());
                vector
            }
        };
        self.bytes += vector.len();
        self.messages.push_back((kind, vector));
    }

    fn pong(&mut self, _connection: &mut Connection, _services: &mut Services, _payload: &[u8]) {}

    fn closed(
        &mut self,
        _connection: &mut Connection,
        _services: &mut Services,
        info: CloseInfo<'_>,
    ) {
        let CloseInfo { code, reason, by } = info;
        self.closed = Some(Closed { code, reason: reason.to_owned(), by });
    }

    fn connect_failed(&mut self, reason: &str) {
        self.refused = Some(reason.to_owned());
    }
}
