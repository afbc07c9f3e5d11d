//! Sessions against each other and against rustls' own record layer, cut at every place.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore, SupportedProtocolVersion};

use super::session::{Session, Step};
use super::test_files::Files;
use super::traffic::Ending;
use super::{FailureReason, provider};
use crate::buffer::{Batch, Pool, Segment};

/// One end: a session with what it has received.
pub(super) struct End {
    pub(super) session: Session,
    pub(super) pool: Pool,
    pub(super) content: Vec<u8>,
    pub(super) ended: Option<&'static str>,
    pub(super) failure: Option<FailureReason>,
}

impl End {
    pub(super) fn new(session: Session) -> Self {
        Self { session, pool: Pool::new(), content: Vec::new(), ended: None, failure: None }
    }

    /// Takes bytes as a connection does.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if !self.session.is_handshaking() {
            return self.receive_records(&mut bytes);
        }
        self.session.keep(&bytes).unwrap();
        match self.session.advance() {
            Step::Pending => {}
            Step::Established { mut records } => self.receive_records(&mut records),
            Step::Closed => self.ended = Some("closed"),
            Step::Failed(failure) => self.failure = Some(failure.reason),
        }
    }

    fn receive_records(&mut self, mut bytes: &mut [u8]) {
        while let Some(mut record) = self.session.complete_record(&mut bytes, &mut self.pool) {
            self.open(&mut record);
            self.pool.give(record);
        }
        let consumed = self.open(bytes);
        self.session.keep_record(&bytes[consumed..], &mut self.pool);
    }

    fn open(&mut self, bytes: &mut [u8]) -> usize {
        let opened = self.session.open(bytes);
        self.content.extend_from_slice(&bytes[opened.content]);
        match opened.ending {
            None => {}
            Some(Ending::Closed) => self.ended = Some("closed"),
            Some(Ending::Failed(failure)) => self.failure = Some(failure.reason),
        }
        opened.consumed
    }

    /// What is to be sent, with this content.
    pub(super) fn send(&mut self, content: &[u8], finish: bool) -> Vec<u8> {
        let segment = Segment::Owned { bytes: content.to_vec(), start: 0 };
        let batch = (!content.is_empty()).then_some(Batch::One(segment));
        self.send_batch(batch, finish)
    }

    fn send_batch(&mut self, mut batch: Option<Batch>, finish: bool) -> Vec<u8> {
        let expected = batch.as_ref().map_or(0, Batch::len);
        let (mut sent, mut records) = (0, Vec::new());
        loop {
            let sealed = self.session.seal(batch.take(), finish, &mut self.pool);
            sent += self.session.take_in_flight_bytes();
            if let Some(sealed) = sealed {
                sealed.segments().iter().for_each(|run| records.extend_from_slice(run.bytes()));
                sealed.recycle(&mut self.pool);
            }
            if !self.session.has_waiting(finish) {
                break;
            }
        }
        assert_eq!(sent, expected);
        records
    }
}

/// Carries bytes both ways in pieces until nothing moves.
pub(super) fn carry(client: &mut End, server: &mut End, piece_bytes: usize) {
    loop {
        let (to_server, to_client) = (client.send(b"", false), server.send(b"", false));
        if to_server.is_empty() && to_client.is_empty() {
            return;
        }
        to_server.chunks(piece_bytes).for_each(|piece| server.receive(piece));
        to_client.chunks(piece_bytes).for_each(|piece| client.receive(piece));
    }
}

pub(super) fn established(files: &Files, piece_bytes: usize) -> (End, End) {
    let mut client = End::new(files.trusting().session("localhost").unwrap());
    let mut server = End::new(files.tls().session());
    carry(&mut client, &mut server, piece_bytes);
    assert!(client.session.can_send() && server.session.can_send());
    (client, server)
}

pub(super) fn sample(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|number| (number * 7 + number / 251) as u8).collect()
}

#[test]
fn both_roles_understand_each_other_however_the_bytes_are_cut() {
    let files = Files::new();
    for piece_bytes in [1, 2, 5, 6, 7, 100, 16_384, usize::MAX] {
        let (mut client, mut server) = established(&files, piece_bytes);
        for size in [1, 20, 125, 4_000, 16_383, 16_384, 16_385, 50_000] {
            let content = sample(size);
            client.content.clear();
            server.content.clear();
            let records = client.send(&content, false);
            records.chunks(piece_bytes).for_each(|piece| server.receive(piece));
            assert!(server.content == content, "{size} bytes to the server");
            let records = server.send(&content, false);
            records.chunks(piece_bytes).for_each(|piece| client.receive(piece));
            assert!(client.content == content, "{size} bytes to the client");
        }
        assert!(!server.session.is_record_cut() && !client.session.is_record_cut());
    }
}

