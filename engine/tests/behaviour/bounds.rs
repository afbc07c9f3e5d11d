//! Limits at their value and one beyond, send policies, pauses and pieces. What needs no socket
//! runs in memory, where time passes when told to.

use std::collections::VecDeque;
use std::time::Duration;

use ringsock::reports::Counters;
use ringsock::sending::DropReason;
use ringsock::testing::{MemoryConnection, MemoryServer};
use ringsock::{
    Binary, Conn, Handler, KIB, Limits, MIB, Message, SendOutcome, SendPolicy, ServerBuilder, Text,
};

use crate::client::{self, BINARY, Client, PING, PONG, TEXT};
use crate::process;
use crate::served::{Echo, Served, alone_for_each_driver, for_each_driver};

fn text(payload: &str) -> Vec<u8> {
    client::frame(true, TEXT, payload.as_bytes(), 0x0102_0304)
}

/// What the server sent, as pairs of first byte and payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let [first, second, ..] = *bytes {
        let (start, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (10, u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize),
            short => (2, usize::from(short)),
        };
        found.push((first, bytes[start..start + length].to_vec()));
        bytes = &bytes[start + length..];
    }
    found
}

fn texts(bytes: &[u8]) -> Vec<String> {
    let data = frames(bytes).into_iter().filter(|(first, _)| *first == 0x81);
    data.map(|(_, payload)| String::from_utf8(payload).unwrap()).collect()
}

fn close_code(bytes: &[u8]) -> Option<u16> {
    let (_, body) = frames(bytes).into_iter().find(|(first, _)| *first == 0x88)?;
    Some(u16::from_be_bytes([body[0], body[1]]))
}

fn echo_server(limits: Limits) -> (MemoryServer<Echo>, MemoryConnection) {
    let mut server = MemoryServer::new(limits, Echo).unwrap();
    let connection = server.connect_open();
    (server, connection)
}

#[test]
fn as_many_messages_a_second_as_allowed_pass_and_one_more_is_closed_with_1008() {
    let limits = Limits { messages_per_second: 5, ..Limits::default() };
    let (mut server, peer) = echo_server(limits);
    for second in 0..3 {
        (0..5).for_each(|_| server.receive(peer, &text("m")));
        assert_eq!(texts(&server.take_sent(peer)).len(), 5, "second {second}");
        server.advance(Duration::from_secs(1));
    }
    server.receive(peer, &text("m").repeat(6));
    let sent = server.take_sent(peer);
    assert_eq!((texts(&sent).len(), close_code(&sent)), (5, Some(1008)));
    assert_eq!(server.counters().violations_message_rate, 1);
}

#[test]
fn as_many_bytes_a_second_as_allowed_pass_and_one_more_is_closed_with_1008() {
    let frame = text("0123456789");
    let limits = Limits { bytes_per_second: 10 * frame.len(), ..Limits::default() };
    let (mut server, peer) = echo_server(limits);
    server.receive(peer, &frame.repeat(10));
    assert_eq!(texts(&server.take_sent(peer)).len(), 10);
    server.advance(Duration::from_secs(1));
    let mut beyond = frame.repeat(10);
    beyond.push(frame[0]);
    server.receive(peer, &beyond);
    let sent = server.take_sent(peer);
    assert_eq!((texts(&sent).len(), close_code(&sent)), (10, Some(1008)));
    assert_eq!(server.counters().violations_byte_rate, 1);
}

#[test]
fn as_many_control_frames_a_second_as_allowed_pass_and_one_more_is_closed_with_1008() {
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    // A rate, and then how long the peer is silent and how many Pings that allows, in turns.
    for (rate, turns) in [
        (7, &[(1000, 7)][..]),
        (20, &[(500, 10)]),
        (600, &[(5, 3)]),
        (1_500, &[(4, 6)]),
        (3, &[(500, 1), (500, 2)]),
    ] {
        let limits = Limits {
            control_frames_per_second: rate,
            control_frames_burst: 12,
            ..Limits::default()
        };
        let (mut server, peer) = echo_server(limits);
        let pongs = |server: &mut MemoryServer<Echo>, pings: usize| {
            (0..pings).for_each(|_| server.receive(peer, &ping));
            let sent = server.take_sent(peer);
            let pongs = frames(&sent).iter().filter(|(first, _)| *first == 0x8a).count();
            (pongs, close_code(&sent))
        };
        assert_eq!(pongs(&mut server, 12), (12, None), "the burst, at {rate} a second");
        for &(millis, allowed) in turns {
            server.advance(Duration::from_millis(millis));
            assert_eq!(pongs(&mut server, allowed), (allowed, None), "at {rate} a second");
        }
        assert_eq!(pongs(&mut server, 1), (0, Some(1008)), "at {rate} a second");
    }
}

