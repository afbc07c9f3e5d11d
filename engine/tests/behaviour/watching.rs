//! What an operator sees of a running server and may change: reports, limits, the spread of a drain.

use std::thread;
use std::time::{Duration, Instant};

use ringsock::connection::Phase;
use ringsock::{Conn, Handler, Limits, Message};

use crate::client::{Client, upgrade_request};
use crate::process;
use crate::served::{Echo, Served, for_each_driver};

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn a_report_counts_and_lists_connections() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(server.address)).collect();
        clients.iter_mut().for_each(|client| client.echo("hello"));
        let _silent = Client::raw(server.address);
        process::wait_until(PATIENCE, "all six are counted", || {
            let report = server.controller.reports(PATIENCE, 0).remove(0).expect("an answer");
            assert!(report.listed.is_empty());
            report.connections == 6
        });
        let report = server.controller.reports(PATIENCE, 100).remove(0).expect("an answer");
        assert_eq!((report.shard, report.draining), (0, false));
        assert_eq!(report.counters.messages_received, 5);
        assert_eq!(report.listed.len(), 6);
        let open = report.listed.iter().filter(|one| one.phase == Phase::Open).count();
        assert_eq!(open, 5);
        for one in &report.listed {
            assert!(one.address.is_some_and(|address| address.ip().is_loopback()), "{one:?}");
            assert!(one.phase_age < PATIENCE && one.queued_bytes == 0, "{one:?}");
        }
        let report = server.controller.reports(PATIENCE, 2).remove(0).expect("an answer");
        assert_eq!(report.listed.len(), 2);
    });
}

/// Keeps its shard from turning.
struct Stuck;

impl Handler for Stuck {
    type State = ();

    fn on_message(&mut self, _: &mut Conn<'_, ()>, _: Message<'_>) {
        thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn a_shard_that_does_not_turn_does_not_report() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Stuck);
        let mut client = Client::connect(server.address);
        client.send_text("wait");
        thread::sleep(Duration::from_millis(50));
        assert!(server.controller.reports(Duration::from_millis(50), 0)[0].is_none());
        assert!(server.controller.reports(PATIENCE, 0)[0].is_some(), "it turns again");
    });
}

#[test]
fn new_limits_hold_for_open_connections() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        let mut client = Client::connect(server.address);
        client.send_binary(&[1; 2_000]);
        assert_eq!(client.expect_frame().payload.len(), 2_000);
        let shorter = Limits { message_bytes_max: 1_000, ..Limits::default() };
        server.controller.set_limits(shorter).expect("good limits");
        // The shard answers in order: once it reports, it has the new limits.
        assert!(server.controller.reports(PATIENCE, 0).iter().all(Option::is_some));
        client.send_binary(&[1; 1_000]);
        assert_eq!(client.expect_frame().payload.len(), 1_000);
        client.send_binary(&[1; 1_001]);
        assert_eq!(client.expect_frame().close().0, 1009);

        let mut client = Client::connect(server.address);
        client.echo("before");
        let nervous = Limits { ping_interval: Duration::from_millis(100), ..Limits::default() };
        server.controller.set_limits(nervous).expect("good limits");
        assert_eq!(client.expect_frame().opcode, 9, "a Ping long before the old deadline");

        let bad = Limits { message_bytes_max: 0, ..Limits::default() };
        assert!(server.controller.set_limits(bad).is_err());
    });
}

#[test]
fn a_drain_spreads_its_closes_over_the_window() {
    for_each_driver(|driver| {
        let window = Duration::from_millis(800);
        let limits = Limits { drain_window: window, ..Limits::default() };
        let server = Served::configured(driver, |server| server.limits(limits), |_| Echo);
        let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(server.address)).collect();
        clients.iter_mut().for_each(|client| client.echo("before"));
        let began = Instant::now();
        server.controller.drain();
        let waiting = clients.into_iter().map(|mut client| {
            thread::spawn(move || {
                client.expect_closed_with(1001);
                began.elapsed()
            })
        });
        let waiting: Vec<_> = waiting.collect();
        let times: Vec<Duration> = waiting.into_iter().map(|one| one.join().unwrap()).collect();
        // How evenly is not to be seen from threads that wait for a core themselves.
        let early = times.iter().filter(|&&time| time < window * 3 / 4).count();
        assert!((3..40).contains(&early), "{early} of 40 before the last quarter");
        let late = *times.iter().max().unwrap();
        assert!(late > window / 2 && late < window * 5, "the last after {late:?}");
        assert!(!times.is_sorted(), "not in the order of their coming");
        server.join().unwrap();
    });
}

#[test]
fn a_handshake_that_ends_during_a_drain_is_answered_with_503() {
    for_each_driver(|driver| {
        let limits = Limits { drain_window: Duration::from_secs(2), ..Limits::default() };
        let server = Served::configured(driver, |server| server.limits(limits), |_| Echo);
        let mut late = Client::raw(server.address);
        let request = upgrade_request("/", "");
        let (first, rest) = request.split_at(20);
        late.send_bytes(first.as_bytes());
        process::wait_until(PATIENCE, "it is accepted", || {
            server.controller.reports(PATIENCE, 0)[0].as_ref().unwrap().connections == 1
        });
        server.controller.drain();
        thread::sleep(Duration::from_millis(20));
        late.send_bytes(rest.as_bytes());
        let answer = String::from_utf8(late.rest()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
        server.join().unwrap();
    });
}
