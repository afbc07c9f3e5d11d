//! Draining and stopping: who is told, what is left behind.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringsock::connection::ClosedBy;
use ringsock::{Conn, Handler, Message};

use crate::client::{Client, upgrade_request};
use crate::process;
use crate::recorder::{Recorder, Seen};
use crate::served::{Echo, Served, alone_for_each_driver, for_each_driver};

#[test]
fn a_drain_closes_with_1001_and_then_the_server_has_ended() {
    for_each_driver(|driver| {
        let (factory, record) = Recorder::new();
        let server = Served::start(driver, move |_| factory());
        let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(server.address)).collect();
        clients.iter_mut().for_each(|client| client.echo("before"));
        // One that has asked for nothing yet must not hold the drain up.
        let mut silent = Client::raw(server.address);
        silent.send_bytes(b"GET / HTTP/1.1\r\n");
        thread::sleep(Duration::from_millis(20));
        server.controller.drain();
        for client in &mut clients {
            client.expect_closed_with(1001);
        }
        silent.rest();
        let address = server.address;
        server.join().unwrap();
        assert!(TcpStream::connect(address).is_err(), "the port is free again");
        let closed = record.rest().into_iter().filter_map(|seen| match seen {
            Seen::Closed(_, ending) => Some(ending),
            _ => None,
        });
        let closed: Vec<_> = closed.collect();
        assert_eq!(closed.len(), 10);
        assert!(closed.iter().all(|end| end.code == 1001 && end.by == ClosedBy::Local));
    });
}

#[test]
fn a_drain_without_connections_ends_at_once() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        server.controller.drain();
        server.join().unwrap();
    });
}

#[test]
fn no_connection_is_accepted_during_a_drain() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        let mut client = Client::connect(server.address);
        client.echo("before");
        server.controller.drain();
        assert_eq!(client.expect_frame().close().0, 1001);
        let address = server.address;
        process::wait_until(Duration::from_secs(3), "new connections are refused", || {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    assert_eq!(Client::over(stream).rest(), b"");
                    false
                }
                Err(_) => true,
            }
        });
        // The old one has all the time it needs for its farewell.
        client.send_close(1001, "");
        client.expect_end();
        server.join().unwrap();
    });
}

#[test]
fn all_that_was_queued_is_sent_before_a_drain_closes() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        let mut client = Client::connect(server.address);
        for number in 0..100 {
            client.send_text(&format!("{number} {}", "x".repeat(5_000)));
        }
        client.expect_text(&format!("0 {}", "x".repeat(5_000)));
        server.controller.drain();
        let mut next = 1;
        let last = loop {
            let frame = client.expect_frame();
            if frame.opcode != 1 {
                break frame;
            }
            assert!(frame.payload.starts_with(format!("{next} ").as_bytes()));
            next += 1;
        };
        assert_eq!(last.close().0, 1001);
    });
}

#[test]
fn a_second_drain_does_not_wait() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        let mut client = Client::connect(server.address);
        client.echo("before");
        server.controller.drain();
        assert_eq!(client.expect_frame().close().0, 1001);
        server.controller.drain();
        server.join().unwrap();
        client.expect_end();
    });
}

#[test]
fn a_stop_cuts_connections_and_the_handler_is_told() {
    for_each_driver(|driver| {
        let (factory, record) = Recorder::new();
        let server = Served::start(driver, move |_| factory());
        let mut clients: Vec<Client> = (0..10).map(|_| Client::connect(server.address)).collect();
        clients.iter_mut().for_each(|client| client.echo("before"));
        server.stop();
        clients.iter_mut().for_each(Client::expect_end);
        let seen = record.rest();
        let opened = seen.iter().filter(|seen| matches!(seen, Seen::Opened(_))).count();
        let closed = seen.iter().filter(|seen| matches!(seen, Seen::Closed(..))).count();
        assert_eq!((opened, closed), (10, 10), "driver {driver:?}");
    });
}

