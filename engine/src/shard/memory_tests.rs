//! The memory budget against what connections hold, counted anew after every event of random lives:
//! plain and over TLS, compressed or not, with peers that stall, stray and vanish.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::memory::{MemoryConnection, MemoryServer};
use crate::connection::SendPolicy;
use crate::handler::{Binary, Conn, Handler, Message, Text, Upgrade};
use crate::limits::{KIB, Limits};
use crate::protocol::CloseCode;
use crate::protocol::deflate::{Compressor, Deflate};
use crate::protocol::handshake::{Request, Status};
use crate::tls::test_files::Files;

/// Pseudo-random numbers of a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    /// Usually short, sometimes long.
    fn size(&mut self) -> usize {
        match self.below(12) {
            0 => self.below(120_000),
            1..4 => self.below(5_000),
            _ => self.below(130),
        }
    }
}

/// Does what the first byte of a message says.
struct Moody;

impl Handler for Moody {
    type State = ();

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        match request.path() {
            "/later" => Upgrade::later(async { Upgrade::accept(()) }),
            "/never" => Upgrade::later(std::future::pending()),
            "/no" => Upgrade::reject(Status::FORBIDDEN, "not you"),
            _ => Upgrade::accept(()),
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        match message.bytes().first().map_or(0, |first| first % 16) {
            1 => drop(conn.send(Binary(vec![7; 100_000]))),
            2 => conn.pause_receive(),
            3 => drop(conn.send_latest(1, Text("the latest"))),
            4 => conn.set_send_policy(SendPolicy::DropOldest),
            5 => drop(conn.send_chunk(Text("a piece"))),
            6 => drop(conn.send_last_chunk(Text("the last piece"))),
            7 => conn.close(CloseCode::NORMAL, "enough"),
            8 => conn.set_send_policy(SendPolicy::Close),
            9 => drop(conn.ping(b"are you there?")),
            _ => drop(conn.send(message)),
        }
    }
}

/// A client: what it has yet to send, and TLS around it where the server speaks that.
struct Peer {
    connection: MemoryConnection,
    outbox: Vec<u8>,
    tls: Option<ClientConnection>,
    compressor: Compressor,
    compresses: bool,
    /// It has begun a message and not ended it.
    in_pieces: bool,
}

impl Peer {
    fn new(connection: MemoryConnection, tls: Option<&Arc<ClientConfig>>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let session = |config: &Arc<ClientConfig>| {
            let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
            session.set_buffer_limit(None);
            session
        };
        let mut peer = Self {
            connection,
            outbox: Vec::new(),
            tls: tls.map(session),
            compressor: Compressor::new().keeping_longer(),
            compresses: false,
            in_pieces: false,
        };
        peer.pass_records(&[]);
        peer
    }

    /// Says something: content goes into records.
    fn say(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            None => self.outbox.extend_from_slice(bytes),
            Some(session) => session.writer().write_all(bytes).unwrap(),
        }
        self.pass_records(&[]);
    }

    /// Takes what the server sent, and what TLS has to say to that.
    fn pass_records(&mut self, mut received: &[u8]) {
        let Some(session) = &mut self.tls else { return };
        while !received.is_empty() {
            session.read_tls(&mut received).unwrap();
            let Ok(state) = session.process_new_packets() else { return };
            let mut content = vec![0; state.plaintext_bytes_to_read()];
            session.reader().read_exact(&mut content).unwrap();
        }
        while session.wants_write() {
            session.write_tls(&mut self.outbox).unwrap();
        }
    }

    fn ask(&mut self, random: &mut Random) {
        let path = ["/", "/", "/", "/", "/", "/later", "/never", "/no"][random.below(8)];
        let padding = "x".repeat(if random.one_in(4) { 4_000 } else { 10 });
        let extensions = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
        self.compresses = random.one_in(2);
        let extensions = if self.compresses { extensions } else { "" };
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {extensions}X-Padding: {padding}\r\n\r\n"
        );
        self.say(head.as_bytes());
    }

    fn say_frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..=125 => frame.push(0x80 | short as u8),
            middle @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend((middle as u16).to_be_bytes());
            }
            long => {
                frame.push(0x80 | 127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        // The mask 0 changes nothing.
        frame.extend([0; 4]);
        frame.extend_from_slice(payload);
        self.say(&frame);
    }

    fn say_anything(&mut self, random: &mut Random) {
        let size = random.size();
        let mut payload = vec![random.below(256) as u8; size];
        match random.below(100) {
            0 => self.say_frame(0x88, b"\x03\xe8"),
            1 => self.say(b"nonsense"),
            2..10 => self.say_frame(0x89, &payload[..size.min(125)]),
            _ if self.in_pieces => {
                self.in_pieces = !random.one_in(3);
                self.say_frame(if self.in_pieces { 0x00 } else { 0x80 }, &payload);
            }
            10..25 => {
                self.in_pieces = true;
                self.say_frame(0x02, &payload);
            }
            25..45 if self.compresses => {
                let mut compressed = Vec::new();
                self.compressor.compress(&payload, 15, &mut compressed);
                self.say_frame(0xc2, &compressed);
            }
            _ => {
                payload.iter_mut().skip(1).for_each(|byte| *byte = random.below(256) as u8);
                self.say_frame(0x82, &payload);
            }
        }
    }

    /// The next piece of what is to be sent.
    fn piece(&mut self, random: &mut Random) -> Vec<u8> {
        let most = self.outbox.len();
        let size = match random.below(3) {
            0 => most,
            1 => random.below(30).min(most),
            _ => random.below(20_000).min(most),
        };
        self.outbox.drain(..size).collect()
    }
}

