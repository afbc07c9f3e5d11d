//! The WebSocket protocol without I/O: bytes to events, messages to bytes (RFC 6455). There is no
//! socket, no clock and no `unsafe` here; whoever brings their own I/O can use it alone.
//!
//! ```
//! use ringsock::protocol::{Decoder, Event, MessageKind, Role};
//! use ringsock::buffer::Pool;
//!
//! let mut frame = *b"\x81\x82\x01\x02\x03\x04Ik"; // "Hi" masked with 01 02 03 04
//! let mut input = &mut frame[..];
//! let mut pool = Pool::new();
//! let event = Decoder::new(Role::Server).next(&mut input, &mut pool, 1024).unwrap();
//! let Some(Event::Message { kind: MessageKind::Text, payload }) = event else { panic!() };
//! assert_eq!(payload.bytes(), b"Hi");
//! ```
#![forbid(unsafe_code)]

mod close;
mod decoder;
#[cfg(test)]
mod decoder_tests;
pub mod deflate;
mod encoder;
mod error;
mod frame;
mod framed_message;
pub mod handshake;
mod proxy_header;

pub use close::{CLOSE_REASON_BYTES_MAX, CloseCode, truncate_reason};
pub use decoder::{Decoder, Event, Received};
pub use encoder::Encoder;
pub use error::ProtocolError;
pub use frame::{CONTROL_BYTES_MAX, FrameHeader, HEADER_BYTES_MAX, Opcode, Role};
pub(crate) use framed_message::{FramedMessage, compressed_frame};
pub use proxy_header::{BadProxyHeader, ProxyHeader};

/// The two kinds of data a message can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

impl MessageKind {
    /// The opcode of such a message's first frame.
    #[must_use]
    pub fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}
