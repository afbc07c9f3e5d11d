//! TLS between the runner and a server under test: what rows send goes in records, one for each
//! segment, and what records bring is judged. How a server speaks TLS is tested elsewhere.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection};

use crate::row::Deadline;
use crate::subject::{Effort, Link, Received, Subject};

/// A server behind TLS.
pub(crate) struct Secured<S> {
    pub(crate) server: S,
    pub(crate) config: Arc<ClientConfig>,
}

impl<S: Subject> Subject for Secured<S> {
    fn connect(&self) -> Box<dyn Link + '_> {
        let name = "localhost".try_into().expect("a name");
        let mut session =
            ClientConnection::new(Arc::clone(&self.config), name).expect("a session begins");
        session.set_buffer_limit(None);
        let mut link = SecuredLink {
            link: self.server.connect(),
            session,
            inbox: Vec::new(),
            has_ended: false,
        };
        while link.session.is_handshaking() {
            link.flush();
            if link.session.is_handshaking() {
                let arrived = link.take_in(self.server.patience());
                assert_eq!(arrived, None, "the server shakes hands");
            }
        }
        link.flush();
        Box::new(link)
    }

    fn effort(&self) -> Effort {
        self.server.effort()
    }

    fn deadline(&self, deadline: Deadline) -> Option<Duration> {
        self.server.deadline(deadline)
    }

    fn patience(&self) -> Duration {
        self.server.patience()
    }
}

struct SecuredLink<'a> {
    link: Box<dyn Link + 'a>,
    session: ClientConnection,
    /// Content that arrived.
    inbox: Vec<u8>,
    /// The server has said close_notify.
    has_ended: bool,
}

impl SecuredLink<'_> {
    /// Sends the records that are ready.
    fn flush(&mut self) {
        let mut records = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut records).expect("a vector takes everything");
        }
        if !records.is_empty() {
            self.link.send(&records);
        }
    }

    /// Receives records; why there were none.
    fn take_in(&mut self, patience: Duration) -> Option<Received> {
        let bytes = match self.link.receive(patience) {
            Received::Bytes(bytes) => bytes,
            none => return Some(none),
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match self.session.read_tls(&mut rest) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => panic!("received content is not read: {error}"),
            }
            let state = self.session.process_new_packets().expect("the server's records are sound");
            let start = self.inbox.len();
            self.inbox.resize(start + state.plaintext_bytes_to_read(), 0);
            self.session.reader().read_exact(&mut self.inbox[start..]).expect("it is there");
            self.has_ended |= state.peer_has_closed();
        }
        None
    }
}

impl Link for SecuredLink<'_> {
    fn send(&mut self, segment: &[u8]) {
        self.session.writer().write_all(segment).expect("there is no limit");
        self.flush();
    }

    fn settle(&mut self) {
        self.link.settle();
    }

    fn finish_sending(&mut self) {
        self.session.send_close_notify();
        self.flush();
        self.link.finish_sending();
    }

    fn reset(&mut self) {
        self.link.reset();
    }

    fn advance(&mut self, time: Duration) {
        self.link.advance(time);
    }

    fn receive(&mut self, patience: Duration) -> Received {
        loop {
            if !self.inbox.is_empty() {
                return Received::Bytes(std::mem::take(&mut self.inbox));
            }
            if self.has_ended {
                return Received::Ended;
            }
            if let Some(none) = self.take_in(patience) {
                return none;
            }
        }
    }

    fn is_gone(&mut self) -> bool {
        self.link.is_gone()
    }

    fn application_close_code(&self) -> Option<u16> {
        self.link.application_close_code()
    }
}
