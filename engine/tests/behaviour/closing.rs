//! Every way a connection can end: what the peer sees, and that the handler is told exactly once.

use std::time::Duration;

use ringsock::connection::ClosedBy;
use ringsock::{Driver, Limits};

use crate::client::{BINARY, CLOSE, Client, PING, PONG, TEXT};
use crate::recorder::{Ending, Record, Recorder, Seen};
use crate::served::{Served, for_each_driver};

/// Time in which a second call of `on_close` would come.
const MOMENT: Duration = Duration::from_millis(30);

fn start(driver: Driver) -> (Served, Record) {
    let (factory, record) = Recorder::new();
    // Short, so that tests can wait for it; long enough for a machine that is busy.
    let limits = Limits { close_timeout: Duration::from_millis(400), ..Limits::default() };
    let configure = |server: ringsock::ServerBuilder| server.limits(limits);
    (Served::configured(driver, configure, move |_| factory()), record)
}

fn ending(code: u16, reason: &str, by: ClosedBy) -> Ending {
    Ending { code, reason: reason.to_owned(), by }
}

/// Opens a connection, lets `end` end it, and checks what the handler was told.
fn check_ending(driver: Driver, expected: Ending, end: fn(Client)) {
    let (server, record) = start(driver);
    let mut client = Client::connect(server.address);
    record.opened(0);
    client.echo("before the end");
    end(client);
    assert_eq!(record.closed(0), expected);
    record.expect_nothing(MOMENT);
    // Others are served as before.
    Client::connect(server.address).echo("still here");
    record.opened(1);
}

#[test]
fn a_close_of_the_peer_is_answered_with_its_code() {
    for_each_driver(|driver| {
        check_ending(driver, ending(4001, "enough", ClosedBy::Peer), |mut client| {
            client.send_close(4001, "enough");
            assert_eq!(client.expect_frame().close().0, 4001);
            client.expect_end();
        });
    });
}

#[test]
fn a_close_without_a_code_is_answered_without_one() {
    for_each_driver(|driver| {
        check_ending(driver, ending(1005, "", ClosedBy::Peer), |mut client| {
            client.send_frame(true, CLOSE, b"");
            assert_eq!(client.expect_frame().close().0, 1005);
            client.expect_end();
        });
    });
}

#[test]
fn a_close_of_the_handler_waits_for_the_answer() {
    for_each_driver(|driver| {
        check_ending(driver, ending(4002, "", ClosedBy::Local), |mut client| {
            client.send_text("close 4002 go away");
            let (code, reason) = client.expect_frame().close();
            assert_eq!((code, reason.as_str()), (4002, "go away"));
            // What was on its way is not an error and is not answered.
            client.send_text("too late");
            client.send_close(4002, "");
            client.expect_end();
        });
    });
}

#[test]
fn a_close_that_is_not_answered_ends_by_its_deadline() {
    for_each_driver(|driver| {
        check_ending(driver, ending(1006, "", ClosedBy::Local), |mut client| {
            client.send_text("close 4003 go away");
            assert_eq!(client.expect_frame().close().0, 4003);
            client.expect_end();
        });
    });
}

#[test]
fn codes_that_must_not_be_sent_become_1000() {
    for_each_driver(|driver| {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            let (server, _record) = start(driver);
            let mut client = Client::connect(server.address);
            client.send_text(&format!("close {code} reason"));
            assert_eq!(client.expect_closed_with(1000), "reason");
        }
    });
}

#[test]
fn a_reason_is_cut_to_what_a_control_frame_holds() {
    for_each_driver(|driver| {
        let (server, _record) = start(driver);
        let mut client = Client::connect(server.address);
        client.send_text(&format!("close 4000 {}", "ä".repeat(100)));
        assert_eq!(client.expect_closed_with(4000), "ä".repeat(61));
    });
}

#[test]
fn a_violation_is_told_to_both_sides() {
    for_each_driver(|driver| {
        let (server, record) = start(driver);
        let mut client = Client::connect(server.address);
        record.opened(0);
        client.send_frame(true, 0x3, b"there is no such frame");
        let (code, reason) = client.expect_frame().close();
        assert_eq!(code, 1002);
        assert!(!reason.is_empty());
        client.expect_end();
        assert_eq!(record.closed(0), ending(1002, &reason, ClosedBy::Local));
        record.expect_nothing(MOMENT);
    });
}

#[test]
fn each_violation_has_its_code() {
    for_each_driver(|driver| {
        let limits = Limits { message_bytes_max: 1_000, ..Limits::default() };
        let (factory, _record) = Recorder::new();
        let configure = |server: ringsock::ServerBuilder| server.limits(limits);
        let server = Served::configured(driver, configure, move |_| factory());
        let cases: [(u8, &[u8], u16); 5] = [
            (TEXT, b"\xff", 1007),
            (BINARY, &[0; 1_001], 1009),
            (PING, &[0; 126], 1002),
            (CLOSE, b"\x03", 1002),
            (CLOSE, b"\x03\xed", 1002),
        ];
        for (opcode, payload, code) in cases {
            let mut client = Client::connect(server.address);
            client.send_frame(true, opcode, payload);
            assert_eq!(client.expect_frame().close().0, code, "opcode {opcode}");
            client.expect_end();
        }
    });
}

#[test]
fn the_end_of_the_stream_without_a_close_is_1006() {
    for_each_driver(|driver| {
        check_ending(driver, ending(1006, "", ClosedBy::Transport), |mut client| {
            client.finish_sending();
            client.expect_end();
        });
    });
}

