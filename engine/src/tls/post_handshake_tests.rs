//! What TLS itself says once keys are agreed on: key updates, tickets, another handshake that is asked
//! for, ends; together with the end of the handshake, in pieces, and where they do not belong.

use std::fmt;
use std::io::Write;
use std::sync::{Arc, Mutex};

use rustls::crypto::cipher::{AeadKey, Iv, MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::crypto::tls13::OkmBlock;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ContentType, KeyLog, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SupportedCipherSuite, SupportedProtocolVersion,
};

use super::session::Session;
use super::session_tests::{
    End, carry, certificates_of, established, exchange, read, rustls_client, sample,
};
use super::test_files::Files;
use super::{FailureReason, provider};

const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
const KEY_UPDATE_REQUESTED: [u8; 5] = [24, 0, 0, 1, 1];
const HELLO_REQUEST: [u8; 4] = [0, 0, 0, 0];

/// A ticket as a server sends it (RFC 8446 section 4.6.1) that is good for nothing.
fn ticket(bytes: usize) -> Vec<u8> {
    let mut message = vec![4, 0, 0, 0, 0, 0, 0x0e, 0x10, 1, 2, 3, 4, 1, 9];
    message.extend((bytes as u16).to_be_bytes());
    message.extend(sample(bytes));
    message.extend([0, 0]);
    let length = (message.len() - 4) as u32;
    message[1..4].copy_from_slice(&length.to_be_bytes()[1..]);
    message
}

/// Whatever `peer` wants to say in a record of its own.
fn handshake_record(peer: &mut End, body: &[u8]) -> Vec<u8> {
    peer.session.traffic().seal_anything(ContentType::Handshake, body)
}

/// A key update, and new keys.
fn renewing(peer: &mut End, update: &[u8]) -> Vec<u8> {
    let record = handshake_record(peer, update);
    peer.session.traffic().next_keys();
    record
}

/// Both ends with one version, in our own hands.
fn ends(files: &Files, version: &'static SupportedProtocolVersion) -> (End, End) {
    let mut store = RootCertStore::empty();
    certificates_of(&files.certificate()).into_iter().for_each(|it| store.add(it).unwrap());
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    let name = ServerName::try_from("localhost").unwrap();
    let client = Session::client(Arc::new(config), name).unwrap();
    (End::new(client), End::new(files.tls().session()))
}

fn connected(files: &Files, version: &'static SupportedProtocolVersion) -> (End, End) {
    let (mut client, mut server) = ends(files, version);
    carry(&mut client, &mut server, usize::MAX);
    assert!(client.session.can_send() && server.session.can_send());
    (client, server)
}

/// Content passes in both directions.
fn check_flow(client: &mut End, server: &mut End) {
    client.content.clear();
    server.content.clear();
    for round in 0..3 {
        server.receive(&client.send(&sample(1_000 + round), false));
        client.receive(&server.send(&sample(2_000 + round), false));
    }
    assert_eq!((client.failure, server.failure), (None, None));
    assert_eq!((server.content.len(), client.content.len()), (3_003, 6_003));
}

#[test]
fn a_server_takes_what_comes_with_the_end_of_the_handshake() {
    let files = Files::new();
    let updates: [&[[u8; 5]]; 5] = [
        &[],
        &[KEY_UPDATE],
        &[KEY_UPDATE_REQUESTED],
        &[KEY_UPDATE_REQUESTED, KEY_UPDATE, KEY_UPDATE_REQUESTED],
        &[KEY_UPDATE; 20],
    ];
    for updates in updates {
        for piece_bytes in [1, 3, 50, usize::MAX] {
            let (mut client, mut server) = ends(&files, &TLS13);
            server.receive(&client.send(b"", false));
            client.receive(&server.send(b"", false));
            assert!(client.session.can_send() && !server.session.can_send());
            let mut last = client.send(b"", false);
            for update in updates {
                last.extend(renewing(&mut client, update));
            }
            last.extend(client.send(b"right behind", false));
            last.chunks(piece_bytes).for_each(|piece| server.receive(piece));
            assert_eq!(server.failure, None, "{} updates", updates.len());
            assert_eq!(server.content, b"right behind");
            check_flow(&mut client, &mut server);
        }
    }
}