#[test]
fn a_controller_of_a_server_that_has_ended_is_harmless() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        let controller = server.controller.clone();
        server.stop();
        controller.stop();
        controller.drain();
        let reached = controller.publisher().publish("topic", ringsock::Text("nobody"));
        assert_eq!(reached, ringsock::topics::Reached::default());
    });
}

/// Connects and sends until told to end; whatever fails is expected to.
fn disturb(address: std::net::SocketAddr, over: &AtomicBool) {
    let request = upgrade_request("/", "");
    while !over.load(Ordering::Relaxed) {
        use std::io::{Read, Write};
        let Ok(mut stream) = TcpStream::connect(address) else { break };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.write_all(&crate::client::frame(true, 2, &[1; 40_000], 5));
        let _ = stream.read(&mut [0; 1_000]);
    }
}

#[test]
fn a_hundred_servers_stopped_under_traffic_leave_nothing_behind() {
    alone_for_each_driver(|driver| {
        let cycle = || {
            let server = Served::start(driver, |_| Echo);
            let mut clients: Vec<Client> =
                (0..8).map(|_| Client::connect(server.address)).collect();
            for client in &mut clients {
                client.send_binary(&[1; 300_000]);
                client.send_frame(false, 2, &[2; 100]);
            }
            let over = Arc::new(AtomicBool::new(false));
            let (address, ended) = (server.address, Arc::clone(&over));
            let disturber = thread::spawn(move || disturb(address, &ended));
            thread::sleep(Duration::from_millis(1));
            server.stop();
            over.store(true, Ordering::Relaxed);
            disturber.join().unwrap();
        };
        // The first ones make what is made once: thread-local buffers, caches of the allocator.
        (0..3).for_each(|_| cycle());
        let (descriptors, memory) = (process::descriptors(), process::memory_bytes());
        (0..100).for_each(|_| cycle());
        assert_eq!(process::descriptors(), descriptors, "descriptors, driver {driver:?}");
        assert_eq!(process::shard_threads(), 0, "driver {driver:?}");
        let grown = process::memory_bytes().saturating_sub(memory);
        // A ring's buffers alone have 4 MiB: one leaked in ten servers would show.
        assert!(grown < 40 << 20, "driver {driver:?}: {grown} bytes more than before");
    });
}

#[test]
fn connections_that_arrive_during_a_stop_leave_no_descriptor_behind() {
    alone_for_each_driver(|driver| {
        let descriptors = process::descriptors();
        for _ in 0..10 {
            let server = Served::start(driver, |_| Echo);
            let address = server.address;
            let crowd = thread::spawn(move || {
                let streams = (0..300).map_while(|_| TcpStream::connect(address).ok());
                streams.collect::<Vec<TcpStream>>()
            });
            thread::sleep(Duration::from_millis(2));
            server.stop();
            drop(crowd.join().unwrap());
        }
        assert_eq!(process::descriptors(), descriptors, "driver {driver:?}");
    });
}

/// Spawns tasks that sleep for longer than any test takes.
struct Sleepy(Arc<AtomicBool>);

impl Handler for Sleepy {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let witness = Witness(Arc::clone(&self.0));
        ringsock::spawn(async move {
            monoio::time::sleep(Duration::from_secs(1_000)).await;
            drop(witness);
        });
        let _queued = conn.send(message);
    }
}

/// Tells that it was dropped.
struct Witness(Arc<AtomicBool>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn tasks_that_wait_end_with_their_server() {
    alone_for_each_driver(|driver| {
        let descriptors = process::descriptors();
        let dropped = Arc::new(AtomicBool::new(false));
        let witness = Arc::clone(&dropped);
        let server = Served::start(driver, move |_| Sleepy(Arc::clone(&witness)));
        let mut client = Client::connect(server.address);
        for _ in 0..10 {
            client.echo("sleep");
        }
        assert!(!dropped.load(Ordering::Relaxed));
        server.stop();
        assert!(dropped.load(Ordering::Relaxed), "driver {driver:?}");
        drop(client);
        assert_eq!(process::descriptors(), descriptors, "driver {driver:?}");
    });
}