fn client_config(files: &Files) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_file(files.certificate()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(store).with_no_client_auth())
}

struct Life {
    server: MemoryServer<Moody>,
    peers: Vec<Peer>,
    client: Option<Arc<ClientConfig>>,
    random: Random,
    most_held: usize,
}

impl Life {
    fn new(seed: u64, files: Option<&Files>) -> Self {
        let limits = Limits {
            message_bytes_max: 128 * KIB,
            memory_bytes_max: 300 * KIB,
            tls_handshakes_per_turn: 2,
            ..Limits::default()
        };
        let mut server = MemoryServer::new(limits, Moody).unwrap();
        server.accept_deflate(Deflate::default());
        if let Some(files) = files {
            server.accept_tls(files.tls());
        }
        let client = files.map(client_config);
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { server, peers: Vec::new(), client, random, most_held: 0 }
    }

    fn check(&mut self, what: &str) {
        let held = self.server.held_bytes();
        self.most_held = self.most_held.max(held);
        assert_eq!(held, self.server.counted_bytes(), "after {what}");
    }

    fn step(&mut self) {
        if self.peers.is_empty() || (self.peers.len() < 8 && self.random.one_in(8)) {
            let connection = self.server.connect();
            let mut peer = Peer::new(connection, self.client.as_ref());
            peer.ask(&mut self.random);
            self.peers.push(peer);
            return self.check("a connection");
        }
        let index = self.random.below(self.peers.len());
        let (peer, random) = (&mut self.peers[index], &mut self.random);
        let what = match random.below(100) {
            0..40 => {
                peer.say_anything(random);
                "nothing"
            }
            40..80 => {
                let piece = peer.piece(random);
                self.server.receive(peer.connection, &piece);
                let sent = self.server.take_sent(peer.connection);
                peer.pass_records(&sent);
                "bytes"
            }
            80..85 => {
                self.server.set_reading(peer.connection, random.one_in(2));
                "a change of reading"
            }
            85..90 => {
                self.server.resume_receive(peer.connection);
                "the end of a pause"
            }
            90..94 => {
                self.server.run_commands();
                "decisions"
            }
            94..97 => {
                self.server.advance(Duration::from_millis(random.below(3_000) as u64));
                "time"
            }
            97 => {
                if let Some(session) = &mut peer.tls {
                    session.send_close_notify();
                    peer.pass_records(&[]);
                }
                let piece = std::mem::take(&mut peer.outbox);
                self.server.receive(peer.connection, &piece);
                self.server.finish(peer.connection);
                "an end"
            }
            _ => {
                let peer = self.peers.swap_remove(index);
                self.server.reset(peer.connection);
                "a reset"
            }
        };
        self.check(what);
    }

    /// Everybody goes.
    fn end(&mut self) {
        for peer in std::mem::take(&mut self.peers) {
            self.server.reset(peer.connection);
            self.check("a reset");
        }
        self.server.advance(Duration::from_secs(60));
        assert_eq!((self.server.connections(), self.server.held_bytes()), (0, 0));
    }
}

fn live(files: Option<&Files>, seeds: u64) {
    let (mut most_held, mut opened, mut shed) = (0, 0, 0);
    for seed in 1..=seeds {
        let mut life = Life::new(seed, files);
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..1_500).for_each(|_| life.step());
            life.end();
        }));
        if let Err(cause) = lived {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(cause);
        }
        let counters = life.server.counters();
        most_held = most_held.max(life.most_held);
        (opened, shed) = (opened + counters.opened, shed + counters.shed);
    }
    // Lives in which nothing happens show nothing.
    assert!(opened > 50 && most_held > 200 * KIB, "{opened} opened, {most_held} bytes at most");
    assert!(shed > 0, "the budget was never used up");
}

#[test]
fn the_budget_holds_what_connections_hold_and_nothing_when_all_are_gone() {
    live(None, 20);
}

#[test]
fn the_budget_holds_what_connections_over_tls_hold_and_nothing_when_all_are_gone() {
    live(Some(&Files::new()), 20);
}
