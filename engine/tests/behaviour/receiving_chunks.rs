//! Messages that handlers receive in pieces: longer than what a server may hold, through peers that
//! read slowly, within limits of their own.

use std::thread;
use std::time::Duration;

use ringsock::client::block_on;
use ringsock::testing::{MemoryConnection, MemoryServer};
use ringsock::tls::ClientTls;
use ringsock::{
    Binary, Chunk, Client as TaskClient, Conn, Cores, Deflate, Handler, KIB, Limits, MIB, Message,
    SendOutcome, Server, Text,
};

use crate::certificate::Certificate;
use crate::client::{self, BINARY, CONTINUATION, Client, PING, TEXT};
use crate::random::Random;
use crate::served::{Served, for_each_driver};

/// Sends messages back piece by piece, and reads no faster than its peer does.
struct Mirror;

impl Handler for Mirror {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.receive_chunks(true);
    }

    fn on_chunk(&mut self, conn: &mut Conn<'_, ()>, chunk: Chunk<'_>) {
        let outcome = match chunk.is_last() {
            true => conn.send_last_chunk(chunk),
            false => conn.send_chunk(chunk),
        };
        assert_eq!(outcome, SendOutcome::Queued);
        if conn.queued_bytes() > 64 * KIB {
            conn.pause_receive();
        }
    }

    fn on_drain(&mut self, conn: &mut Conn<'_, ()>) {
        conn.resume_receive();
    }

    fn on_message(&mut self, _conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        unreachable!("it was to come in pieces");
    }
}

/// Limits under which a message of more than a few mebibytes can only pass piece by piece.
fn narrow() -> Limits {
    Limits {
        message_bytes_max: 64 * KIB,
        send_queue_bytes_max: MIB,
        receive_pause_bytes: 128 * KIB,
        memory_bytes_max: 8 * MIB,
        drain_window: Duration::from_millis(200),
        ..Limits::default()
    }
}

/// Reads fragments until one is the last; all their bytes.
fn mirrored(client: &mut Client, opcode: u8) -> Vec<u8> {
    let (mut bytes, mut expected) = (Vec::new(), opcode);
    loop {
        let (first, payload) = client.expect_fragment();
        assert_eq!(first & 0x0f, expected);
        bytes.extend(payload);
        expected = CONTINUATION;
        if first & 0x80 != 0 {
            return bytes;
        }
    }
}

fn pass_a_long_message(server: &Served, path: &str) {
    let payload = Random(5).bytes(48 * MIB);
    let mut client = Client::upgrade(server.address, path, "").0;
    let mut sender = client.sender();
    let sent = payload.clone();
    // The server may hold a sixth of it.
    let thread = thread::spawn(move || {
        // One frame of half the bytes, then many.
        let (half, rest) = sent.split_at(sent.len() / 2);
        sender.send_frame(false, BINARY, half);
        for piece in rest.chunks(70_000) {
            sender.send_frame(false, CONTINUATION, piece);
        }
        sender.send_frame(true, CONTINUATION, b"");
    });
    assert!(mirrored(&mut client, BINARY) == payload, "it comes back as it was");
    thread.join().unwrap();
    client.send_text("short");
    assert_eq!(mirrored(&mut client, TEXT), b"short");
}

#[test]
fn a_message_larger_than_the_memory_of_a_server_passes_through_it() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, |server| server.limits(narrow()), |_| Mirror);
        pass_a_long_message(&server, "/");
    });
}

#[test]
fn a_handler_at_a_route_receives_pieces_too() {
    for_each_driver(|driver| {
        let server = Server::builder().limits(narrow()).listen("127.0.0.1:0").unwrap();
        let server = server.route("/mirror", |_| Mirror);
        let server = server.cores(Cores::List(vec![0])).driver(driver);
        let server = Served::adopt(server.start_routes().unwrap());
        pass_a_long_message(&server, "/mirror");
    });
}

