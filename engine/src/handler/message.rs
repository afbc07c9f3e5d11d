//! Messages as handlers receive and send them. Framing happens elsewhere.

use super::Prepared;
use crate::buffer::Payload;
use crate::connection::{Compress, Connection, SendOutcome, Services};
use crate::protocol::MessageKind;
use crate::pubsub::Content;

/// A message as topics take it.
pub(super) fn content(message: &impl Outgoing) -> Content<'_> {
    let compress = match message.compress() {
        Compress::Auto => None,
        Compress::Always => Some(true),
        Compress::Never => Some(false),
    };
    let (kind, payload) = (message.kind(), message.bytes());
    Content { kind, payload, framed: message.prepared().map(Prepared::framed), compress }
}

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

    /// Whether it is sent compressed, to a peer with which that was agreed on.
    fn compress(&self) -> Compress {
        Compress::Auto
    }

    /// The same message, compressed whatever its length.
    ///
    /// ```no_run
    /// # use ringsock::{Conn, Outgoing, Text};
    /// # fn reply(conn: &mut Conn<'_, ()>) {
    /// conn.send(Text("ok ok ok ok ok").compressed());
    /// # }
    /// ```
    fn compressed(self) -> Compressed<Self>
    where
        Self: Sized,
    {
        Compressed(self)
    }

    /// The same message, not compressed: for what is compressed already, and for what mixes a
    /// secret with what a stranger chose, whose length would tell of the secret (RFC 7692
    /// section 8).
    fn uncompressed(self) -> Uncompressed<Self>
    where
        Self: Sized,
    {
        Uncompressed(self)
    }

    /// The message that was framed beforehand, if it is one.
    #[doc(hidden)]
    fn prepared(&self) -> Option<&Prepared> {
        None
    }

    /// Queues it; a received message may hand over its memory instead of being copied.
    #[doc(hidden)]
    fn send_on(
        self,
        compress: Compress,
        connection: &mut Connection,
        services: &mut Services,
    ) -> SendOutcome
    where
        Self: Sized,
    {
        connection.send(self.kind(), self.bytes(), compress, services)
    }
}

/// See [`Outgoing::compressed`].
#[derive(Clone, Copy, Debug)]
pub struct Compressed<M>(M);

/// See [`Outgoing::uncompressed`].
#[derive(Clone, Copy, Debug)]
pub struct Uncompressed<M>(M);

/// A message with another answer to whether it is compressed.
macro_rules! compressed_as {
    ($wrapper:ident, $compress:expr) => {
        impl<M: Outgoing> Outgoing for $wrapper<M> {
            fn kind(&self) -> MessageKind {
                self.0.kind()
            }

            fn bytes(&self) -> &[u8] {
                self.0.bytes()
            }

            fn compress(&self) -> Compress {
                $compress
            }

            fn prepared(&self) -> Option<&Prepared> {
                self.0.prepared()
            }

            fn send_on(
                self,
                compress: Compress,
                connection: &mut Connection,
                services: &mut Services,
            ) -> SendOutcome {
                self.0.send_on(compress, connection, services)
            }
        }
    };
}

compressed_as!(Compressed, Compress::Always);
compressed_as!(Uncompressed, Compress::Never);

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

    fn send_on(
        self,
        compress: Compress,
        connection: &mut Connection,
        services: &mut Services,
    ) -> SendOutcome {
        connection.send_payload(self.kind, self.payload, compress, services)
    }
}