#[test]
fn a_reset_is_1006() {
    for_each_driver(|driver| {
        check_ending(driver, ending(1006, "", ClosedBy::Transport), Client::reset);
    });
}

#[test]
fn a_stream_that_ends_within_a_message_delivers_nothing_of_it() {
    for_each_driver(|driver| {
        check_ending(driver, ending(1006, "", ClosedBy::Transport), |mut client| {
            client.send_frame(false, TEXT, b"count");
            // The header of a frame of 300,000 bytes and two of them.
            client.send_bytes(&[0x80, 0xff, 0, 0, 0, 0, 0, 4, 0x93, 0xe0, 1, 2, 3, 4, 5, 6]);
            client.finish_sending();
            client.expect_end();
        });
    });
}

#[test]
fn what_was_asked_for_before_the_stream_ended_is_still_sent() {
    for_each_driver(|driver| {
        let (server, _record) = start(driver);
        let mut client = Client::connect(server.address);
        let message = vec![7; 200_000];
        client.send_binary(&message);
        client.send_text("and this");
        client.finish_sending();
        client.expect_message(BINARY, &message);
        client.expect_text("and this");
        client.expect_end();
    });
}

#[test]
fn a_panic_ends_only_the_connection_it_concerns() {
    for_each_driver(|driver| {
        let (server, record) = start(driver);
        let mut other = Client::connect(server.address);
        record.opened(0);
        let mut client = Client::connect(server.address);
        record.opened(1);
        client.send_text("panic");
        client.expect_closed_with(1011);
        assert_eq!(record.closed(1), ending(1011, "internal error", ClosedBy::Local));
        other.echo("still here");
        // Even a handler that panics while it is told of the end harms nobody else.
        let mut client = Client::connect(server.address);
        record.opened(2);
        client.send_close(1000, "panic in on_close");
        assert_eq!(client.expect_frame().close().0, 1000);
        client.expect_end();
        record.closed(2);
        other.echo("and still");
        record.expect_nothing(MOMENT);
    });
}

#[test]
fn a_panic_in_on_upgrade_is_answered_with_500() {
    for_each_driver(|driver| {
        let (server, record) = start(driver);
        let mut client = Client::raw(server.address);
        client.send_bytes(crate::client::upgrade_request("/panic-on-upgrade", "").as_bytes());
        let head = client.head().expect("an answer, not just the end");
        assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
        client.rest();
        let mut next = Client::connect(server.address);
        next.echo("still here");
        record.opened(0);
        record.expect_nothing(MOMENT);
    });
}

#[test]
fn pings_are_answered_and_pongs_are_told() {
    for_each_driver(|driver| {
        let (server, record) = start(driver);
        let mut client = Client::connect(server.address);
        record.opened(0);
        client.send_frame(true, PING, b"are you there");
        client.expect_message(PONG, b"are you there");
        client.send_text("ping handler");
        client.expect_message(PING, b"handler");
        client.send_frame(true, PONG, b"handler");
        assert_eq!(record.next(), Seen::Pong(0, b"handler".to_vec()));
        // Nobody asked for this one (RFC 6455 section 5.5.3).
        client.send_frame(true, PONG, b"by the way");
        assert_eq!(record.next(), Seen::Pong(0, b"by the way".to_vec()));
        client.echo("and on");
    });
}

#[test]
fn a_ping_between_fragments_is_answered_at_once() {
    for_each_driver(|driver| {
        let (server, _record) = start(driver);
        let mut client = Client::connect(server.address);
        client.send_frame(false, TEXT, b"one ");
        client.send_frame(true, PING, b"now");
        client.expect_message(PONG, b"now");
        client.send_frame(true, 0, b"message");
        client.expect_text("one message");
    });
}

#[test]
fn a_silent_peer_is_pinged_and_then_dropped() {
    for_each_driver(|driver| {
        let (factory, record) = Recorder::new();
        let limits = Limits { ping_interval: Duration::from_millis(150), ..Limits::default() };
        let configure = |server: ringsock::ServerBuilder| server.limits(limits);
        let server = Served::configured(driver, configure, move |_| factory());
        let mut client = Client::connect(server.address);
        record.opened(0);
        // Answered, it stays.
        for _ in 0..4 {
            client.expect_message(PING, b"");
            client.send_frame(true, PONG, b"");
            assert_eq!(record.next(), Seen::Pong(0, Vec::new()));
        }
        client.expect_message(PING, b"");
        client.expect_message(PING, b"");
        client.expect_end();
        assert_eq!(record.closed(0), ending(1006, "", ClosedBy::Transport));
    });
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    for_each_driver(|driver| {
        let (factory, record) = Recorder::new();
        let limits = Limits { connections_max: 5, ..Limits::default() };
        let configure = |server: ringsock::ServerBuilder| server.limits(limits);
        let server = Served::configured(driver, configure, move |_| factory());
        let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(server.address)).collect();
        for connection in 0..5 {
            record.opened(connection);
        }
        let mut refused = Client::raw(server.address);
        assert_eq!(refused.rest(), b"");
        clients.iter_mut().for_each(|client| client.echo("not disturbed"));
        // A place that becomes free is given to the next.
        let mut leaving = clients.pop().unwrap();
        leaving.send_close(1000, "");
        assert_eq!(leaving.expect_frame().close().0, 1000);
        leaving.expect_end();
        record.closed(4);
        Client::connect(server.address).echo("welcome");
        record.opened(5);
    });
}