#[test]
fn a_connection_lives_as_long_as_allowed_and_is_then_closed_with_1001() {
    let limits = Limits { lifetime_max: Duration::from_secs(5), ..Limits::default() };
    let (mut server, peer) = echo_server(limits);
    for _ in 0..49 {
        server.advance(Duration::from_millis(100));
        server.receive(peer, &text("alive"));
    }
    assert_eq!(texts(&server.take_sent(peer)).len(), 49);
    server.advance(Duration::from_millis(150));
    assert_eq!(close_code(&server.take_sent(peer)), Some(1001));
    assert_eq!(server.counters().lifetimes_ended, 1);
}

/// Does to itself what the first word of a message says and keeps the outcomes.
#[derive(Default)]
struct Obedient {
    outcomes: Vec<SendOutcome>,
    dropped: u64,
    drained: usize,
    heard: Vec<String>,
}

impl Handler for Obedient {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let text = message.as_text().unwrap_or_default().to_owned();
        self.heard.push(text.clone());
        let (word, rest) = text.split_once(' ').unwrap_or((&text, ""));
        let number = |rest: &str| rest.parse::<u64>().unwrap();
        match word {
            "newest" => conn.set_send_policy(SendPolicy::DropNewest),
            "oldest" => conn.set_send_policy(SendPolicy::DropOldest),
            "send" => self.outcomes.push(conn.send(Text(rest))),
            "latest" => {
                let (key, value) = rest.split_once(' ').unwrap();
                self.outcomes.push(conn.send_latest(number(key), Text(value)));
            }
            "chunk" => self.outcomes.push(conn.send_chunk(Text(rest))),
            "last" => self.outcomes.push(conn.send_last_chunk(Text(rest))),
            "ping" => self.outcomes.push(conn.ping(rest.as_bytes())),
            "pause" => conn.pause_receive(),
            "both" => {
                conn.pause_receive();
                conn.resume_receive();
            }
            "close" => conn.close(ringsock::CloseCode::NORMAL, ""),
            _ => {}
        }
        self.dropped = conn.dropped().total();
    }

    fn on_drain(&mut self, _conn: &mut Conn<'_, ()>) {
        self.drained += 1;
    }
}

/// A server whose one peer does not read, and for which one frame is stuck already.
fn stuck(limits: Limits) -> (MemoryServer<Obedient>, MemoryConnection) {
    let mut server = MemoryServer::new(limits, Obedient::default()).unwrap();
    let peer = server.connect_open();
    server.set_reading(peer, false);
    server.receive(peer, &text("send stuck"));
    server.handler().outcomes.clear();
    // The answer to the handshake has waited too.
    server.handler().drained = 0;
    (server, peer)
}

fn say(server: &mut MemoryServer<Obedient>, peer: MemoryConnection, words: &[&str]) {
    words.iter().for_each(|word| server.receive(peer, &text(word)));
}

fn read_all(server: &mut MemoryServer<Obedient>, peer: MemoryConnection) -> Vec<u8> {
    server.set_reading(peer, true);
    server.take_sent(peer)
}

/// Room for the stuck frame and four of 10 bytes.
fn narrow() -> Limits {
    Limits { send_queue_bytes_max: 7 + 4 * 10, ..Limits::default() }
}

#[test]
fn a_full_queue_closes_with_1008_unless_told_otherwise() {
    let (mut server, peer) = stuck(narrow());
    say(&mut server, peer, &["send 1.......", "send 2.......", "send 3.......", "send 4......."]);
    assert!(server.handler().outcomes.iter().all(|outcome| *outcome == SendOutcome::Queued));
    say(&mut server, peer, &["send beyond"]);
    let closed = SendOutcome::Dropped(DropReason::SlowConsumer);
    assert_eq!(server.handler().outcomes.last(), Some(&closed));
    assert_eq!(close_code(&read_all(&mut server, peer)), Some(1008));
    assert_eq!((server.counters().slow_consumers, server.counters().dropped_newest), (1, 1));
}

