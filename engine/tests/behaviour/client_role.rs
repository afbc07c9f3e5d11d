//! Connections that a handler opens itself, against servers of this engine and against servers that
//! misbehave. Each driver is tried on each side.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringsock::client::{Outbound, OutboundRequest};
use ringsock::connection::ClientHandshake;
use ringsock::connection::ClosedBy;
use ringsock::http::{Request, Status};
use ringsock::protocol::handshake::{ClientRequest, WebSocketUrl, accept_value};
use ringsock::tls::ClientTls;
use ringsock::{
    Binary, CloseCode, CloseInfo, Conn, Driver, Handler, Limits, MIB, Message, Server, Upgrade,
};

use crate::client::PATIENCE;
use crate::random::Random;
use crate::recorder::{Ending, Record, Recorder};
use crate::served::{Served, drivers, for_each_driver};

/// Around every change of a frame header's form.
const SIZES: [usize; 9] = [0, 1, 125, 126, 65_535, 65_536, 100_000, MIB, 3 * MIB];

/// What a caller was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Opened,
    Message(Vec<u8>),
    Closed(Ending),
    Failed(String),
}

/// Opens one connection at the start, sends, and tells what happens.
struct Caller {
    address: SocketAddr,
    sends: Vec<Vec<u8>>,
    closes_after: Option<usize>,
    /// With what to speak TLS, and to whom.
    tls: Option<(ClientTls, &'static str)>,
    told: Sender<Told>,
}

impl Caller {
    fn tell(&self, told: Told) {
        let _ = self.told.send(told);
    }
}

impl Handler for Caller {
    type State = usize;

    fn on_start(&mut self, outbound: &mut Outbound<usize>) {
        let url = WebSocketUrl::parse(&format!("ws://{}/feed", self.address)).expect("a URL");
        let request = ClientRequest::new(&url).expect("a key");
        let mut handshake = ClientHandshake::new(request).expect("a request");
        if let Some((tls, name)) = &self.tls {
            handshake = handshake.over_tls(tls, name).expect("a name");
        }
        outbound.connect(OutboundRequest { address: self.address, source: None, handshake }, 0);
    }

    fn on_upgrade(&mut self, _request: &Request<'_>) -> Upgrade<usize> {
        Upgrade::reject(Status::NOT_FOUND, "it listens nowhere")
    }

    fn on_open(&mut self, conn: &mut Conn<'_, usize>) {
        self.tell(Told::Opened);
        for payload in &self.sends {
            let _queued = conn.send(Binary(payload));
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, usize>, message: Message<'_>) {
        self.tell(Told::Message(message.bytes().to_vec()));
        *conn.state_mut() += 1;
        if self.closes_after == Some(*conn.state()) {
            conn.close(CloseCode(4010), "heard enough");
        }
    }

    fn on_close(&mut self, _conn: &mut Conn<'_, usize>, info: CloseInfo<'_>) {
        let reason = info.reason.to_owned();
        self.tell(Told::Closed(Ending { code: info.code.0, reason, by: info.by }));
    }

    fn on_connect_failed(&mut self, _outbound: &mut Outbound<usize>, state: usize, reason: &str) {
        assert_eq!(state, 0, "the state comes back");
        self.tell(Told::Failed(reason.to_owned()));
    }
}

fn limits() -> Limits {
    Limits {
        message_bytes_max: 4 * MIB,
        send_queue_bytes_max: 16 * MIB,
        receive_pause_bytes: 16 * MIB,
        handshake_timeout: Duration::from_secs(5),
        close_timeout: Duration::from_secs(1),
        ..Limits::default()
    }
}

/// A shard that calls `address`, and what it is told.
pub(crate) struct Call {
    told: Receiver<Told>,
    running: Option<ringsock::Running>,
}

impl Call {
    fn start(
        driver: Driver,
        address: SocketAddr,
        sends: Vec<Vec<u8>>,
        closes_after: Option<usize>,
    ) -> Self {
        Self::start_with(driver, address, sends, closes_after, None)
    }

