//! The engine's own connections without sockets and with virtual time: the driver here hands over
//! bytes, passes time, and takes what is to be sent. Nothing here judges.

use std::time::Duration;

use ringsock::buffer::Payload;
use ringsock::connection::{
    Application, ClientHandshake, CloseInfo, Compress, Connection, Decision, Phase, Services,
};
use ringsock::protocol::MessageKind;
use ringsock::protocol::handshake::{ClientRequest, Request};
use ringsock::{Deflate, Limits};

use crate::answer::Message;
use crate::client::Outcome;
use crate::row::Deadline;
use crate::subject::{Effort, Link, Received, Subject};

/// Time passes in steps of this length, so that deadlines are met with this precision.
const STEP: Duration = Duration::from_millis(20);
/// Most bytes of one receive; what they cause is sent before the next, as a driver does.
const RECEIVE_BYTES_MAX: usize = 64 * 1024;

/// Servers with the default limits.
#[derive(Default)]
pub(crate) struct Servers {
    limits: Limits,
}

impl Subject for Servers {
    fn connect(&self) -> Box<dyn Link + '_> {
        let mut services = Services::new(self.limits.clone(), None);
        services.compression.accept(Deflate::default());
        let connection = Connection::server(services.now, &services);
        let application = Recorder { echoes: true, ..Recorder::default() };
        Box::new(MemoryLink::new(connection, services, application))
    }

    fn effort(&self) -> Effort {
        Effort::All
    }

    fn deadline(&self, deadline: Deadline) -> Option<Duration> {
        Some(match deadline {
            Deadline::Handshake => self.limits.handshake_timeout,
            Deadline::Assembly => self.limits.assembly_timeout,
            Deadline::Close => self.limits.close_timeout,
        })
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(6)
    }
}

/// A client with the default limits that offers these subprotocols and, unless the words are empty,
/// this compression. The link is its server's end.
pub(crate) fn client(subprotocols: &[String], deflate: &str) -> MemoryLink {
    let mut services = Services::new(Limits::default(), None);
    let request = ClientRequest {
        host: "server.example.com".to_owned(),
        target: "/chat".to_owned(),
        subprotocols: subprotocols.to_vec(),
        deflate: (!deflate.is_empty()).then(|| deflate.parse().expect("words for compression")),
        headers: Vec::new(),
        key: *b"sixteen bytes!!!",
    };
    let now = services.now;
    let handshake = ClientHandshake::new(request).expect("the request can be written");
    let connection = Connection::client(handshake, now, &mut services);
    MemoryLink::new(connection, services, Recorder::default())
}

/// One connection and the driver's part of it.
pub(crate) struct MemoryLink {
    connection: Connection,
    services: Services,
    application: Recorder,
    /// Sent by the connection and not yet handed to the row.
    sent: Vec<u8>,
}

impl MemoryLink {
    fn new(connection: Connection, services: Services, application: Recorder) -> Self {
        let mut link = Self { connection, services, application, sent: Vec::new() };
        link.flush();
        link
    }

    /// Sends what waits, at once and whole.
    fn flush(&mut self) {
        while let Some(batch) = self.connection.poll_transmit(&mut self.services) {
            for segment in batch.segments() {
                self.sent.extend_from_slice(segment.bytes());
            }
            self.connection.handle_transmitted(batch.len(), true, &mut self.services);
            batch.recycle(&mut self.services.pool);
        }
    }

    /// What the application above the connection saw.
    pub(crate) fn seen(&self) -> &Outcome {
        &self.application.outcome
    }

    fn end(&mut self, reset: bool) {
        self.connection.handle_end(reset, &mut self.services, &mut self.application);
        self.flush();
    }

    /// Whether a driver would have ended our direction: nothing more can follow.
    fn has_ended(&self) -> bool {
        let ending =
            matches!(self.connection.phase(), Phase::Flushing | Phase::Lingering | Phase::Ended);
        ending && !self.connection.has_waiting()
    }
}

impl Link for MemoryLink {
    fn send(&mut self, segment: &[u8]) {
        for piece in segment.chunks(RECEIVE_BYTES_MAX) {
            if self.connection.phase() == Phase::Ended {
                return;
            }
            let mut received = piece.to_vec();
            self.connection.handle_receive(
                &mut received,
                &mut self.services,
                &mut self.application,
            );
            self.flush();
        }
    }

    fn settle(&mut self) {}

    fn finish_sending(&mut self) {
        self.end(false);
    }

    fn reset(&mut self) {
        self.end(true);
    }

    fn advance(&mut self, time: Duration) {
        let end = self.services.now.after(time);
        while !self.services.now.reached(end) {
            let now = self.services.now.after(STEP).earlier(end);
            self.services.now = now;
            if now.reached(self.connection.next_deadline(&self.services)) {
                self.connection.handle_deadline(&mut self.services, &mut self.application);
                self.flush();
            }
        }
    }

    fn receive(&mut self, patience: Duration) -> Received {
        let end = self.services.now.after(patience);
        loop {
            if !self.sent.is_empty() {
                return Received::Bytes(std::mem::take(&mut self.sent));
            }
            if self.has_ended() {
                return Received::Ended;
            }
            if self.services.now.reached(end) {
                return Received::Nothing;
            }
            self.advance(STEP);
        }
    }

    fn is_gone(&mut self) -> bool {
        self.connection.phase() == Phase::Ended
    }

    fn application_close_code(&self) -> Option<u16> {
        self.application.outcome.close_code
    }
}

/// An application that notes what it is told, and echoes messages if it is to.
#[derive(Default)]
struct Recorder {
    echoes: bool,
    opened: usize,
    outcome: Outcome,
}

impl Application for Recorder {
    fn decide(
        &mut self,
        _connection: &mut Connection,
        _services: &mut Services,
        _request: &Request<'_>,
    ) -> Decision {
        Decision::Accept { subprotocol: None, headers: Vec::new() }
    }

    fn opened(&mut self, _connection: &mut Connection, _services: &mut Services) {
        self.opened += 1;
        assert_eq!(self.opened, 1, "a connection opens once");
    }

    fn message(
        &mut self,
        connection: &mut Connection,
        services: &mut Services,
        kind: MessageKind,
        payload: Payload<'_>,
    ) {
        assert!(
            self.opened == 1 && self.outcome.close_code.is_none(),
            "messages come between open and close"
        );
        if self.echoes {
            let _queued = connection.send_payload(kind, payload, Compress::Auto, services);
            return;
        }
        let content = payload.bytes().to_vec();
        self.outcome.messages.push(Message::new(kind, content));
    }

    fn pong(&mut self, _connection: &mut Connection, _services: &mut Services, _payload: &[u8]) {}

    fn closed(
        &mut self,
        _connection: &mut Connection,
        _services: &mut Services,
        info: CloseInfo<'_>,
    ) {
        assert!(self.opened == 1 && self.outcome.close_code.is_none(), "it closes once");
        self.outcome.close_code = Some(info.code.0);
    }

    fn connect_failed(&mut self, reason: &str) {
        assert_eq!(self.opened, 0, "a connection that was open did not fail to open");
        self.outcome.refusal = Some(reason.to_owned());
    }
}
