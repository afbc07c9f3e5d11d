//! Connections that break at bad moments, in numbers: the others are served, and everything is given
//! back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringsock::{Driver, KIB, Limits, MIB};

use crate::client::{self, BINARY, Client, upgrade_request};
use crate::process;
use crate::random::Random;
use crate::recorder::{Record, Recorder, Seen};
use crate::served::{Echo, Served, alone_for_each_driver};

/// How a connection is left.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Connected,
    WithinRequest,
    AfterRequest,
    Open,
    WithinHeader,
    WithinMessage,
    WithinLargeMessage,
    WhileAnswered,
    AfterClose,
}

const MOMENTS: [Moment; 9] = [
    Moment::Connected,
    Moment::WithinRequest,
    Moment::AfterRequest,
    Moment::Open,
    Moment::WithinHeader,
    Moment::WithinMessage,
    Moment::WithinLargeMessage,
    Moment::WhileAnswered,
    Moment::AfterClose,
];

/// Brings a new connection to a moment.
fn connection_at(moment: Moment, server: &Served) -> Client {
    let request = upgrade_request("/", "");
    let mut client = match moment {
        Moment::Connected | Moment::WithinRequest | Moment::AfterRequest => {
            Client::raw(server.address)
        }
        _ => Client::connect(server.address),
    };
    match moment {
        Moment::Connected | Moment::Open => {}
        Moment::WithinRequest => client.send_bytes(&request.as_bytes()[..50]),
        Moment::AfterRequest => client.send_bytes(request.as_bytes()),
        Moment::WithinHeader => client.send_bytes(&[0x82, 0xfe, 1]),
        Moment::WithinMessage => {
            client.send_bytes(&client::frame(true, BINARY, &[1; 900], 1)[..500])
        }
        Moment::WithinLargeMessage => {
            client.send_bytes(&client::frame(true, BINARY, &[1; 500_000], 1)[..200_000]);
        }
        // More than the sockets hold: the server is still sending when it ends.
        Moment::WhileAnswered => client.send_binary(&vec![1; 900 * KIB]),
        Moment::AfterClose => client.send_close(1000, ""),
    }
    client
}

/// Counts openings and ends until the server has ended.
fn openings_and_ends(record: Record) -> (usize, usize) {
    let seen = record.rest();
    let opened = seen.iter().filter(|seen| matches!(seen, Seen::Opened(_))).count();
    let closed = seen.iter().filter(|seen| matches!(seen, Seen::Closed(..))).count();
    (opened, closed)
}

/// A connection that echoes its own number until told to end; how often it did.
fn steady(server: &Served, number: usize, over: &Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let (address, over) = (server.address, Arc::clone(over));
    thread::spawn(move || {
        let mut client = Client::connect(address);
        let mut echoes = 0;
        while !over.load(Ordering::Relaxed) {
            client.echo(&format!("connection {number}, message {echoes}"));
            echoes += 1;
            thread::sleep(Duration::from_millis(1));
        }
        echoes
    })
}

fn start(driver: Driver) -> (Served, Record) {
    let (factory, record) = Recorder::new();
    (Served::start(driver, move |_| factory()), record)
}

#[test]
fn a_thousand_resets_at_random_moments_harm_nobody_else() {
    alone_for_each_driver(|driver| {
        let descriptors = process::descriptors();
        let (server, record) = start(driver);
        let idle = process::descriptors();
        let over = Arc::new(AtomicBool::new(false));
        let watchers: Vec<_> = (0..4).map(|number| steady(&server, number, &over)).collect();
        let mut random = Random(21);
        let mut open: Vec<Client> = Vec::new();
        for _ in 0..1_000 {
            let moment = MOMENTS[random.below(MOMENTS.len() as u64) as usize];
            open.push(connection_at(moment, &server));
            // Some end at once, some after others have come: places are taken again in any order.
            while open.len() > 40 || random.below(2) == 0 && !open.is_empty() {
                let doomed = open.swap_remove(random.below(open.len() as u64) as usize);
                match random.below(4) {
                    0 => drop(doomed),
                    _ => doomed.reset(),
                }
            }
        }
        open.into_iter().for_each(Client::reset);
        over.store(true, Ordering::Relaxed);
        for watcher in watchers {
            assert!(watcher.join().unwrap() > 10, "driver {driver:?}: others were served");
        }
        process::wait_until(Duration::from_secs(5), "all sockets are closed", || {
            process::descriptors() == idle
        });
        server.stop();
        let (opened, closed) = openings_and_ends(record);
        assert_eq!(opened, closed, "driver {driver:?}");
        assert!(opened > 500, "{opened}");
        assert_eq!(process::descriptors(), descriptors);
    });
}

#[test]
fn a_place_taken_again_starts_afresh() {
    alone_for_each_driver(|driver| {
        let (server, _record) = start(driver);
        for number in 0..300u32 {
            let mut client = Client::connect(server.address);
            // Nothing of what the one before left half done may be seen here.
            client.send_text("count");
            client.expect_text("1");
            client.echo(&format!("I am {number}"));
            client.send_frame(false, BINARY, &number.to_be_bytes());
            client.send_bytes(&[0x80, 0xfe, 0x10]);
            match number % 3 {
                0 => client.reset(),
                1 => drop(client),
                _ => {
                    client.finish_sending();
                    client.expect_end();
                }
            }
        }
    });
}

#[test]
fn resets_while_large_answers_are_sent_leave_no_memory_behind() {
    alone_for_each_driver(|driver| {
        let limits = Limits {
            message_bytes_max: 8 * MIB,
            send_queue_bytes_max: 16 * MIB,
            receive_pause_bytes: 16 * MIB,
            ..Limits::default()
        };
        let server = Served::configured(driver, |server| server.limits(limits), |_| Echo);
        let message = vec![9; 4 * MIB];
        let round = || {
            let mut client = Client::connect(server.address);
            client.send_binary(&message);
            client.send_binary(&message);
            // The first bytes of the answer are there, the others are stuck.
            client.stream.peek(&mut [0; 1]).unwrap();
            client.reset();
        };
        (0..5).for_each(|_| round());
        thread::sleep(Duration::from_millis(100));
        let memory = process::memory_bytes();
        (0..50).for_each(|_| round());
        let mut client = Client::connect(server.address);
        client.echo("fine");
        // What is kept for reuse is at most 32 MiB; 50 leaks would be 200.
        let grown = process::memory_bytes().saturating_sub(memory);
        assert!(grown < 60 * MIB, "driver {driver:?}: {grown} bytes");
    });
}

#[test]
fn two_thousand_connections_at_once_are_all_served() {
    alone_for_each_driver(|driver| {
        let (server, record) = start(driver);
        let idle = process::descriptors();
        let address = server.address;
        let threads: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(move || {
                    let clients = (0..500).map(|_| Client::raw(address));
                    let mut clients: Vec<Client> = clients.collect();
                    let request = upgrade_request("/", "");
                    clients.iter_mut().for_each(|client| client.send_bytes(request.as_bytes()));
                    for client in &mut clients {
                        let head = client.head().expect("an answer");
                        client.check_switched(&head);
                    }
                    for (number, client) in clients.iter_mut().enumerate() {
                        client.echo(&number.to_string());
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        process::wait_until(Duration::from_secs(5), "all sockets are closed", || {
            process::descriptors() == idle
        });
        server.stop();
        assert_eq!(openings_and_ends(record), (2_000, 2_000), "driver {driver:?}");
    });
}