#[test]
fn a_gathered_batch_fills_its_records() {
    let files = Files::new();
    let (mut client, mut server) = established(&files, usize::MAX);
    let sizes = [10, 16_384, 5, 20_000, 1, 40_000, 3];
    let mut expected = Vec::new();
    let segments = sizes.map(|size| {
        let bytes = sample(size);
        expected.extend_from_slice(&bytes);
        Segment::Shared(bytes.into())
    });
    let sealed = server.send_batch(Some(Batch::Many(segments.into())), false);
    let records = expected.len().div_ceil(16_384);
    assert_eq!(sealed.len(), expected.len() + records * 22, "{records} records");
    client.receive(&sealed);
    assert!(client.content == expected);
}

#[test]
fn a_large_batch_is_sealed_a_part_at_a_time_and_its_end_comes_last() {
    let files = Files::new();
    let (mut client, mut server) = established(&files, usize::MAX);
    let sizes = [100, 700_000, 16_384, 1, 300_000];
    let expected: Vec<u8> = sizes.iter().flat_map(|&size| sample(size)).collect();
    let segments = sizes.map(|size| Segment::Owned { bytes: sample(size), start: 0 });
    let (mut batch, mut parts) = (Some(Batch::Many(segments.into())), Vec::new());
    server.pool.budget.hold(expected.len());
    while server.session.has_waiting(true) || batch.is_some() {
        let sealed = server.session.seal(batch.take(), true, &mut server.pool).unwrap();
        assert_eq!(client.ended, None);
        sealed.segments().iter().for_each(|run| client.receive(run.bytes()));
        parts.push((server.session.take_in_flight_bytes(), sealed.segments().len()));
        sealed.recycle(&mut server.pool);
    }
    let left = expected.len() - 3 * 262_144;
    assert_eq!(parts, [(262_144, 16), (262_144, 16), (262_144, 16), (left, left.div_ceil(16_384))]);
    assert_eq!(server.pool.budget.held_bytes(), 0);
    assert!(client.content == expected);
    assert_eq!(client.ended, Some("closed"));
}

#[test]
fn the_end_of_the_content_is_said_once() {
    let files = Files::new();
    let (mut client, mut server) = established(&files, 100);
    let last = server.send(b"the last", true);
    client.receive(&last);
    assert_eq!((&client.content[..], client.ended), (&b"the last"[..], Some("closed")));
    assert!(server.send(b"", true).is_empty());
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    let files = Files::new();
    let (tls, trusting) = (files.tls(), files.trusting());
    let mut resumed = Vec::new();
    for _ in 0..3 {
        let mut client = End::new(trusting.session("localhost").unwrap());
        let mut server = End::new(tls.session());
        carry(&mut client, &mut server, usize::MAX);
        // A resumed session must work as well as a new one, tickets and all.
        for _ in 0..10 {
            let records = server.send(b"news", false);
            client.receive(&records);
        }
        assert_eq!(client.content, b"news".repeat(10));
        resumed.push(server.session.facts().unwrap().is_resumed);
    }
    assert_eq!(resumed, [false, true, true]);
}

