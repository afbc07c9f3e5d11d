//! Messages framed beforehand, for those that are sent to many connections one by one.

use super::Outgoing;
use crate::connection::{Compress, Connection, SendOutcome, Services};
use crate::protocol::{FramedMessage, MessageKind};

/// A message that is framed once and sent to any number of connections, which share its bytes, or
/// published. Where compression was agreed on without context takeover it is compressed once, too,
/// for each window.
///
/// ```no_run
/// # use ringsock::{Conn, Prepared};
/// # fn greet(conn: &mut Conn<'_, ()>, welcome: &Prepared) {
/// conn.send(welcome);
/// # }
/// let welcome = Prepared::text("a long welcome to everybody");
/// ```
#[derive(Clone, Debug)]
pub struct Prepared(FramedMessage);

impl Prepared {
    /// A text message.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(FramedMessage::new(MessageKind::Text, text.as_bytes()))
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: &[u8]) -> Self {
        Self(FramedMessage::new(MessageKind::Binary, bytes))
    }

    pub(super) fn framed(&self) -> &FramedMessage {
        &self.0
    }
}

impl Outgoing for &Prepared {
    fn kind(&self) -> MessageKind {
        self.0.kind()
    }

    fn bytes(&self) -> &[u8] {
        self.0.payload()
    }

    fn prepared(&self) -> Option<&Prepared> {
        Some(self)
    }

    fn send_on(
        self,
        compress: Compress,
        connection: &mut Connection,
        services: &mut Services,
    ) -> SendOutcome {
        connection.send_prepared(&self.0, compress, services)
    }
}