#[test]
fn a_long_message_passes_in_pieces_through_tls_too() {
    for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let configure =
            |server: ringsock::ServerBuilder| server.limits(narrow()).tls(certificate.tls());
        let server = Served::configured(driver, configure, |_| Mirror);
        let tls = ClientTls::roots_from(certificate.path()).unwrap();
        let url = format!("wss://localhost:{}/", server.address.port());
        let room = 32 * MIB;
        let limits =
            Limits { message_bytes_max: room, send_queue_bytes_max: room, ..Limits::default() };
        let payload = Random(6).bytes(16 * MIB);
        block_on(async {
            let mut socket = TaskClient::new(url).tls(tls).limits(limits).connect().await.unwrap();
            socket.send(Binary(&payload)).await.unwrap();
            let message = socket.next().await.unwrap().unwrap();
            assert!(message.bytes() == payload, "it comes back as it was");
        });
    });
}

#[test]
fn a_compressed_message_is_one_piece() {
    for_each_driver(|driver| {
        let deflate = Deflate { threshold_bytes: 0, ..Deflate::default() };
        let limits = Limits { message_bytes_max: 2 * MIB, ..Limits::default() };
        let configure = |server: ringsock::ServerBuilder| server.limits(limits).deflate(deflate);
        let server = Served::configured(driver, configure, |_| Mirror);
        block_on(async {
            let client = TaskClient::new(format!("ws://{}/", server.address)).deflate(deflate);
            let mut socket = client.connect().await.unwrap();
            let long = "pieces ".repeat(150_000);
            for text in ["short", &long[..MIB], ""] {
                socket.send(Text(text)).await.unwrap();
                let message = socket.next().await.unwrap().unwrap();
                assert!(message.as_text() == Some(text), "{} bytes", text.len());
            }
        });
    });
}

/// What came on one connection: bytes, first, last.
#[derive(Default)]
struct Noting {
    pieces: Vec<(Vec<u8>, bool, bool)>,
    whole: usize,
}

impl Handler for Noting {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.receive_chunks(true);
    }

    fn on_chunk(&mut self, conn: &mut Conn<'_, ()>, chunk: Chunk<'_>) {
        if chunk.bytes() == b"whole" {
            conn.receive_chunks(false);
        }
        self.pieces.push((chunk.bytes().to_vec(), chunk.is_first(), chunk.is_last()));
    }

    fn on_message(&mut self, _conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        self.whole += 1;
    }
}

fn noting(limits: Limits) -> (MemoryServer<Noting>, MemoryConnection) {
    let mut server = MemoryServer::new(limits, Noting::default()).unwrap();
    let peer = server.connect_open();
    (server, peer)
}

/// The code of the Close frame that the server sent, if it sent anything.
fn close_code(server: &mut MemoryServer<Noting>, peer: MemoryConnection) -> Option<u16> {
    let sent = server.take_sent(peer);
    let (&first, code) = (sent.first()?, sent.get(2..4)?);
    assert_eq!(first, 0x88);
    Some(u16::from_be_bytes(code.try_into().unwrap()))
}

#[test]
fn pieces_say_where_a_message_begins_and_ends() {
    let (mut server, peer) = noting(Limits::default());
    server.receive(peer, &client::frame(true, TEXT, b"at once", 7));
    server.receive(peer, &client::frame(true, TEXT, b"", 7));
    let cut = client::frame(false, BINARY, b"cut here", 0x0102_0304);
    server.receive(peer, &cut[..6 + 4]);
    server.receive(peer, &cut[6 + 4..]);
    server.receive(peer, &client::frame(true, PING, b"between", 7));
    server.receive(peer, &client::frame(true, CONTINUATION, b"", 7));
    let expected: [(&[u8], bool, bool); 5] = [
        (b"at once", true, true),
        (b"", true, true),
        (b"cut ", true, false),
        (b"here", false, false),
        (b"", false, true),
    ];
    let expected = expected.map(|(bytes, first, last)| (bytes.to_vec(), first, last));
    assert_eq!(server.handler().pieces, expected);
    assert_eq!(server.counters().messages_received, 3);
}

