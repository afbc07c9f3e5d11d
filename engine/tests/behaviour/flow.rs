//! Peers that read slowly or not at all: what waits for them is bounded, and nobody else notices.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use ringsock::{Binary, Conn, Handler, KIB, Limits, MIB, Message, SendOutcome, Text};

use crate::client::{self, BINARY, Client, PING, PONG};
use crate::process;
use crate::recorder::{Recorder, Seen};
use crate::served::{Echo, Served, alone_for_each_driver, for_each_driver};

/// Writes `bytes` again and again until nothing has been taken for a while; how much was taken.
fn push_until_stuck(client: &mut Client, bytes: &[u8], most: usize) -> usize {
    client.stream.set_nonblocking(true).unwrap();
    let mut taken = 0;
    let mut progress = Instant::now();
    while taken < most && progress.elapsed() < Duration::from_millis(400) {
        let start = taken % bytes.len();
        let end = bytes.len().min(start + most - taken);
        match client.stream.write(&bytes[start..end]) {
            Ok(count) => {
                taken += count;
                progress = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("after {taken} bytes: {error}"),
        }
    }
    client.stream.set_nonblocking(false).unwrap();
    taken
}

#[test]
fn a_peer_that_does_not_read_is_not_read_from() {
    alone_for_each_driver(|driver| {
        let limits = Limits {
            receive_pause_bytes: 256 * KIB,
            // Room for what one turn can still deliver after the mark was passed.
            send_queue_bytes_max: 8 * MIB,
            ..Limits::default()
        };
        let server = Served::configured(driver, |server| server.limits(limits), |_| Echo);
        let mut other = Client::connect(server.address);
        let mut client = Client::connect(server.address);
        other.echo("before");
        let message = vec![0xab; 60_000];
        let frame = client::frame(true, BINARY, &message, 0x1020_3040);
        let memory = process::memory_bytes();
        let taken = push_until_stuck(&mut client, &frame, 50 * MIB);
        // The kernel's buffers take a few megabytes on each side, then it must be over.
        assert!(taken < 30 * MIB, "driver {driver:?}: {taken} bytes taken from who does not read");
        let grown = process::memory_bytes().saturating_sub(memory);
        assert!(grown < 12 * MIB, "driver {driver:?}: {grown} bytes of memory");
        other.echo("meanwhile");
        // Once it reads, all that was taken comes back.
        for _ in 0..taken / frame.len() {
            client.expect_message(BINARY, &message);
        }
        let rest = taken % frame.len();
        client.send_bytes(&frame[rest..]);
        client.expect_message(BINARY, &message);
        client.echo("caught up");
    });
}

#[test]
fn a_client_that_reads_may_send_as_fast_as_it_can() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        let mut reader = Client::connect(server.address);
        let mut writer = reader.sender();
        let count = 5_000;
        let thread = std::thread::spawn(move || {
            let frame = client::frame(true, BINARY, &[3; 10_000], 7);
            let burst = frame.repeat(100);
            (0..count / 100).for_each(|_| writer.send_bytes(&burst));
        });
        for number in 0..count {
            let frame = reader.expect_frame();
            assert_eq!(frame.opcode, BINARY, "message {number}: {frame:?}");
        }
        thread.join().unwrap();
    });
}

/// Echoes, and stands still for a while when told to.
struct Stumbling;

impl Handler for Stumbling {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        if message.bytes() == b"stand still" {
            std::thread::sleep(Duration::from_millis(200));
        }
        let _queued = conn.send(message);
    }
}

#[test]
fn a_burst_that_had_to_wait_for_the_server_is_not_held_against_the_peer() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Stumbling);
        let mut reader = Client::connect(server.address);
        let mut writer = reader.sender();
        reader.send_text("stand still");
        let thread = std::thread::spawn(move || {
            let burst = client::frame(true, BINARY, &[3; 10_000], 7).repeat(100);
            (0..8).for_each(|_| writer.send_bytes(&burst));
        });
        // All of it is there at once when the server goes on, more than may wait for one peer.
        std::thread::sleep(Duration::from_millis(400));
        reader.expect_text("stand still");
        for number in 0..800 {
            let frame = reader.expect_frame();
            assert_eq!(frame.opcode, BINARY, "message {number}: {frame:?}");
        }
        thread.join().unwrap();
    });
}

#[test]
fn on_drain_comes_when_the_peer_has_caught_up() {
    for_each_driver(|driver| {
        let (factory, record) = Recorder::new();
        let limits = Limits {
            receive_pause_bytes: 64 * KIB,
            send_queue_bytes_max: 64 * MIB,
            ..Limits::default()
        };
        let configure = |server: ringsock::ServerBuilder| server.limits(limits);
        let server = Served::configured(driver, configure, move |_| factory());
        let mut client = Client::connect(server.address);
        record.opened(0);
        let message = vec![1; 60_000];
        let frame = client::frame(true, BINARY, &message, 3);
        let taken = push_until_stuck(&mut client, &frame, 50 * MIB);
        for _ in 0..taken / frame.len() {
            client.expect_message(BINARY, &message);
        }
        assert_eq!(record.next(), Seen::Drained(0));
    });
}

/// Sends this many mebibytes for each message, to peers for whom no more than `most_bytes` may wait.
struct Generous {
    mebibytes: usize,
    most_bytes: usize,
}

