//! Messages as handlers receive and send them. Framing happens elsewhere.

use crate::buffer::Payload;
use crate::connection::{Connection, SendOutcome, Services};
use crate::protocol::MessageKind;

/// A received message: text (checked to be UTF-8) or binary, borrowed for one callback.
#[derive(Debug)]
pub struct Message<'a> {
    kind: MessageKind,
    payload: Payload<'a>,
}

impl<'a> Message<'a> {
    /// A message of `kind` with this payload.
    #[must_use]
    pub fn new(kind: MessageKind, payload: Payload<'a>) -> Self {
        Self { kind, payload }
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Whether it is text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.kind == MessageKind::Text
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.payload.bytes()
    }

    /// The bytes, to parse or change in place.
    #[must_use]
    pub fn payload(&mut self) -> &mut [u8] {
        self.payload.bytes_mut()
    }

    /// The text; `None` for binary. The bytes are checked once more, because
    /// [`payload`](Self::payload) may have changed them: about a nanosecond for each 16 bytes.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.kind {
            MessageKind::Text => simdutf8::basic::from_utf8(self.bytes()).ok(),
            MessageKind::Binary => None,
        }
    }
}

/// A text message to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Text<T>(pub T);

/// A binary message to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Binary<T>(pub T);

/// What can be sent: [`Text`], [`Binary`], or a received [`Message`].
pub trait Outgoing {
    /// Text or binary.
    fn kind(&self) -> MessageKind;

    /// The payload.
    fn bytes(&self) -> &[u8];

    /// Queues it; a received message may hand over its memory instead of being copied.
    #[doc(hidden)]
    fn send_on(self, connection: &mut Connection, services: &mut Services) -> SendOutcome
    where
        Self: Sized,
    {
        connection.send(self.kind(), self.bytes(), services)
    }
}

impl<T: AsRef<str>> Outgoing for Text<T> {
    fn kind(&self) -> MessageKind {
        MessageKind::Text
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_ref().as_bytes()
    }
}

impl<T: AsRef<[u8]>> Outgoing for Binary<T> {
    fn kind(&self) -> MessageKind {
        MessageKind::Binary
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl Outgoing for Message<'_> {
    fn kind(&self) -> MessageKind {
        self.kind
    }

    fn bytes(&self) -> &[u8] {
        self.payload.bytes()
    }

    fn send_on(self, connection: &mut Connection, services: &mut Services) -> SendOutcome {
        connection.send_payload(self.kind, self.payload, services)
    }
}
