//! A piece of a message as a handler receives it. Pieces are cut and sent elsewhere.

use super::Outgoing;
use crate::connection::Piece;
use crate::protocol::MessageKind;

/// A piece of a received message, borrowed for one callback. It can be sent on as it is, with
/// [`Conn::send_chunk`](crate::Conn::send_chunk) or
/// [`Conn::send_last_chunk`](crate::Conn::send_last_chunk).
#[derive(Debug)]
pub struct Chunk<'a> {
    kind: MessageKind,
    piece: Piece<'a>,
}

impl<'a> Chunk<'a> {
    pub(crate) fn new(kind: MessageKind, piece: Piece<'a>) -> Self {
        Self { kind, piece }
    }

    /// Text or binary, the same for all pieces of a message.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Whether it begins the message.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.piece.is_first
    }

    /// Whether it ends the message.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.piece.is_last
    }

    /// The bytes; none only in the last one. Of text all bytes so far are valid UTF-8, but a piece may
    /// end within a character.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.piece.bytes
    }

    /// The bytes, to change in place.
    #[must_use]
    pub fn payload(&mut self) -> &mut [u8] {
        self.piece.bytes
    }
}

impl Outgoing for Chunk<'_> {
    fn kind(&self) -> MessageKind {
        self.kind
    }

    fn bytes(&self) -> &[u8] {
        self.piece.bytes
    }
}
