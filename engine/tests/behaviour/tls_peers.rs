//! Peers that speak TLS oddly, badly, or not to the end. What they may send before there are keys is a
//! table in `tests/wire`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringsock::Limits;
use ringsock::testing::MemoryServer;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};

use crate::certificate::Certificate;
use crate::client::{self, BINARY, PATIENCE, PING, TEXT};
use crate::process;
use crate::served::{Echo, alone_for_each_driver, for_each_driver};
use crate::tls::{Secured, counters, start};

/// A client's configuration for one version of TLS.
fn only(
    certificate: &Certificate,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let usual = certificate.client_config();
    let provider = Arc::clone(usual.crypto_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
    Arc::new(builder.unwrap().with_root_certificates(roots).with_no_client_auth())
}

fn session(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap()
}

/// What a session wants to send.
fn records(session: &mut ClientConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut records).unwrap();
    }
    records
}

fn raw(address: std::net::SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// All that still comes; a reset is an end as well.
fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut some) = (Vec::new(), [0; 4096]);
    while let Ok(bytes @ 1..) = socket.read(&mut some) {
        all.extend_from_slice(&some[..bytes]);
    }
    all
}

/// Handshake records of one byte each instead of one that holds all.
fn one_byte_a_record(record: &[u8]) -> Vec<u8> {
    assert_eq!(usize::from(u16::from_be_bytes([record[3], record[4]])), record.len() - 5);
    let pieces = record[5..].iter();
    pieces.flat_map(|byte| [record[0], record[1], record[2], 0, 1, *byte]).collect()
}

#[test]
fn a_hello_in_records_of_one_byte_is_as_good_as_any() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let server = start(driver, &certificate, |server| server);
        for version in [&TLS13, &TLS12] {
            for segment_bytes in [1, 6, 1_000_000] {
                let mut session = session(&only(&certificate, version));
                let mut socket = raw(server.address);
                let hello = one_byte_a_record(&records(&mut session));
                hello.chunks(segment_bytes).for_each(|piece| socket.write_all(piece).unwrap());
                let stream = rustls::StreamOwned::new(session, socket);
                let mut secured = Secured { stream };
                while secured.stream.conn.is_handshaking() {
                    secured.stream.conn.complete_io(&mut secured.stream.sock).unwrap();
                }
                secured.upgrade();
                secured.echo(TEXT, b"all the same");
            }
        }
    });
}

#[test]
fn a_handshake_message_that_never_ends_is_neither_waited_for_nor_made_room_for() {
    alone_for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let server = start(driver, &certificate, |server| server);
        Secured::connect(server.address, &certificate.client_config()).echo(TEXT, b"before");
        process::forget_memory_peak();
        let before = process::memory_peak_bytes();
        // As long as may be announced, and then without end, in records that are as long as can be.
        let mut record = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff".to_vec();
        record.resize(5 + 16_384, 0);
        let sockets: Vec<_> = (0..20)
            .map(|_| {
                let mut socket = raw(server.address);
                for _ in 0..10 {
                    if socket.write_all(&record).is_err() {
                        break;
                    }
                    record[5] = 0;
                }
                record[5] = 1;
                socket
            })
            .collect();
        for mut socket in sockets {
            let answer = rest(&mut socket);
            // Whoever still sends while it is closed may lose the alert.
            assert!(matches!(answer.get(..1), None | Some([21])), "{}", answer.escape_ascii());
        }
        let grown = process::memory_peak_bytes().saturating_sub(before);
        assert!(grown < 8 << 20, "{} KiB for twenty of them", grown / 1024);
        assert_eq!(counters(&server).tls_malformed, 20);
    });
}

#[test]
fn key_updates_without_end_are_refused() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let server = start(driver, &certificate, |server| server);
        let mut secured = Secured::connect(server.address, &only(&certificate, &TLS13));
        for round in 0..20 {
            // Some, with content between them, are nobody's business.
            secured.stream.conn.refresh_traffic_keys().unwrap();
            secured.echo(TEXT, format!("keys of round {round}").as_bytes());
        }
        for _ in 0..40 {
            secured.stream.conn.refresh_traffic_keys().unwrap();
        }
        let flood = records(&mut secured.stream.conn);
        secured.stream.sock.write_all(&flood).unwrap();
        let error = secured.stream.read(&mut [0]).unwrap_err().to_string();
        assert!(error.contains("UnexpectedMessage"), "{error}");
        assert_eq!(counters(&server).tls_malformed, 1);
    });
}

#[test]
fn close_notify_during_the_handshake_ends_the_connection_at_once_and_costs_nothing_after() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        // A connection that was forgotten would last this long.
        let limits = Limits { handshake_timeout: Duration::from_secs(3600), ..Limits::default() };
        let server = start(driver, &certificate, |server| server.limits(limits));
        for version in [&TLS13, &TLS12] {
            let mut session = session(&only(&certificate, version));
            let mut socket = raw(server.address);
            socket.write_all(&records(&mut session)).unwrap();
            socket.write_all(b"\x15\x03\x03\x00\x02\x01\x00").unwrap();
            let flight = rest(&mut socket);
            // The server's part of the handshake, unless both came at once.
            assert!(matches!(flight.first(), None | Some(22)), "{}", flight.escape_ascii());
        }
        process::wait_until(PATIENCE, "both connections are gone", || {
            server.controller.reports(PATIENCE, 0)[0].as_ref().is_some_and(|it| it.connections == 0)
        });
        let (turns, began) = (counters(&server).turns, Instant::now());
        std::thread::sleep(Duration::from_millis(500));
        let (turns, passed) = (counters(&server).turns - turns, began.elapsed());
        assert!(u128::from(turns) < passed.as_millis() / 2, "{turns} turns in {passed:?}");
    });
}

/// What a session has received of content.
fn content(session: &mut ClientConnection, mut records: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while !records.is_empty() {
        session.read_tls(&mut records).unwrap();
        let state = session.process_new_packets().unwrap();
        let start = content.len();
        content.resize(start + state.plaintext_bytes_to_read(), 0);
        session.reader().read_exact(&mut content[start..]).unwrap();
    }
    content
}

#[test]
fn no_frame_goes_before_the_answer_that_waits_behind_tickets() {
    let certificate = Certificate::issue();
    let ping = client::frame(true, PING, b"p", 5);
    let long = client::frame(true, BINARY, &[7; 20_000], 5);
    // The second ends with an error, for which what waits is dropped.
    let rows = [(ping.clone(), &b"\x8a\x01p"[..]), ([long, ping, vec![0xff, 0x80]].concat(), b"")];
    for (frames, end) in rows {
        let mut server = MemoryServer::new(Limits::default(), Echo).unwrap();
        server.accept_tls(certificate.tls());
        let peer = server.connect();
        let mut session = session(&only(&certificate, &TLS13));
        server.receive(peer, &records(&mut session));
        let flight = server.take_sent(peer);
        assert_eq!(content(&mut session, &flight), b"");
        server.set_reading(peer, false);
        server.receive(peer, &records(&mut session));
        session.writer().write_all(client::upgrade_request("/", "").as_bytes()).unwrap();
        session.writer().write_all(&frames).unwrap();
        server.receive(peer, &records(&mut session));
        server.set_reading(peer, true);
        let answer = content(&mut session, &server.take_sent(peer));
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", answer.escape_ascii());
        assert!(answer.ends_with(end), "{}", answer.escape_ascii());
    }
}