    /// The same, with TLS.
    pub(crate) fn secured(
        driver: Driver,
        address: SocketAddr,
        sends: Vec<Vec<u8>>,
        tls: (ClientTls, &'static str),
    ) -> Self {
        Self::start_with(driver, address, sends, None, Some(tls))
    }

    fn start_with(
        driver: Driver,
        address: SocketAddr,
        sends: Vec<Vec<u8>>,
        closes_after: Option<usize>,
        tls: Option<(ClientTls, &'static str)>,
    ) -> Self {
        let (told, receiver) = mpsc::channel();
        let server = Server::builder().cores(ringsock::Cores::List(vec![0])).driver(driver);
        let running = server.limits(limits()).start(move |_| Caller {
            address,
            sends: sends.clone(),
            closes_after,
            tls: tls.clone(),
            told: told.clone(),
        });
        Self { told: receiver, running: Some(running.expect("it starts without listening")) }
    }

    pub(crate) fn next(&self) -> Told {
        self.told.recv_timeout(PATIENCE).expect("the caller is told something")
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.controller().stop();
            running.join().expect("it ends without an error");
        }
    }
}

/// A server of this engine with either driver.
fn answering(driver: Driver) -> (Served, Record) {
    let (factory, record) = Recorder::new();
    let configure = |server: ringsock::ServerBuilder| server.limits(limits());
    (Served::configured(driver, configure, move |_| factory()), record)
}

fn ending(code: u16, reason: &str, by: ClosedBy) -> Ending {
    Ending { code, reason: reason.to_owned(), by }
}

#[test]
fn messages_of_every_size_come_back_and_the_caller_closes() {
    for_each_driver(|driver| {
        for answering_driver in drivers() {
            let (server, record) = answering(answering_driver);
            let mut random = Random(31);
            let sends: Vec<Vec<u8>> = SIZES.iter().map(|size| random.bytes(*size)).collect();
            let call = Call::start(driver, server.address, sends.clone(), Some(SIZES.len()));
            assert_eq!(call.next(), Told::Opened);
            for payload in sends {
                let Told::Message(found) = call.next() else { panic!("a message") };
                assert!(found == payload, "{} bytes for {}", found.len(), payload.len());
            }
            assert_eq!(call.next(), Told::Closed(ending(4010, "", ClosedBy::Local)));
            record.opened(0);
            assert_eq!(record.closed(0), ending(4010, "heard enough", ClosedBy::Peer));
        }
    });
}

#[test]
fn a_close_of_the_server_is_told() {
    for_each_driver(|driver| {
        for answering_driver in drivers() {
            let (server, record) = answering(answering_driver);
            let call = Call::start(driver, server.address, vec![b"one".to_vec()], None);
            assert_eq!(call.next(), Told::Opened);
            assert_eq!(call.next(), Told::Message(b"one".to_vec()));
            record.opened(0);
            server.controller.drain();
            let farewell = ending(1001, "the server is going away", ClosedBy::Peer);
            assert_eq!(call.next(), Told::Closed(farewell));
            assert_eq!(record.closed(0), ending(1001, "", ClosedBy::Local));
            server.join().unwrap();
        }
    });
}

#[test]
fn a_server_that_is_cut_off_is_told_as_1006() {
    for_each_driver(|driver| {
        let (server, record) = answering(driver);
        let call = Call::start(driver, server.address, vec![], None);
        assert_eq!(call.next(), Told::Opened);
        record.opened(0);
        server.stop();
        assert_eq!(call.next(), Told::Closed(ending(1006, "", ClosedBy::Transport)));
    });
}

#[test]
fn a_port_that_nobody_listens_on_fails_with_the_cause() {
    for_each_driver(|driver| {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let call = Call::start(driver, address, vec![], None);
        let Told::Failed(reason) = call.next() else { panic!("nobody is there") };
        assert!(reason.contains("refused"), "{reason}");
    });
}

/// A server that reads one request and lets `answer` do what it likes.
fn scripted(
    answer: impl FnOnce(&mut TcpStream, &str) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("GET /feed HTTP/1.1\r\n"), "{head}");
        answer(&mut stream, &head);
        // Waits until the caller has closed, so that it is the answer it judges and not our end.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    (address, thread)
}

/// The value that the answer to this request must carry.
fn accept_for(head: &str) -> String {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut keys = lines.filter(|(name, _)| *name == "Sec-WebSocket-Key");
    let (_, key) = keys.next().expect("a key");
    String::from_utf8(accept_value(key.as_bytes()).to_vec()).expect("base64")
}

fn switching(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

#[test]
fn answers_that_are_no_upgrade_fail_the_connection() {
    for_each_driver(|driver| {
        let long = format!("HTTP/1.1 101 Switching Protocols\r\nX: {}\r\n", "x".repeat(20_000));
        let answers = [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 301 Moved Permanently\r\nLocation: ws://127.0.0.1/\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "\u{0}\u{1}\u{2}\u{3}\r\n\r\n",
            &switching("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            &long,
        ];
        for answer in answers {
            let text = answer.to_owned();
            let (address, thread) =
                scripted(move |stream, _| stream.write_all(text.as_bytes()).unwrap());
            let call = Call::start(driver, address, vec![], None);
            let Told::Failed(reason) = call.next() else { panic!("{answer} is no upgrade") };
            assert!(!reason.is_empty());
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_server_that_ends_or_resets_during_the_handshake_fails_the_connection() {
    for_each_driver(|driver| {
        for linger in [None, Some(Duration::ZERO)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let call = Call::start(driver, address, vec![], None);
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 101 Swi").unwrap();
            socket2::SockRef::from(&stream).set_linger(linger).unwrap();
            drop(stream);
            let Told::Failed(reason) = call.next() else { panic!("it was never open") };
            assert!(!reason.is_empty());
        }
    });
}

#[test]
fn a_server_that_never_answers_fails_the_connection_by_its_deadline() {
    for_each_driver(|driver| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (told, receiver) = mpsc::channel();
        let address = listener.local_addr().unwrap();
        let limits = Limits { handshake_timeout: Duration::from_millis(300), ..Limits::default() };
        let server = Server::builder().cores(ringsock::Cores::List(vec![0])).driver(driver);
        let running = server.limits(limits).start(move |_| Caller {
            address,
            sends: vec![],
            closes_after: None,
            tls: None,
            told: told.clone(),
        });
        let _call = Call { told: mpsc::channel().1, running: Some(running.unwrap()) };
        let Ok(Told::Failed(reason)) = receiver.recv_timeout(PATIENCE) else {
            panic!("nobody answers")
        };
        assert!(reason.contains("within 300ms"), "{reason}");
    });
}

#[test]
fn a_masked_frame_of_a_server_is_a_violation() {
    for_each_driver(|driver| {
        let (close, received) = mpsc::channel();
        let (address, thread) = scripted(move |stream, head| {
            stream.write_all(switching(&accept_for(head)).as_bytes()).unwrap();
            stream.write_all(&crate::client::frame(true, 1, b"masked", 77)).unwrap();
            let mut bytes = [0; 8];
            stream.read_exact(&mut bytes).unwrap();
            close.send(bytes).unwrap();
        });
        let call = Call::start(driver, address, vec![], None);
        assert_eq!(call.next(), Told::Opened);
        let Told::Closed(found) = call.next() else { panic!("a violation") };
        assert_eq!((found.code, found.by), (1002, ClosedBy::Local));
        let bytes = received.recv_timeout(PATIENCE).unwrap();
        assert_eq!(bytes[0], 0x88, "a Close frame");
        assert_eq!(bytes[1] & 0x80, 0x80, "which a client masks");
        let code = [bytes[6] ^ bytes[2], bytes[7] ^ bytes[3]];
        assert_eq!(u16::from_be_bytes(code), 1002);
        drop(call);
        thread.join().unwrap();
    });
}

#[test]
fn frames_right_behind_the_answer_are_received() {
    for_each_driver(|driver| {
        let (address, thread) = scripted(|stream, head| {
            let mut bytes = switching(&accept_for(head)).into_bytes();
            bytes.extend_from_slice(b"\x82\x05early");
            stream.write_all(&bytes).unwrap();
        });
        let call = Call::start(driver, address, vec![], Some(1));
        assert_eq!(call.next(), Told::Opened);
        assert_eq!(call.next(), Told::Message(b"early".to_vec()));
        drop(call);
        thread.join().unwrap();
    });
}