#[test]
fn a_server_answers_a_usual_client_that_renews_its_keys_at_once() {
    let files = Files::new();
    for piece_bytes in [1, 60, usize::MAX] {
        let mut client = rustls_client(&files, &[&TLS13], "AES_128");
        let mut server = End::new(files.tls().session());
        let mut records = Vec::new();
        client.write_tls(&mut records).unwrap();
        server.receive(&records);
        let mut flight = &server.send(b"", false)[..];
        while !flight.is_empty() {
            client.read_tls(&mut flight).unwrap();
            client.process_new_packets().unwrap();
        }
        for round in 0..3u8 {
            client.refresh_traffic_keys().unwrap();
            client.writer().write_all(&[round; 10]).unwrap();
        }
        let mut last = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut last).unwrap();
        }
        last.chunks(piece_bytes).for_each(|piece| server.receive(piece));
        assert_eq!((server.failure, server.content.len()), (None, 30));
        let answer = server.send(b"with new keys", false);
        assert_eq!(read(&mut client, &answer, 13), b"with new keys");
        exchange(&mut client, &mut server).unwrap();
    }
}

/// The server's first secret, as a server's log of keys tells it.
#[derive(Default)]
struct Log(Mutex<Vec<u8>>);

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Log")
    }
}

impl KeyLog for Log {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == "SERVER_TRAFFIC_SECRET_0" {
            *self.0.lock().unwrap() = secret.to_vec();
        }
    }
}

/// Seals as a server does with a secret (RFC 8446 section 7.3), by another way than sessions do.
struct ByHand {
    secret: OkmBlock,
    cipher: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl ByHand {
    fn suite() -> &'static rustls::Tls13CipherSuite {
        let suites = &provider().cipher_suites;
        let wanted = rustls::CipherSuite::TLS13_AES_256_GCM_SHA384;
        let suite = suites.iter().find(|suite| suite.suite() == wanted);
        let Some(SupportedCipherSuite::Tls13(suite)) = suite else { panic!("AES-256") };
        suite
    }

    fn expand(secret: &OkmBlock, label: &str, out: &mut [u8]) {
        let expander = Self::suite().hkdf_provider.expander_for_okm(secret);
        let length = (out.len() as u16).to_be_bytes();
        let label = format!("tls13 {label}");
        let info: [&[u8]; 4] = [&length, &[label.len() as u8], label.as_bytes(), &[0]];
        expander.expand_slice(&info, out).unwrap();
    }

    fn new(secret: &[u8]) -> Self {
        let secret = OkmBlock::new(secret);
        let (mut key, mut iv) = ([0; 32], [0; 12]);
        Self::expand(&secret, "key", &mut key);
        Self::expand(&secret, "iv", &mut iv);
        let cipher = Self::suite().aead_alg.encrypter(AeadKey::from(key), Iv::new(iv));
        Self { secret, cipher, sequence: 0 }
    }

    fn next(&self) -> Self {
        let mut secret = [0; 48];
        Self::expand(&self.secret, "traffic upd", &mut secret);
        Self::new(&secret)
    }

    fn seal(&mut self, kind: ContentType, body: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(body);
        let version = ProtocolVersion::TLSv1_2;
        let plain = OutboundPlainMessage { typ: kind, version, payload };
        let sealed = self.cipher.encrypt(plain, self.sequence).unwrap();
        self.sequence += 1;
        sealed.encode()
    }
}