impl Handler for Generous {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        if message.bytes() == b"echo" {
            let _queued = conn.send(message);
            return;
        }
        for _ in 0..self.mebibytes {
            if conn.send(Binary(vec![5; MIB])) != SendOutcome::Queued {
                assert!(!conn.is_open(), "what is not queued ends the connection");
            }
        }
        assert!(conn.queued_bytes() <= self.most_bytes, "bounded by the limit and one message");
    }
}

#[test]
fn a_handler_that_sends_more_than_the_limit_loses_that_connection_only() {
    for_each_driver(|driver| {
        let limits = Limits {
            send_queue_bytes_max: 2 * MIB,
            close_timeout: Duration::from_millis(500),
            ..Limits::default()
        };
        let configure = |server: ringsock::ServerBuilder| server.limits(limits);
        let server = Served::configured(driver, configure, |_| Generous {
            mebibytes: 40,
            most_bytes: 3 * MIB + KIB,
        });
        let mut other = Client::connect(server.address);
        let mut client = Client::connect(server.address);
        client.send_text("more");
        // What was queued before the limit was reached is delivered, then comes the reason.
        client.expect_message(BINARY, &vec![5; MIB]);
        client.expect_message(BINARY, &vec![5; MIB]);
        let mut frame = client.expect_frame();
        while frame.opcode == BINARY {
            frame = client.expect_frame();
        }
        assert_eq!(frame.close().0, 1008);
        client.expect_end();
        other.echo("echo");
    });
}

#[test]
fn a_closed_peer_that_never_reads_is_dropped_by_the_deadline() {
    for_each_driver(|driver| {
        let limits = Limits {
            send_queue_bytes_max: 20 * MIB,
            receive_pause_bytes: 64 * MIB,
            close_timeout: Duration::from_millis(300),
            connections_max: 1,
            ..Limits::default()
        };
        let configure = |server: ringsock::ServerBuilder| server.limits(limits);
        let server = Served::configured(driver, configure, |_| Generous {
            mebibytes: 20,
            most_bytes: 21 * MIB,
        });
        let mut client = Client::connect(server.address);
        client.send_text("more");
        client.send_close(1000, "");
        // There is room for one connection: another one is served when the first has been dropped.
        process::wait_until(Duration::from_secs(10), "the connection is dropped", || {
            let mut next = Client::raw(server.address);
            // Fails when the server has refused it already.
            let _ = next.stream.write_all(client::upgrade_request("/", "").as_bytes());
            next.head().is_some()
        });
    });
}

/// Everybody hears everybody.
struct Room;

impl Handler for Room {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        assert!(conn.subscribe("room"));
        let _queued = conn.send(Text("welcome"));
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.publish("room", message);
    }
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_with_1008_and_others_miss_nothing() {
    for_each_driver(|driver| {
        let limits = Limits {
            send_queue_bytes_max: 512 * KIB,
            receive_pause_bytes: 8 * MIB,
            ..Limits::default()
        };
        let server = Served::configured(driver, |server| server.limits(limits), |_| Room);
        let mut readers: Vec<Client> = (0..3).map(|_| Client::connect(server.address)).collect();
        let mut idler = Client::connect(server.address);
        readers.iter_mut().chain([&mut idler]).for_each(|client| client.expect_text("welcome"));
        let rounds = 400;
        for round in 0..rounds {
            let message = vec![round as u8; 50_000];
            readers[0].send_binary(&message);
            readers.iter_mut().for_each(|reader| reader.expect_message(BINARY, &message));
        }
        let mut heard = 0;
        let last = loop {
            let frame = idler.expect_frame();
            if frame.opcode != BINARY {
                break frame;
            }
            assert_eq!(frame.payload[0], heard as u8, "in order, without a gap");
            heard += 1;
        };
        assert_eq!(last.close().0, 1008);
        assert!(heard > 0 && heard < rounds, "{heard}");
    });
}

#[test]
fn pings_of_a_peer_that_does_not_read_are_not_all_answered() {
    alone_for_each_driver(|driver| {
        let limits = Limits { control_frames_burst: 65_535, ..Limits::default() };
        let server = Served::configured(driver, |server| server.limits(limits), |_| Echo);
        let mut client = Client::connect(server.address);
        let mut burst = Vec::new();
        for number in 0..60_000u32 {
            let payload = [&number.to_be_bytes()[..], &[b'.'; 120]].concat();
            burst.extend(client::frame(true, PING, &payload, number));
        }
        let memory = process::memory_bytes();
        client.send_bytes(&burst);
        client.send_text("still served");
        let mut last = None;
        loop {
            let frame = client.expect_frame();
            if frame.opcode != PONG {
                assert_eq!(frame.payload, b"still served");
                break;
            }
            let number = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
            assert!(last.is_none_or(|last| last < number), "in order");
            last = Some(number);
        }
        assert!(last.is_some(), "some are answered");
        let grown = process::memory_bytes().saturating_sub(memory);
        assert!(grown < 12 * MIB, "driver {driver:?}: {grown} bytes of memory");
    });
}

#[test]
fn a_flood_of_pings_is_closed_with_1008() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        let mut other = Client::connect(server.address);
        let mut client = Client::connect(server.address);
        let flood: Vec<u8> =
            (0..1_000).flat_map(|mask| client::frame(true, PING, b"", mask)).collect();
        client.send_bytes(&flood);
        let mut frame = client.expect_frame();
        while frame.opcode == PONG {
            frame = client.expect_frame();
        }
        assert_eq!(frame.close().0, 1008);
        client.expect_end();
        other.echo("not disturbed");
    });
}
