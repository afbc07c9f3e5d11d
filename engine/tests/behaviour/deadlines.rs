//! Limits in time at their value and beyond, in memory, where time passes when told to. A deadline
//! never comes early, and late by no more than the steps in which time passes.

use std::time::Duration;

use ringsock::reports::Counters;
use ringsock::testing::{MemoryConnection, MemoryServer};
use ringsock::{KIB, Limits};

use crate::client::{self, CLOSE, PING, PONG, TEXT};
use crate::served::Echo;

const LIMIT: Duration = Duration::from_secs(3);
const INSTANT: Duration = Duration::from_millis(1);
/// Two steps of a server in memory, as a deadline can wait for one and its consequence for another.
const LATE: Duration = Duration::from_millis(2 * 50);

fn server(limits: Limits) -> MemoryServer<Echo> {
    MemoryServer::new(limits, Echo).unwrap()
}

/// Whether the connection is there until the limit has passed, and then no more; what was counted.
fn ends_at_its_limit(server: MemoryServer<Echo>) -> Counters {
    ends_at(server, LIMIT, LATE)
}

/// The same, for a limit that has begun already, up to `late` ago.
fn ends_at(mut server: MemoryServer<Echo>, limit: Duration, late: Duration) -> Counters {
    server.advance(limit - INSTANT);
    assert_eq!(server.connections(), 1, "not before its time");
    server.advance(INSTANT + late);
    assert_eq!(server.connections(), 0, "in time");
    server.counters()
}

#[test]
fn a_handshake_that_does_not_end_is_dropped_at_its_limit() {
    let limits = Limits {
        handshake_timeout: LIMIT,
        // A slow one is told why, and has this long to read it.
        linger_timeout: INSTANT,
        ..Limits::default()
    };
    let mut server = server(limits);
    let peer = server.connect();
    server.receive(peer, b"GET / HT");
    assert_eq!(ends_at_its_limit(server).timeouts_handshake, 1);
}

#[test]
fn a_close_that_is_not_answered_is_dropped_at_its_limit() {
    let life = Duration::from_secs(1);
    let mut server =
        server(Limits { close_timeout: LIMIT, lifetime_max: life, ..Limits::default() });
    let peer = server.connect_open();
    server.advance(life + LATE);
    assert_eq!(server.take_sent(peer)[0], 0x80 | CLOSE);
    assert_eq!(ends_at(server, LIMIT - LATE, 2 * LATE).timeouts_close, 1);
}

#[test]
fn a_peer_that_takes_nothing_is_dropped_at_its_limit() {
    let limits = Limits { write_stall_timeout: LIMIT, ..Limits::default() };
    let mut server = server(limits);
    let peer = server.connect_open();
    server.set_reading(peer, false);
    server.receive(peer, &client::frame(true, TEXT, b"never read", 7));
    server.receive(peer, &client::frame(true, TEXT, b"nor this", 7));
    server.advance(LIMIT - INSTANT);
    assert_eq!(server.connections(), 1, "not before its time");
    // What a driver takes to find out that nothing moves comes on top.
    server.advance(INSTANT + Duration::from_secs(1) + LATE);
    assert_eq!(server.connections(), 0, "in time");
    assert_eq!(server.counters().timeouts_write, 1);
}

#[test]
fn a_peer_that_reads_before_the_limit_is_kept_and_gets_everything() {
    let limits = Limits { write_stall_timeout: LIMIT, ..Limits::default() };
    let mut server = server(limits);
    let peer = server.connect_open();
    for _ in 0..4 {
        server.set_reading(peer, false);
        server.receive(peer, &client::frame(true, TEXT, b"read late", 7));
        server.advance(LIMIT - INSTANT);
        server.set_reading(peer, true);
        assert_eq!(server.take_sent(peer), b"\x81\x09read late");
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_message_that_does_not_end_is_closed_at_its_limit_and_progress_does_not_prolong_it() {
    let mut server = server(Limits { assembly_timeout: LIMIT, ..Limits::default() });
    let peer = server.connect_open();
    server.receive(peer, &client::frame(false, TEXT, b"begun", 7));
    server.advance(LIMIT / 2);
    server.receive(peer, &client::frame(false, 0, b"more", 7));
    server.advance(LIMIT / 2 - INSTANT);
    assert_eq!(server.take_sent(peer), b"", "not before its time");
    server.advance(INSTANT + LATE);
    let sent = server.take_sent(peer);
    assert_eq!((sent[0], &sent[2..4]), (0x80 | CLOSE, &1008u16.to_be_bytes()[..]));
}

/// How many Pings a silent peer was sent before it was dropped, and when that was.
fn silence(misses: u32) -> (usize, Duration) {
    let limits = Limits { ping_interval: LIMIT, ping_misses_max: misses, ..Limits::default() };
    let mut server = server(limits);
    let peer = server.connect_open();
    let (mut pings, mut time) = (0, Duration::ZERO);
    while server.connections() > 0 {
        assert!(time < Duration::from_secs(60), "it is never dropped");
        server.advance(Duration::from_millis(500));
        time += Duration::from_millis(500);
        pings += usize::from(server.take_sent(peer) == [0x80 | PING, 0]);
    }
    assert_eq!(server.counters().timeouts_ping, 1);
    (pings, time)
}

#[test]
fn a_silent_peer_is_dropped_after_as_many_pings_as_it_may_miss() {
    for misses in [1, 2, 5] {
        let (pings, time) = silence(misses);
        assert_eq!(pings, misses as usize);
        let expected = LIMIT * (misses + 1);
        assert!(time >= expected && time <= expected + Duration::from_secs(1), "{time:?}");
    }
}

#[test]
fn a_peer_that_answers_its_last_ping_is_kept() {
    let limits = Limits { ping_interval: LIMIT, ping_misses_max: 2, ..Limits::default() };
    let mut server = server(limits);
    let peer = server.connect_open();
    for _ in 0..5 {
        server.advance(LIMIT * 3 - LATE);
        assert_eq!(server.take_sent(peer), [0x80 | PING, 0, 0x80 | PING, 0]);
        server.receive(peer, &client::frame(true, PONG, b"", 7));
    }
    assert_eq!(server.connections(), 1);
}

/// A server that has refused a request and waits for the client to read that.
fn lingering(limits: Limits) -> (MemoryServer<Echo>, MemoryConnection) {
    let mut server = server(limits);
    let peer = server.connect();
    server.receive(peer, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert!(server.take_sent(peer).starts_with(b"HTTP/1.1 400 "));
    (server, peer)
}

#[test]
fn a_refused_client_is_listened_to_for_as_long_and_as_much_as_allowed() {
    let limits = Limits { linger_timeout: LIMIT, linger_bytes_max: 10 * KIB, ..Limits::default() };
    ends_at_its_limit(lingering(limits.clone()).0);
    let (mut server, peer) = lingering(limits);
    server.receive(peer, &[b'x'; 6 * KIB]);
    server.receive(peer, &[b'x'; 4 * KIB]);
    assert_eq!(server.connections(), 1, "as much as allowed");
    server.receive(peer, b"x");
    assert_eq!(server.connections(), 0, "one byte more");
}