#[test]
fn a_client_takes_what_comes_with_the_end_of_the_handshake() {
    let files = Files::new();
    let log = Arc::new(Log::default());
    let mut only: rustls::crypto::CryptoProvider = (*provider()).clone();
    only.cipher_suites.retain(|suite| suite.suite() == ByHand::suite().common.suite);
    let chain = vec![CertificateDer::from_pem_file(files.certificate()).unwrap()];
    let key = PrivateKeyDer::from_pem_file(files.key()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(only))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.key_log = Arc::clone(&log) as _;
    let config = Arc::new(config);
    for piece_bytes in [1, 70, usize::MAX] {
        let mut server = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut client = End::new(files.trusting().session("localhost").unwrap());
        server.read_tls(&mut &client.send(b"", false)[..]).unwrap();
        server.process_new_packets().unwrap();
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).unwrap();
        }
        let mut by_hand = ByHand::new(&log.0.lock().unwrap());
        flight.extend(by_hand.seal(ContentType::Handshake, &ticket(100)));
        flight.extend(by_hand.seal(ContentType::Handshake, &KEY_UPDATE_REQUESTED));
        by_hand = by_hand.next();
        flight.extend(by_hand.seal(ContentType::Handshake, &[ticket(50), ticket(60)].concat()));
        flight.extend(by_hand.seal(ContentType::ApplicationData, b"already"));
        flight.chunks(piece_bytes).for_each(|piece| client.receive(piece));
        assert_eq!((client.failure, &client.content[..]), (None, &b"already"[..]));
        // Its end of the handshake, its new keys, and content under them.
        let mut records = &client.send(b"from the client", false)[..];
        let mut content = Vec::new();
        while !records.is_empty() {
            server.read_tls(&mut records).unwrap();
            let state = server.process_new_packets().unwrap();
            let before = content.len();
            content.resize(before + state.plaintext_bytes_to_read(), 0);
            std::io::Read::read_exact(&mut server.reader(), &mut content[before..]).unwrap();
        }
        assert_eq!(content, b"from the client");
    }
}

#[test]
fn tickets_and_key_updates_may_come_in_pieces() {
    let files = Files::new();
    // Smaller ones would be more records without content than anybody needs.
    for size in [3, 4, 5, 11, 200] {
        let (mut client, mut server) = established(&files, usize::MAX);
        let mut flight = Vec::new();
        for piece in [ticket(20), ticket(1)].concat().chunks(size) {
            flight.extend(handshake_record(&mut server, piece));
        }
        client.receive(&flight);
        for (number, piece) in KEY_UPDATE.chunks(size).enumerate() {
            let last = (number + 1) * size >= KEY_UPDATE.len();
            let record = if last {
                renewing(&mut server, piece)
            } else {
                handshake_record(&mut server, piece)
            };
            client.receive(&record);
        }
        assert_eq!(client.session.held_bytes(), 0, "nothing is kept");
        check_flow(&mut client, &mut server);
    }
}

