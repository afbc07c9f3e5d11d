//! TLS over real sockets, against rustls' own client. Which bytes are legal inside is tested by the
//! table in `tests/wire`, sessions by themselves in the engine.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringsock::client::block_on;
use ringsock::connection::ClosedBy;
use ringsock::reports::Counters;
use ringsock::server::TrustedProxies;
use ringsock::tls::ClientTls;
use ringsock::{Client as TaskClient, Driver, KIB, Limits, MIB, ServerBuilder, Text};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::certificate::Certificate;
use crate::client::{self, BINARY, PATIENCE, TEXT};
use crate::client_role::{Call, Told};
use crate::random::Random;
use crate::recorder::Recorder;
use crate::served::{Echo, Served, for_each_driver};

/// A WebSocket over TLS.
pub(crate) struct Secured {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Secured {
    /// Shakes hands with TLS only.
    pub(crate) fn raw(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::behind(address, config, b"")
    }

    /// The same behind what a proxy says first.
    fn behind(address: SocketAddr, config: &Arc<ClientConfig>, preface: &[u8]) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(preface).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let name = "localhost".try_into().unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        Self { stream }
    }

    pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let mut secured = Self::raw(address, config);
        secured.upgrade();
        secured
    }

    pub(crate) fn upgrade(&mut self) {
        self.send(client::upgrade_request("/", "").as_bytes());
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.take(1));
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut taken = vec![0; bytes];
        self.stream.read_exact(&mut taken).unwrap();
        taken
    }

    pub(crate) fn echo(&mut self, opcode: u8, payload: &[u8]) {
        self.send(&client::frame(true, opcode, payload, 77));
        let header = self.take(2);
        assert_eq!(header[0], 0x80 | opcode);
        let length = match header[1] {
            126 => usize::from(u16::from_be_bytes(self.take(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.take(8).try_into().unwrap()) as usize,
            length => usize::from(length),
        };
        assert_eq!(length, payload.len());
        assert!(self.take(length) == payload, "{length} bytes came back changed");
    }

    /// Whether close_notify comes before the end of the stream; nothing else may.
    fn ends_properly(mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(rest, b""),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return false,
            Err(error) => panic!("{error}"),
        }
        true
    }
}

/// A server of one shard that speaks TLS.
pub(crate) fn start(
    driver: Driver,
    certificate: &Certificate,
    configure: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> Served {
    Served::configured(driver, |server| configure(server.tls(certificate.tls())), |_| Echo)
}

pub(crate) fn counters(server: &Served) -> Counters {
    let reports = server.controller.reports(PATIENCE, 0);
    reports[0].as_ref().expect("the shard answers").counters
}

#[test]
fn messages_of_every_size_pass_through_tls() {
    for_each_driver(|driver| {
        for tiny in [false, true] {
            let certificate = Certificate::issue();
            let limits = Limits {
                message_bytes_max: 4 * MIB,
                send_queue_bytes_max: 8 * MIB,
                receive_pause_bytes: 64 * KIB,
                ..Limits::default()
            };
            let configure = |server: ServerBuilder| {
                let server = server.limits(limits);
                if tiny { server.tiny_buffers() } else { server }
            };
            let server = start(driver, &certificate, configure);
            let config = certificate.client_config();
            let mut secured = Secured::connect(server.address, &config);
            let mut random = Random(41);
            for size in [0, 1, 125, 126, 4_095, 16_376, 16_384, 65_536, 200_000, 3 * MIB] {
                secured.echo(BINARY, &random.bytes(size));
            }
            secured.echo(TEXT, "grüße".as_bytes());
        }
    });
}

#[test]
fn a_completed_close_ends_with_close_notify() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let server = start(driver, &certificate, |server| server);
        let mut secured = Secured::connect(server.address, &certificate.client_config());
        secured.send(&client::frame(true, client::CLOSE, &1000u16.to_be_bytes(), 5));
        assert_eq!(secured.take(4), [0x88, 2, 3, 232]);
        assert!(secured.ends_properly());
        // A refusal ends like that as well.
        let mut secured = Secured::raw(server.address, &certificate.client_config());
        secured.send(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut answer = Vec::new();
        secured.stream.read_to_end(&mut answer).expect("close_notify");
        assert!(answer.starts_with(b"HTTP/1.1 "), "{}", answer.escape_ascii());
    });
}

#[test]
fn an_end_without_a_close_frame_is_told_as_1006() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let (factory, record) = Recorder::new();
        let tls = certificate.tls();
        let server = Served::configured(driver, |server| server.tls(tls), move |_| factory());
        let config = certificate.client_config();
        for (connection, notify) in [(0, false), (1, true)] {
            let mut secured = Secured::connect(server.address, &config);
            record.opened(connection);
            if notify {
                secured.stream.conn.send_close_notify();
                secured.stream.flush().unwrap();
            } else {
                secured.stream.sock.shutdown(Shutdown::Write).unwrap();
            }
            let ending = record.closed(connection);
            assert_eq!((ending.code, ending.by), (1006, ClosedBy::Transport));
            assert!(secured.ends_properly());
        }
    });
}

#[test]
fn a_proxy_speaks_before_tls_begins() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let (factory, _record) = Recorder::new();
        let proxies = TrustedProxies::new(["127.0.0.0/8"]).unwrap().proxy_protocol();
        let tls = certificate.tls();
        let configure = |server: ServerBuilder| server.tls(tls).trusted_proxies(proxies);
        let server = Served::configured(driver, configure, move |_| factory());
        let preface = b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n";
        let mut secured = Secured::behind(server.address, &certificate.client_config(), preface);
        secured.upgrade();
        secured.send(&client::frame(true, TEXT, b"address", 3));
        assert_eq!(secured.take(17), b"\x81\x0f192.0.2.7:51000");
    });
}