#[test]
fn whole_messages_come_again_from_the_next_message_on() {
    let (mut server, peer) = noting(Limits::default());
    server.receive(peer, &client::frame(false, TEXT, b"whole", 7));
    server.receive(peer, &client::frame(true, CONTINUATION, b"rest", 7));
    server.receive(peer, &client::frame(false, TEXT, b"in two ", 7));
    server.receive(peer, &client::frame(true, CONTINUATION, b"parts", 7));
    assert_eq!(server.handler().pieces.len(), 2);
    assert_eq!(server.handler().whole, 1);
}

#[test]
fn text_may_be_cut_within_a_character_and_is_closed_with_1007_where_it_is_none() {
    let word = "Wörter".as_bytes();
    for cut in 0..=word.len() {
        let (mut server, peer) = noting(Limits::default());
        server.receive(peer, &client::frame(false, TEXT, &word[..cut], 7));
        server.receive(peer, &client::frame(true, CONTINUATION, &word[cut..], 7));
        let came = server.handler().pieces.iter().flat_map(|(bytes, _, _)| bytes.clone());
        assert_eq!(came.collect::<Vec<u8>>(), word, "cut at {cut}");
    }
    let (mut server, peer) = noting(Limits::default());
    server.receive(peer, &client::frame(false, TEXT, b"W\xc3", 7));
    assert_eq!(close_code(&mut server, peer), None);
    server.receive(peer, &client::frame(true, CONTINUATION, b"", 7));
    assert_eq!(close_code(&mut server, peer), Some(1007), "ends within a character");
    let (mut server, peer) = noting(Limits::default());
    server.receive(peer, &client::frame(false, TEXT, b"W\xc3", 7));
    server.receive(peer, &client::frame(false, CONTINUATION, b"W", 7));
    assert_eq!(close_code(&mut server, peer), Some(1007), "known with the second piece");
    assert_eq!(server.handler().pieces.len(), 1);
}

#[test]
fn as_many_bytes_in_pieces_as_allowed_pass_and_one_more_is_closed_with_1009() {
    let limits =
        Limits { message_bytes_max: 4, chunked_message_bytes_max: 10, ..Limits::default() };
    let (mut server, peer) = noting(limits.clone());
    for _ in 0..2 {
        server.receive(peer, &client::frame(false, TEXT, b"12345", 7));
        server.receive(peer, &client::frame(true, CONTINUATION, b"67890", 7));
        server.receive(peer, &client::frame(true, TEXT, b"1234567890", 7));
    }
    assert_eq!(close_code(&mut server, peer), None);
    server.receive(peer, &client::frame(true, TEXT, b"12345678901", 7));
    assert_eq!(close_code(&mut server, peer), Some(1009), "in one frame");
    assert_eq!(server.handler().pieces.len(), 6);
    let (mut server, peer) = noting(limits);
    server.receive(peer, &client::frame(false, TEXT, b"1234567890", 7));
    server.receive(peer, &client::frame(true, CONTINUATION, b"1", 7));
    assert_eq!(close_code(&mut server, peer), Some(1009), "in two frames");
    assert_eq!(server.handler().pieces.len(), 1);
}

#[test]
fn a_long_message_may_take_as_long_as_its_pieces_come_in_time() {
    let limits = Limits { assembly_timeout: Duration::from_secs(3), ..Limits::default() };
    let (mut server, peer) = noting(limits);
    let frame = client::frame(true, BINARY, &[9; 100], 7);
    server.receive(peer, &frame[..10]);
    for byte in &frame[10..20] {
        server.advance(Duration::from_secs(2));
        server.receive(peer, &[*byte]);
    }
    assert_eq!(close_code(&mut server, peer), None);
    server.advance(Duration::from_secs(5));
    assert_eq!(close_code(&mut server, peer), Some(1008));
}
