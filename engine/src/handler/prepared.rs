//! Messages framed beforehand, for those that are sent to many connections one by one.

use bytes::Bytes;

use super::Outgoing;
use crate::connection::{Compress, Connection, SendOutcome, Services};
use crate::protocol::{Encoder, MessageKind, Role};

/// Payloads from this size on are sent by reference. Below it a copy into what else is sent to the
/// connection is cheaper than a run of its own.
const SHARED_BYTES_MIN: usize = 1024;

/// A message that is framed once and sent to any number of connections, which share its bytes.
///
/// ```no_run
/// # use ringsock::{Conn, Prepared};
/// # fn greet(conn: &mut Conn<'_, ()>, welcome: &Prepared) {
/// conn.send(welcome);
/// # }
/// let welcome = Prepared::text("a long welcome to everybody");
/// ```
#[derive(Clone, Debug)]
pub struct Prepared {
    kind: MessageKind,
    frame: Bytes,
    header_bytes: usize,
}

impl Prepared {
    /// A text message.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(MessageKind::Text, text.as_bytes())
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: &[u8]) -> Self {
        Self::new(MessageKind::Binary, bytes)
    }

    fn new(kind: MessageKind, payload: &[u8]) -> Self {
        let mut frame = Vec::new();
        let encoder = Encoder::new(Role::Server);
        encoder.frame(&mut frame, kind.opcode(), true, payload, &mut || [0; 4]);
        let header_bytes = frame.len() - payload.len();
        Self { kind, frame: frame.into(), header_bytes }
    }
}

impl Outgoing for &Prepared {
    fn kind(&self) -> MessageKind {
        self.kind
    }

    fn bytes(&self) -> &[u8] {
        &self.frame[self.header_bytes..]
    }

    fn send_on(
        self,
        compress: Compress,
        connection: &mut Connection,
        services: &mut Services,
    ) -> SendOutcome {
        if self.bytes().len() < SHARED_BYTES_MIN || compress == Compress::Always {
            return connection.send(self.kind, self.bytes(), compress, services);
        }
        connection.send_shared(self.frame.clone(), 1, services)
    }
}