#[test]
fn a_damaged_record_is_answered_with_an_alert_and_counted() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let server = start(driver, &certificate, |server| server);
        let mut secured = Secured::connect(server.address, &certificate.client_config());
        secured.stream.sock.write_all(b"\x17\x03\x03\x00\x20").unwrap();
        secured.stream.sock.write_all(&[7; 32]).unwrap();
        let error = secured.stream.read(&mut [0]).unwrap_err().to_string();
        assert!(error.contains("BadRecordMac"), "{error}");
        assert_eq!(counters(&server).tls_bad_records, 1);
    });
}

#[test]
fn plain_http_on_a_port_for_tls_is_told_so() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let server = start(driver, &certificate, |server| server);
        let mut client = client::Client::raw(server.address);
        client.send_bytes(client::upgrade_request("/", "").as_bytes());
        let answer = String::from_utf8(client.rest()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("wss://"), "{answer}");
        assert_eq!(counters(&server).tls_plain_http, 1);
    });
}

#[test]
fn whoever_does_not_finish_the_handshake_is_dropped_by_its_deadline() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let limits = Limits { handshake_timeout: Duration::from_millis(400), ..Limits::default() };
        let server = start(driver, &certificate, |server| server.limits(limits));
        let began = Instant::now();
        let mut silent = client::Client::raw(server.address);
        let mut slow = client::Client::raw(server.address);
        slow.send_bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01");
        std::thread::sleep(Duration::from_millis(200));
        slow.send_bytes(&[0; 8]);
        assert_eq!(slow.rest(), b"");
        assert_eq!(silent.rest(), b"");
        assert!(began.elapsed() < Duration::from_secs(2), "progress does not prolong it");
    });
}

#[test]
fn a_storm_of_handshakes_is_spread_over_turns_and_nobody_is_forgotten() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let limits = Limits { tls_handshakes_per_turn: 1, ..Limits::default() };
        let server = start(driver, &certificate, |server| server.limits(limits));
        let (address, config) = (server.address, certificate.client_config());
        let mut steady = Secured::connect(address, &config);
        let storm: Vec<_> = (0..64)
            .map(|_| {
                let config = Arc::clone(&config);
                std::thread::spawn(move || Secured::connect(address, &config).echo(TEXT, b"here"))
            })
            .collect();
        for _ in 0..50 {
            steady.echo(TEXT, b"still served");
        }
        storm.into_iter().for_each(|client| client.join().unwrap());
        let counters = counters(&server);
        assert_eq!(counters.tls_established, 65);
        assert!(counters.tls_handshakes_put_off > 0, "{counters:?}");
    });
}

#[test]
fn a_later_connection_resumes_the_session() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let server = start(driver, &certificate, |server| server);
        let config = certificate.client_config();
        for _ in 0..3 {
            Secured::connect(server.address, &config).echo(TEXT, b"hello");
        }
        assert_eq!(counters(&server).tls_resumed, 2);
    });
}

#[test]
fn a_reload_changes_the_certificate_of_a_running_server() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let server = start(driver, &certificate, |server| server);
        let mut open = Secured::connect(server.address, &certificate.client_config());
        certificate.issue_again();
        server.controller.reload_tls().unwrap();
        Secured::connect(server.address, &certificate.client_config()).echo(TEXT, b"new");
        open.echo(TEXT, b"old");
    });
}

#[test]
fn outbound_connections_speak_tls_and_judge_the_certificate() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let server = start(driver, &certificate, |server| server);
        let roots = ClientTls::roots_from(certificate.path()).unwrap();
        let sends = vec![b"over TLS".to_vec(), vec![7; 100_000]];
        for tls in [roots.clone(), ClientTls::insecure().unwrap()] {
            let call = Call::secured(driver, server.address, sends.clone(), (tls, "localhost"));
            assert_eq!(call.next(), Told::Opened);
            for payload in &sends {
                assert_eq!(call.next(), Told::Message(payload.clone()));
            }
        }
        let others = ClientTls::roots_from(Certificate::issue().path()).unwrap();
        for (tls, name) in [(others, "localhost"), (roots, "elsewhere.example")] {
            let call = Call::secured(driver, server.address, vec![], (tls, name));
            let Told::Failed(reason) = call.next() else { panic!("an unknown certificate") };
            assert!(reason.contains("certificate"), "{reason}");
        }
        assert_eq!(counters(&server).tls_peer_alerts, 2);
    });
}

#[test]
fn a_client_of_a_task_speaks_tls_when_its_address_says_so() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let server = start(driver, &certificate, |server| server);
        let url = format!("wss://localhost:{}/", server.address.port());
        let tls = ClientTls::roots_from(certificate.path()).unwrap();
        let told = block_on(async {
            let mut socket = TaskClient::new(url.clone()).tls(tls).connect().await.unwrap();
            socket.send(Text("hello")).await.unwrap();
            let message = socket.next().await.unwrap().expect("an echo");
            message.bytes().to_vec()
        });
        assert_eq!(told, b"hello");
        let others = ClientTls::roots_from(Certificate::issue().path()).unwrap();
        let refused =
            block_on(async { TaskClient::new(url).tls(others).connect().await.map(drop) });
        assert!(refused.unwrap_err().to_string().contains("certificate"));
    });
}