#[test]
fn a_full_queue_that_drops_the_newest_keeps_what_waits() {
    let (mut server, peer) = stuck(narrow());
    say(&mut server, peer, &["newest"]);
    for number in 1..=9 {
        say(&mut server, peer, &[&format!("send {number}.......")]);
    }
    let expected =
        [[SendOutcome::Queued; 4].as_slice(), &[SendOutcome::Dropped(DropReason::QueueFull); 5]];
    assert_eq!(server.handler().outcomes, expected.concat());
    assert_eq!((server.counters().dropped_newest, server.handler().dropped), (5, 5));
    let kept = ["stuck", "1.......", "2.......", "3.......", "4......."];
    assert_eq!(texts(&read_all(&mut server, peer)), kept);
    say(&mut server, peer, &["send again"]);
    assert_eq!(texts(&server.take_sent(peer)), ["again"]);
}

#[test]
fn a_full_queue_that_drops_the_oldest_keeps_what_is_new() {
    let (mut server, peer) = stuck(narrow());
    say(&mut server, peer, &["oldest"]);
    for number in 1..=9 {
        say(&mut server, peer, &[&format!("send {number}.......")]);
    }
    assert_eq!(server.handler().outcomes, [SendOutcome::Queued; 9]);
    assert_eq!((server.counters().dropped_oldest, server.handler().dropped), (5, 5));
    let kept = ["stuck", "6.......", "7.......", "8.......", "9......."];
    assert_eq!(texts(&read_all(&mut server, peer)), kept);
}

#[test]
fn the_latest_of_each_key_takes_the_place_of_the_one_that_waits() {
    let (mut server, peer) = stuck(Limits::default());
    say(
        &mut server,
        peer,
        &["latest 1 a1", "latest 2 b1", "send plain", "latest 1 a2", "latest 1 a3"],
    );
    assert_eq!(texts(&read_all(&mut server, peer)), ["stuck", "a3", "b1", "plain"]);
    assert_eq!((server.counters().dropped_replaced, server.handler().dropped), (2, 2));
    say(&mut server, peer, &["latest 1 a4"]);
    assert_eq!(texts(&server.take_sent(peer)), ["a4"]);
}

#[test]
fn control_frames_are_neither_behind_stuck_data_nor_dropped_with_it() {
    let (mut server, peer) = stuck(narrow());
    say(&mut server, peer, &["oldest", "send 1.......", "send 2.......", "send 3......."]);
    server.receive(peer, &client::frame(true, PING, b"you there?", 5));
    say(&mut server, peer, &["ping are you?"]);
    say(&mut server, peer, &["send 4.......", "send 5.......", "send 6......."]);
    let sent = frames(&read_all(&mut server, peer));
    let order: Vec<u8> = sent.iter().map(|(first, _)| first & 0x0f).collect();
    assert_eq!(order[..3], [TEXT, PONG, PING]);
    assert_eq!(sent[1].1, b"you there?");
    assert!(order[3..].iter().all(|opcode| *opcode == TEXT));
    assert_eq!(sent.last().unwrap().1, b"6.......");
}

#[test]
fn a_failed_peer_gets_its_close_frame_before_the_data_it_does_not_read() {
    let (mut server, peer) = stuck(Limits::default());
    let long = format!("send {}", "x".repeat(5_000));
    say(&mut server, peer, &[&long[..]; 5]);
    server.receive(peer, &[0xff, 0x80, 0, 0, 0, 0]);
    let sent = read_all(&mut server, peer);
    assert_eq!((texts(&sent), close_code(&sent)), (vec!["stuck".to_owned()], Some(1002)));
    assert_eq!(server.counters().dropped_closing, 5);
}

#[test]
fn the_soft_mark_is_told_once_when_it_is_passed_downwards() {
    for (bytes, told) in [(97, 0), (98, 1)] {
        let limits = Limits { send_queue_soft_bytes: 107, ..Limits::default() };
        let (mut server, peer) = stuck(limits);
        // With two bytes of header, and seven of what is stuck.
        say(&mut server, peer, &[&format!("send {}", "x".repeat(bytes))]);
        assert_eq!(server.handler().drained, 0);
        read_all(&mut server, peer);
        assert_eq!(server.handler().drained, told, "{bytes} bytes");
    }
}