/// Records to be sealed, one after another.
type Records<'a> = &'a [(ContentType, &'a [u8])];

#[test]
fn what_does_not_belong_behind_a_handshake_ends_the_session() {
    use ContentType as Is;
    let files = Files::new();
    let long = [&[4, 0, 0x40, 1][..], &[0; 100]].concat();
    let rows: [(&str, bool, Records<'_>); 14] = [
        ("a ticket from a client", false, &[(Is::Handshake, &ticket(9))]),
        ("a hello from a client", false, &[(Is::Handshake, &[1, 0, 0, 1, 0])]),
        ("an unknown message", true, &[(Is::Handshake, &[99, 0, 0, 0])]),
        ("the beginning of one", true, &[(Is::Handshake, &[20, 0, 0, 32])]),
        ("nothing", true, &[(Is::Handshake, &[])]),
        ("a ticket that is none", true, &[(Is::Handshake, &[4, 0, 0, 1, 0])]),
        ("a ticket too long to keep", true, &[(Is::Handshake, &long)]),
        ("a key update of two bytes", true, &[(Is::Handshake, &[24, 0, 0, 2, 0, 0])]),
        ("a key update that asks for 2", true, &[(Is::Handshake, &[24, 0, 0, 1, 2])]),
        ("two key updates in one", true, &[(Is::Handshake, &[KEY_UPDATE, KEY_UPDATE].concat())]),
        (
            "content between pieces",
            true,
            &[(Is::Handshake, &[24, 0, 0]), (Is::ApplicationData, b"content")],
        ),
        ("an alert between pieces", true, &[(Is::Handshake, &[24, 0, 0]), (Is::Alert, &[1, 0])]),
        ("a change of ciphers", true, &[(Is::ChangeCipherSpec, &[1])]),
        ("an alert that is none", true, &[(Is::Alert, &[1])]),
    ];
    for (name, from_server, records) in rows {
        for together in [false, true] {
            let (client, server) = established(&files, usize::MAX);
            let (mut from, mut to) = if from_server { (server, client) } else { (client, server) };
            let records = records
                .iter()
                .map(|(kind, body)| from.session.traffic().seal_anything(*kind, body));
            let records: Vec<_> = records.collect();
            if together {
                to.receive(&records.concat());
            } else {
                records.iter().for_each(|record| to.receive(record));
            }
            assert_eq!(to.failure, Some(FailureReason::Malformed), "{name}");
            assert_eq!((to.content.len(), to.ended), (0, None), "{name}");
            assert!(to.session.has_waiting(false), "{name}: an alert");
        }
    }
}

#[test]
fn another_handshake_of_tls_1_2_is_refused_once_and_fails_the_second_time() {
    let files = Files::new();
    let hello: Vec<u8> = [&[1, 0, 0x01, 0x00][..], &[3; 256]].concat();
    for from_server in [true, false] {
        let message = if from_server { &HELLO_REQUEST[..] } else { &hello };
        for pieces in [1, 4] {
            let (client, server) = connected(&files, &TLS12);
            let (mut from, mut to) = if from_server { (server, client) } else { (client, server) };
            for piece in message.chunks(message.len() / pieces) {
                let record = handshake_record(&mut from, piece);
                to.receive(&record);
            }
            assert!(to.session.has_waiting(false), "it is told that there will be none");
            let refusal = to.send(b"", false);
            assert_eq!((refusal[0], refusal.len()), (21, 5 + 8 + 2 + 16), "an alert");
            from.receive(&refusal);
            assert_eq!(from.ended, None);
            check_flow(&mut from, &mut to);
            let again = handshake_record(&mut from, message);
            to.receive(&again);
            assert_eq!(to.failure, Some(FailureReason::Malformed));
        }
    }
}

#[test]
fn nothing_counts_behind_close_notify() {
    let files = Files::new();
    for version in [&TLS13, &TLS12] {
        for together in [true, false] {
            let (mut client, mut server) = connected(&files, version);
            let traffic = client.session.traffic();
            let records = [
                traffic.seal_anything(ContentType::ApplicationData, b"before"),
                traffic.seal_anything(ContentType::Alert, &[1, 0]),
                traffic.seal_anything(ContentType::ApplicationData, b"behind"),
            ];
            if together {
                server.receive(&records.concat());
            } else {
                records.iter().for_each(|record| server.receive(record));
            }
            server.receive(b"\x17\x03\x03 no record at all");
            assert_eq!(server.content, b"before");
            assert_eq!((server.ended, server.failure), (Some("closed"), None));
            // The other direction goes on.
            client.receive(&server.send(b"the rest", true));
            assert_eq!(client.content, b"the rest");
        }
    }
}

#[test]
fn close_notify_during_the_handshake_is_its_end() {
    let files = Files::new();
    let farewell = b"\x15\x03\x03\x00\x02\x01\x00";
    for version in [&TLS13, &TLS12] {
        for (piece_bytes, with_hello) in [(1, false), (1, true), (usize::MAX, true)] {
            let (mut client, mut server) = ends(&files, version);
            let hello = client.send(b"", false);
            if with_hello {
                server.receive(&hello);
            }
            farewell.chunks(piece_bytes).for_each(|piece| server.receive(piece));
            assert_eq!((server.ended, server.failure), (Some("closed"), None));
            assert!(!server.session.is_handshaking());
            if !with_hello {
                farewell.chunks(piece_bytes).for_each(|piece| client.receive(piece));
                assert_eq!((client.ended, client.failure), (Some("closed"), None));
            }
        }
    }
}