/// rustls' own client, with the versions and the ciphers it is to offer.
pub(super) fn rustls_client(
    files: &Files,
    versions: &[&'static SupportedProtocolVersion],
    suite: &str,
) -> ClientConnection {
    rustls_client_offering(files, versions, suite, &[])
}

fn rustls_client_offering(
    files: &Files,
    versions: &[&'static SupportedProtocolVersion],
    suite: &str,
    protocols: &[&[u8]],
) -> ClientConnection {
    let mut provider: CryptoProvider = (*provider()).clone();
    provider.cipher_suites.retain(|offered| format!("{:?}", offered.suite()).contains(suite));
    let mut store = RootCertStore::empty();
    let chain = certificates_of(&files.certificate());
    chain.into_iter().for_each(|certificate| store.add(certificate).unwrap());
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

pub(super) fn certificates_of(
    path: &std::path::Path,
) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject;
    let found = rustls::pki_types::CertificateDer::pem_file_iter(path).unwrap();
    found.map(Result::unwrap).collect()
}

/// Carries bytes between rustls' client and a session; the client's error, if it has one.
pub(super) fn exchange(client: &mut ClientConnection, server: &mut End) -> Result<(), Error> {
    loop {
        let mut to_server = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        to_server.chunks(33).for_each(|piece| server.receive(piece));
        let to_client = server.send(b"", false);
        let mut rest = &to_client[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
        if to_server.is_empty() && to_client.is_empty() {
            return Ok(());
        }
    }
}

pub(super) fn read(client: &mut ClientConnection, mut records: &[u8], bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        client.read_tls(&mut records).unwrap();
        client.process_new_packets().unwrap();
        match client.reader().read(&mut content[filled..]) {
            Ok(bytes) => filled += bytes,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    content
}

#[test]
fn every_version_and_cipher_works_against_the_usual_record_layer() {
    let files = Files::new();
    let tls = files.tls();
    for (version, suite) in [
        (&TLS13, "TLS13_AES_128"),
        (&TLS13, "TLS13_AES_256"),
        (&TLS13, "TLS13_CHACHA20"),
        (&TLS12, "AES_128_GCM"),
        (&TLS12, "AES_256_GCM"),
        (&TLS12, "CHACHA20"),
    ] {
        let mut client = rustls_client(&files, &[version], suite);
        let mut server = End::new(tls.session());
        exchange(&mut client, &mut server).unwrap();
        let facts = server.session.facts().expect(suite).clone();
        assert!(facts.cipher_suite.contains(suite), "{facts:?}");
        for size in [1, 300, 16_384, 40_000] {
            let content = sample(size);
            let records = server.send(&content, false);
            assert!(read(&mut client, &records, size) == content, "{suite}: {size} to the client");
            server.content.clear();
            client.writer().write_all(&content).unwrap();
            exchange(&mut client, &mut server).unwrap();
            assert!(server.content == content, "{suite}: {size} to the server");
        }
        client.send_close_notify();
        exchange(&mut client, &mut server).unwrap();
        assert_eq!(server.ended, Some("closed"), "{suite}");
    }
}

#[test]
fn a_key_update_of_the_peer_is_followed_and_answered() {
    let files = Files::new();
    let mut client = rustls_client(&files, &[&TLS13], "AES_128");
    let mut server = End::new(files.tls().session());
    exchange(&mut client, &mut server).unwrap();
    for round in 0..5u8 {
        client.refresh_traffic_keys().unwrap();
        client.writer().write_all(&[round; 100]).unwrap();
        exchange(&mut client, &mut server).unwrap();
        let records = server.send(&[round; 50], false);
        assert_eq!(read(&mut client, &records, 50), [round; 50]);
    }
    assert_eq!(server.content.len(), 500);
}

#[test]
fn keys_are_renewed_before_they_are_used_up() {
    let files = Files::new();
    let mut client = rustls_client(&files, &[&TLS13], "AES_256");
    let mut server = End::new(files.tls().session());
    exchange(&mut client, &mut server).unwrap();
    server.session.traffic().wear_out(2);
    for number in 0..6u8 {
        let records = server.send(&[number; 1_000], false);
        assert_eq!(read(&mut client, &records, 1_000), [number; 1_000]);
    }
    assert!(!server.session.is_worn_out());
}

#[test]
fn keys_of_tls_1_2_cannot_be_renewed_and_say_so_in_time() {
    let files = Files::new();
    let mut client = rustls_client(&files, &[&TLS12], "AES_128");
    let mut server = End::new(files.tls().session());
    exchange(&mut client, &mut server).unwrap();
    assert!(!server.session.is_worn_out());
    server.session.traffic().wear_out(2);
    assert!(server.session.is_worn_out());
    assert!(!server.send(b"one", false).is_empty());
    assert!(!server.send(b"two", false).is_empty());
    let segment = Segment::Owned { bytes: b"three".to_vec(), start: 0 };
    assert!(server.session.seal(Some(Batch::One(segment)), false, &mut server.pool).is_none());
    assert!(!server.session.can_send());
}

#[test]
fn a_damaged_record_ends_the_session_with_its_alert() {
    let files = Files::new();
    for version in [&TLS13, &TLS12] {
        let mut client = rustls_client(&files, &[version], "AES_128");
        let mut server = End::new(files.tls().session());
        exchange(&mut client, &mut server).unwrap();
        let mut records = Vec::new();
        client.writer().write_all(b"good").unwrap();
        client.write_tls(&mut records).unwrap();
        let whole = records.len();
        client.writer().write_all(b"evil").unwrap();
        client.write_tls(&mut records).unwrap();
        records[whole + 12] ^= 1;
        server.receive(&records);
        assert_eq!(server.content, b"good");
        assert_eq!(server.failure, Some(FailureReason::BadRecord));
        let told = exchange(&mut client, &mut server).unwrap_err();
        assert_eq!(told, Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
    }
}

#[test]
fn records_that_do_not_belong_end_the_session() {
    let files = Files::new();
    let rows: [(&str, &[u8]); 6] = [
        ("no record", b"\x50\x03\x03\x00\x01\x00"),
        ("a version before 3", b"\x17\x02\x00\x00\x01\x00"),
        ("longer than may be", b"\x17\x03\x03\xff\xff\x00"),
        ("an alert without protection", b"\x15\x03\x03\x00\x02\x01\x00"),
        ("a late change of ciphers", b"\x14\x03\x03\x00\x01\x01"),
        ("shorter than its tag", b"\x17\x03\x03\x00\x03\x01\x02\x03"),
    ];
    for (name, bytes) in rows {
        for piece_bytes in [1, bytes.len()] {
            let (_client, mut server) = established(&files, usize::MAX);
            bytes.chunks(piece_bytes).for_each(|piece| {
                if server.failure.is_none() {
                    server.receive(piece);
                }
            });
            assert!(server.failure.is_some(), "{name}");
            assert!(server.session.has_waiting(false), "{name}: an alert");
        }
    }
}

#[test]
fn a_flood_of_empty_records_ends_the_session() {
    let files = Files::new();
    let (mut client, mut server) = established(&files, usize::MAX);
    for _ in 0..40 {
        let segment = Segment::Owned { bytes: Vec::new(), start: 0 };
        let records = client.send_batch(Some(Batch::Many(vec![segment])), false);
        assert!(records.is_empty(), "an empty batch makes no record");
    }
    let mut peer = rustls_client(&files, &[&TLS13], "AES_128");
    let mut target = End::new(files.tls().session());
    exchange(&mut peer, &mut target).unwrap();
    for _ in 0..40 {
        peer.refresh_traffic_keys().unwrap();
        let mut records = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut records).unwrap();
        }
        if target.failure.is_none() {
            target.receive(&records);
        }
    }
    assert_eq!(target.failure, Some(FailureReason::Malformed));
    assert!(server.failure.is_none());
    server.receive(&client.send(b"unharmed", false));
    assert_eq!(server.content, b"unharmed");
}

#[test]
fn handshakes_that_cannot_succeed_fail_with_their_reason() {
    let files = Files::new();
    let fail = |bytes: &[u8]| {
        let mut server = End::new(files.tls().session());
        server.receive(bytes);
        (server.failure, server.send(b"", false))
    };
    assert_eq!(fail(b"GET / HTTP/1.1\r\n"), (Some(FailureReason::PlainHttp), Vec::new()));
    let (failure, alert) = fail(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
    assert_eq!(failure, Some(FailureReason::Malformed));
    assert_eq!(alert[0], 21, "an alert: {alert:?}");
    let (failure, _) = fail(&[0x80; 40]);
    assert_eq!(failure, Some(FailureReason::Malformed));

    let only_new = files.tls().only_tls13().unwrap();
    let mut server = End::new(only_new.session());
    let mut client = rustls_client(&files, &[&TLS12], "AES_128");
    exchange(&mut client, &mut server).unwrap_err();
    assert_eq!(server.failure, Some(FailureReason::NothingInCommon));

    let others = Files::new();
    let mut client = End::new(others.trusting().session("localhost").unwrap());
    let mut server = End::new(files.tls().session());
    carry(&mut client, &mut server, usize::MAX);
    assert_eq!(client.failure, Some(FailureReason::Certificate));
    assert_eq!(server.failure, Some(FailureReason::PeerAlert));
}

#[test]
fn a_handshake_that_never_ends_is_given_up() {
    let files = Files::new();
    let mut server = End::new(files.tls().session());
    // A handshake message that announces 16 MiB, in records of 16 KiB.
    let mut first = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff".to_vec();
    first.resize(5 + 16_384, 0);
    let mut more = b"\x16\x03\x01\x40\x00".to_vec();
    more.resize(5 + 16_384, 0);
    server.receive(&first);
    for _ in 0..5 {
        if server.failure.is_some() || server.session.keep(&more).is_err() {
            return;
        }
        if let Step::Failed(_) = server.session.advance() {
            return;
        }
    }
    panic!("80 KiB of a handshake were taken");
}

#[test]
fn what_is_kept_for_a_step_that_is_put_off_is_bounded() {
    let files = Files::new();
    let mut server = End::new(files.tls().session());
    server.receive(b"\x16\x03\x01");
    assert!(!server.session.is_put_off());
    assert!(server.session.put_off() && !server.session.put_off());
    assert!(server.session.is_put_off());
    let taken = (0..100).take_while(|_| server.session.keep(&[0; 16_384]).is_ok()).count();
    assert_eq!(taken, 64, "1 MiB and what came with the last of it");
}

#[test]
fn a_protocol_that_is_not_spoken_is_refused_with_its_alert() {
    let files = Files::new();
    for version in [&TLS13, &TLS12] {
        let mut client = rustls_client_offering(&files, &[version], "AES_128", &[b"h2"]);
        let mut server = End::new(files.tls().session());
        let told = exchange(&mut client, &mut server).unwrap_err();
        assert_eq!(told, Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol));
        assert_eq!(server.failure, Some(FailureReason::NothingInCommon));
    }
}