#[test]
fn nothing_is_delivered_while_receiving_is_paused_and_everything_after() {
    let mut server = MemoryServer::new(Limits::default(), Obedient::default()).unwrap();
    let peer = server.connect_open();
    let burst: Vec<u8> = ["one", "both", "two", "pause", "three", "pause", "four"]
        .iter()
        .flat_map(|word| text(word))
        .collect();
    // Cut anywhere, also within a frame: what has been received already is kept.
    let (first, second) = burst.split_at(burst.len() - 17);
    server.receive(peer, first);
    server.receive(peer, second);
    assert_eq!(server.handler().heard, ["one", "both", "two", "pause"]);
    // The peer's silence is our own doing.
    server.advance(Duration::from_secs(600));
    assert_eq!(server.connections(), 1);
    let pings = frames(&server.take_sent(peer)).len();
    assert!((15..=21).contains(&pings), "the transport is still asked: {pings}");
    server.resume_receive(peer);
    assert_eq!(server.handler().heard[4..], ["three", "pause"]);
    server.finish(peer);
    assert_eq!(server.connections(), 1, "the end waits behind what came before it");
    server.resume_receive(peer);
    assert_eq!(server.handler().heard[6..], ["four"]);
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_message_leaves_in_pieces_and_others_follow_its_end() {
    let mut server = MemoryServer::new(Limits::default(), Obedient::default()).unwrap();
    let peer = server.connect_open();
    say(
        &mut server,
        peer,
        &["chunk a", "send whole", "ping now", "chunk b", "last c", "send more"],
    );
    let expected: [(u8, &[u8]); 6] = [
        (0x01, b"a"),
        (0x89, b"now"),
        (0x00, b"b"),
        (0x80, b"c"),
        (0x81, b"whole"),
        (0x81, b"more"),
    ];
    let sent = frames(&server.take_sent(peer));
    let sent: Vec<(u8, &[u8])> =
        sent.iter().map(|(first, payload)| (*first, &payload[..])).collect();
    assert_eq!(sent, expected);
    say(&mut server, peer, &["chunk unfinished", "send never", "close"]);
    assert_eq!(close_code(&server.take_sent(peer)), Some(1000));
    assert_eq!(server.counters().dropped_closing, 1);
}

/// Sends a message of many mebibytes piece by piece, as fast as the peer reads.
struct Streamer {
    left: VecDeque<u8>,
    most_queued: usize,
}

const PIECE_BYTES: usize = 32 * KIB;

impl Streamer {
    fn go_on(&mut self, conn: &mut Conn<'_, ()>) {
        while conn.queued_bytes() < 256 * KIB
            && let Some(number) = self.left.pop_front()
        {
            let piece = Binary(vec![number; PIECE_BYTES]);
            let outcome = match self.left.is_empty() {
                true => conn.send_last_chunk(piece),
                false => conn.send_chunk(piece),
            };
            assert_eq!(outcome, SendOutcome::Queued);
            self.most_queued = self.most_queued.max(conn.queued_bytes());
        }
        assert!(self.most_queued < MIB, "{}", self.most_queued);
    }
}

impl Handler for Streamer {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        self.left = (0..1_024u32).map(|number| number as u8).collect();
        self.go_on(conn);
    }

    fn on_drain(&mut self, conn: &mut Conn<'_, ()>) {
        self.go_on(conn);
    }
}

#[test]
fn a_message_larger_than_any_queue_is_sent_in_pieces() {
    for_each_driver(|driver| {
        let limits = Limits { message_bytes_max: 64 * KIB, ..Limits::default() };
        let server = Served::configured(
            driver,
            |server| server.limits(limits),
            |_| Streamer { left: VecDeque::new(), most_queued: 0 },
        );
        let mut client = Client::connect(server.address);
        client.send_text("go");
        for number in 0..1_024u32 {
            let (first, payload) = client.expect_fragment();
            let expected = match number {
                0 => 0x02,
                1_023 => 0x80,
                _ => 0x00,
            };
            assert_eq!(first, expected, "piece {number}");
            assert!(payload == [number as u8; PIECE_BYTES], "piece {number}");
        }
    });
}

/// Pauses at every message and resumes from a task.
struct OneAtATime;

impl Handler for OneAtATime {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
        conn.pause_receive();
        let peer = conn.peer();
        ringsock::spawn(async move {
            monoio::time::sleep(Duration::from_millis(1)).await;
            let _ = peer.resume_receive();
        });
    }
}

#[test]
fn a_handler_that_pauses_at_each_message_gets_them_all_in_order() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| OneAtATime);
        let mut client = Client::connect(server.address);
        let mut sender = client.sender();
        let writer = std::thread::spawn(move || {
            for number in 0..200u32 {
                let size = [3, 300, 20_000, 150_000][number as usize % 4];
                sender.send_binary(&vec![number as u8; size]);
            }
        });
        for number in 0..200u32 {
            let size = [3, 300, 20_000, 150_000][number as usize % 4];
            client.expect_message(BINARY, &vec![number as u8; size]);
        }
        writer.join().unwrap();
        client.send_close(1000, "");
        assert_eq!(client.expect_frame().close().0, 1000);
    });
}

