//! Four receive buffers of 256 bytes, two submissions, eight completions: everything that can run
//! out runs out all the time, and nothing may be lost, reordered or left waiting.

use std::thread;

use ringsock::{KIB, Limits, MIB};

use crate::client::{BINARY, Client};
use crate::random::Random;
use crate::recorder::Recorder;
use crate::served::{Echo, Served, alone_for_each_driver, for_each_driver};

const CONNECTIONS: usize = 500;
const ROUNDS: u64 = 4;

/// Mostly small messages, some that need many buffers.
fn payload(connection: usize, round: u64) -> Vec<u8> {
    let mut random = Random(connection as u64 * 1_000 + round);
    let size = random.size(&[10, 100, 300, 300, 1_000, 1_000, 5_000, 40_000]);
    let mut bytes = random.bytes(size);
    // Whose it is: a message that reaches another connection is found out.
    bytes.extend_from_slice(&(connection as u32).to_be_bytes());
    bytes
}

#[test]
fn five_hundred_connections_share_four_buffers() {
    alone_for_each_driver(|driver| {
        let server = Served::configured(driver, ringsock::ServerBuilder::tiny_buffers, |_| Echo);
        let address = server.address;
        let threads: Vec<_> = (0..4)
            .map(|part| {
                thread::spawn(move || {
                    let own = (0..CONNECTIONS).filter(|connection| connection % 4 == part);
                    let mut clients: Vec<(usize, Client)> =
                        own.map(|connection| (connection, Client::connect(address))).collect();
                    for round in 0..ROUNDS {
                        for (connection, client) in &mut clients {
                            client.send_binary(&payload(*connection, 2 * round));
                            client.send_binary(&payload(*connection, 2 * round + 1));
                        }
                        for (connection, client) in &mut clients {
                            client.expect_message(BINARY, &payload(*connection, 2 * round));
                            client.expect_message(BINARY, &payload(*connection, 2 * round + 1));
                        }
                    }
                    for (_, client) in &mut clients {
                        client.send_close(1000, "");
                        assert_eq!(client.expect_frame().close().0, 1000);
                        client.expect_end();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn large_messages_pass_through_tiny_buffers() {
    for_each_driver(|driver| {
        let limits = Limits {
            message_bytes_max: 4 * MIB,
            send_queue_bytes_max: 8 * MIB,
            receive_pause_bytes: 64 * KIB,
            ..Limits::default()
        };
        let configure = |server: ringsock::ServerBuilder| server.tiny_buffers().limits(limits);
        let server = Served::configured(driver, configure, |_| Echo);
        let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(server.address)).collect();
        let mut random = Random(11);
        for size in [255, 256, 257, 65_536, MIB, 3 * MIB] {
            let bytes = random.bytes(size);
            clients.iter_mut().for_each(|client| client.send_binary(&bytes));
            clients.iter_mut().for_each(|client| client.expect_message(BINARY, &bytes));
        }
    });
}

#[test]
fn resets_amid_exhaustion_leave_the_others_alone() {
    alone_for_each_driver(|driver| {
        let (factory, record) = Recorder::new();
        let configure = ringsock::ServerBuilder::tiny_buffers;
        let server = Served::configured(driver, configure, move |_| factory());
        let mut steady: Vec<Client> = (0..20).map(|_| Client::connect(server.address)).collect();
        let mut random = Random(12);
        for round in 0..20u64 {
            let mut doomed: Vec<Client> =
                (0..20).map(|_| Client::connect(server.address)).collect();
            for client in &mut doomed {
                client.send_binary(&random.bytes(3_000));
                client.send_frame(false, BINARY, &random.bytes(500));
            }
            for (number, client) in steady.iter_mut().enumerate() {
                client.send_binary(&payload(number, round));
            }
            doomed.into_iter().for_each(Client::reset);
            for (number, client) in steady.iter_mut().enumerate() {
                client.expect_message(BINARY, &payload(number, round));
            }
        }
        server.stop();
        drop(steady);
        let seen = record.rest();
        let count = |wanted: fn(&crate::recorder::Seen) -> bool| {
            seen.iter().filter(|seen| wanted(seen)).count()
        };
        let opened = count(|seen| matches!(seen, crate::recorder::Seen::Opened(_)));
        let closed = count(|seen| matches!(seen, crate::recorder::Seen::Closed(..)));
        assert_eq!((opened, closed), (420, 420), "driver {driver:?}");
    });
}
