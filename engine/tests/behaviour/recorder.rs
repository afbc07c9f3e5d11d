//! A handler that tells the test what it is told, and does what the client's messages say. Texts
//! that are no command are sent back, and so is all that is binary.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use ringsock::connection::ClosedBy;
use ringsock::http::Request;
use ringsock::{CloseCode, CloseInfo, Conn, Handler, Message, Text, Upgrade};

use crate::client::PATIENCE;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) by: ClosedBy,
}

/// What a handler was told, and of which connection: they are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Opened(u64),
    Pong(u64, Vec<u8>),
    Drained(u64),
    Closed(u64, Ending),
}

/// The handler.
pub(crate) struct Recorder {
    seen: Sender<Seen>,
    connections: u64,
}

impl Recorder {
    /// A factory of handlers, and what they will be told.
    pub(crate) fn new() -> (impl Fn() -> Self + Send + Sync + 'static, Record) {
        let (seen, record) = mpsc::channel();
        (move || Self { seen: seen.clone(), connections: 0 }, Record(record))
    }

    fn tell(&self, seen: Seen) {
        // The test may be over before its server is.
        let _ = self.seen.send(seen);
    }
}

/// One connection's number and how many messages it has sent.
pub(crate) struct Count {
    connection: u64,
    messages: u64,
}

impl Handler for Recorder {
    type State = Count;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Count> {
        assert_ne!(request.path(), "/panic-on-upgrade", "as the test wants");
        self.connections += 1;
        Upgrade::accept(Count { connection: self.connections - 1, messages: 0 })
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Count>) {
        self.tell(Seen::Opened(conn.state().connection));
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Count>, message: Message<'_>) {
        conn.state_mut().messages += 1;
        let text = message.as_text().unwrap_or_default().to_owned();
        let mut words = text.splitn(3, ' ');
        match words.next() {
            Some("close") => {
                let code = words.next().and_then(|code| code.parse().ok()).expect("a code");
                conn.close(CloseCode(code), words.next().unwrap_or_default());
            }
            Some("ping") => {
                let _queued = conn.ping(words.next().unwrap_or_default().as_bytes());
            }
            Some("panic") => panic!("as the test wants"),
            Some("count") => {
                let count = conn.state().messages.to_string();
                let _queued = conn.send(Text(count));
            }
            Some("address") => {
                let address = conn.peer_address().map(|address| address.to_string());
                let _queued = conn.send(Text(address.unwrap_or_default()));
            }
            _ => {
                let _queued = conn.send(message);
            }
        }
    }

    fn on_pong(&mut self, conn: &mut Conn<'_, Count>, payload: &[u8]) {
        self.tell(Seen::Pong(conn.state().connection, payload.to_vec()));
    }

    fn on_drain(&mut self, conn: &mut Conn<'_, Count>) {
        self.tell(Seen::Drained(conn.state().connection));
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Count>, info: CloseInfo<'_>) {
        let ending = Ending { code: info.code.0, reason: info.reason.to_owned(), by: info.by };
        self.tell(Seen::Closed(conn.state().connection, ending));
        assert_ne!(info.reason, "panic in on_close", "as the test wants");
    }
}

/// What the handlers were told, in order.
pub(crate) struct Record(Receiver<Seen>);

impl Record {
    /// The next entry, which must come.
    pub(crate) fn next(&self) -> Seen {
        self.0.recv_timeout(PATIENCE).expect("the handler is told something")
    }

    /// The next entry must be the opening of this connection.
    pub(crate) fn opened(&self, connection: u64) {
        assert_eq!(self.next(), Seen::Opened(connection));
    }

    /// The next entry must be the end of this connection; how it ended.
    pub(crate) fn closed(&self, connection: u64) -> Ending {
        loop {
            match self.next() {
                Seen::Closed(found, ending) if found == connection => return ending,
                // Whether large answers left at once is not what the test is about.
                Seen::Drained(_) => {}
                other => panic!("{other:?} instead of the end of connection {connection}"),
            }
        }
    }

    /// Nothing must come any more: the server has ended, or this much time has passed.
    pub(crate) fn expect_nothing(&self, time: Duration) {
        match self.0.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            Ok(seen) => panic!("the handler was also told {seen:?}"),
        }
    }

    /// All that has come and all that comes until the server has ended.
    pub(crate) fn rest(self) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            match self.0.recv_timeout(PATIENCE) {
                Ok(next) => seen.push(next),
                Err(RecvTimeoutError::Disconnected) => return seen,
                Err(RecvTimeoutError::Timeout) => panic!("the handlers have not been dropped"),
            }
        }
    }
}