/// Sends a mebibyte for each message that is not "echo".
struct Mebibyte;

impl Handler for Mebibyte {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        if message.bytes() == b"echo" {
            conn.send(message);
        } else {
            conn.send(Binary(vec![7; MIB]));
        }
    }
}

#[test]
fn many_slow_readers_together_hold_no_more_than_the_budget_and_harm_nobody() {
    alone_for_each_driver(|driver| {
        let limits = Limits { memory_bytes_max: 24 * MIB, ..Limits::default() };
        let configure = |server: ServerBuilder| server.limits(limits);
        let server = Served::configured(driver, configure, |_| Mebibyte);
        let mut other = Client::connect(server.address);
        let memory = process::memory_bytes();
        let mut slow: Vec<Client> = (0..40).map(|_| Client::connect(server.address)).collect();
        for round in 0..4 {
            for client in &mut slow {
                // Fails when it has been let go already.
                let _ = std::io::Write::write_all(&mut client.stream, &text("more"));
            }
            other.send_text("echo");
            other.expect_text("echo");
            let grown = process::memory_bytes().saturating_sub(memory);
            // The vectors kept for reuse and the client's side come on top.
            assert!(grown < 24 * MIB + 40 * MIB, "driver {driver:?}, round {round}: {grown}");
        }
        let shed = slow.iter_mut().map(ends).filter(|ended| *ended).count();
        assert!(shed > 0, "somebody had to go");
        other.send_text("echo");
        other.expect_text("echo");
    });
}

/// Whether the connection ends without a Close frame.
fn ends(client: &mut Client) -> bool {
    client.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut buffer = vec![0; 256 * KIB];
    loop {
        match std::io::Read::read(&mut client.stream, &mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn the_connection_that_holds_most_is_let_go_first_and_all_memory_is_given_back() {
    let limits = Limits { memory_bytes_max: MIB, ..Limits::default() };
    let mut server = MemoryServer::new(limits, Obedient::default()).unwrap();
    let peers: Vec<MemoryConnection> = (0..4).map(|_| server.connect_open()).collect();
    for (number, peer) in peers.iter().enumerate() {
        server.set_reading(*peer, false);
        let part = format!("send {}", "x".repeat(60_000));
        say(&mut server, *peer, &vec![&part[..]; number + 3]);
    }
    // 18 x 60,000 bytes are more than all of it: the largest holder, of six, goes.
    assert_eq!((server.connections(), server.counters().shed), (3, 1));
    assert!(server.held_bytes() > 12 * 60_000);
    for peer in peers {
        server.reset(peer);
    }
    assert_eq!((server.connections(), server.held_bytes()), (0, 0));
}

#[test]
fn what_is_held_is_given_back_whatever_happens_to_a_connection() {
    let part = client::frame(false, BINARY, &[1; 70_000], 9);
    let ends: [fn(&mut MemoryServer<Obedient>, MemoryConnection); 5] = [
        |server, peer| server.reset(peer),
        |server, peer| {
            server.finish(peer);
            server.set_reading(peer, true);
        },
        |server, peer| {
            server.receive(peer, &[0xff; 8]);
            server.set_reading(peer, true);
            server.finish(peer);
        },
        |server, _| server.advance(Duration::from_secs(120)),
        |server, peer| {
            server.set_reading(peer, true);
            server.reset(peer);
        },
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let (mut server, peer) = stuck(Limits::default());
        say(
            &mut server,
            peer,
            &["oldest", "send kept", "latest 3 x", "chunk begun", "send behind"],
        );
        server.receive(peer, &part);
        assert!(server.held_bytes() > 70_000);
        say(&mut server, peer, &[]);
        end(&mut server, peer);
        assert_eq!((server.connections(), server.held_bytes()), (0, 0), "end {number}");
    }
}

#[test]
fn counters_of_an_undisturbed_echo_show_no_loss() {
    let (mut server, peer) = echo_server(Limits::default());
    server.receive(peer, &text("hello").repeat(10));
    let found = server.counters();
    let expected = Counters {
        accepted: 1,
        opened: 1,
        messages_received: 10,
        messages_sent: 10,
        bytes_received: found.bytes_received,
        bytes_sent: found.bytes_sent,
        turns: found.turns,
        ..Counters::default()
    };
    assert_eq!(found, expected);
}
