//! Under the load of one connection that never pauses, everything else gets its turn: other
//! connections, tasks, timers, deadlines.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringsock::{Conn, Driver, Handler, KIB, Limits, Message, Text};

use crate::client::{self, BINARY, Client, PATIENCE, PING, TEXT};
use crate::process;
use crate::served::{Served, alone_for_each_driver};

/// Longest time for fifty replies beside the flood, each of which takes well under a millisecond
/// without it.
const FIFTY_MAX: Duration = Duration::from_secs(5);

/// Echoes, and sends texts that begin with "task" or "timer" back through a task.
struct Answering;

impl Handler for Answering {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let text = message.as_text().unwrap_or_default();
        if !text.starts_with('t') {
            let _queued = conn.send(message);
            return;
        }
        let (text, peer) = (text.to_owned(), conn.peer());
        ringsock::spawn(async move {
            if text.starts_with("timer") {
                monoio::time::sleep(Duration::from_millis(1)).await;
            }
            let _ = peer.send(Text(text));
        });
    }
}

/// A client that sends and receives without a pause until told to end.
struct Flood {
    over: Arc<AtomicBool>,
    /// Returns how many bytes must come back.
    writer: JoinHandle<usize>,
    /// Returns how many did.
    reader: JoinHandle<usize>,
}

impl Flood {
    fn start(address: SocketAddr, payload_bytes: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicBool::new(false));
        let mut sending = Client::connect(address);
        let mut receiving = sending.stream.try_clone().unwrap();
        let (ended, has_begun) = (Arc::clone(&over), Arc::clone(&begun));
        let writer = thread::spawn(move || {
            let frame = client::frame(true, BINARY, &vec![b'.'; payload_bytes], 0x55aa_1234);
            let frames = 100_000 / payload_bytes;
            // The mask's four bytes do not come back.
            let (burst, echo_bytes) = (frame.repeat(frames), frames * (frame.len() - 4));
            let mut expected = 0;
            while !ended.load(Ordering::Relaxed) {
                sending.send_bytes(&burst);
                expected += echo_bytes;
            }
            sending.finish_sending();
            expected
        });
        let reader = thread::spawn(move || {
            // No look at what comes: the server must be the slowest of the three.
            let mut buffer = vec![0; 256 * KIB];
            let mut received = 0;
            loop {
                match receiving.read(&mut buffer).expect("the flood is not cut off") {
                    0 => return received,
                    bytes => received += bytes,
                }
                has_begun.store(received > 5_000_000, Ordering::Relaxed);
            }
        });
        process::wait_until(PATIENCE, "the flood has begun", || begun.load(Ordering::Relaxed));
        Self { over, writer, reader }
    }

    /// Ends it; nothing of it may have been lost or refused.
    fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        assert_eq!(self.writer.join().unwrap(), self.reader.join().unwrap());
    }
}

fn check_fifty(driver: Driver, kind: &str) {
    // With small and with larger messages: one needs processor time, the other fills buffers.
    for payload_bytes in [5, 8 * KIB] {
        let server = Served::start(driver, |_| Answering);
        let flood = Flood::start(server.address, payload_bytes);
        let mut client = Client::connect(server.address);
        let started = Instant::now();
        for number in 0..50 {
            client.echo(&format!("{kind} {number}"));
        }
        let took = started.elapsed();
        flood.stop();
        let what = format!("driver {driver:?}, {kind} beside messages of {payload_bytes} bytes");
        assert!(took < FIFTY_MAX, "{what}: 50 took {took:?}");
    }
}

#[test]
fn other_connections_are_served_beside_a_flood() {
    alone_for_each_driver(|driver| check_fifty(driver, "echo"));
}

#[test]
fn tasks_run_beside_a_flood() {
    alone_for_each_driver(|driver| check_fifty(driver, "task"));
}

#[test]
fn timers_of_tasks_fire_beside_a_flood() {
    alone_for_each_driver(|driver| check_fifty(driver, "timer"));
}

#[test]
fn deadlines_are_kept_beside_a_flood() {
    alone_for_each_driver(|driver| {
        let limits = Limits {
            handshake_timeout: Duration::from_millis(300),
            ping_interval: Duration::from_millis(300),
            ..Limits::default()
        };
        let configure = |server: ringsock::ServerBuilder| server.limits(limits);
        let server = Served::configured(driver, configure, |_| Answering);
        let flood = Flood::start(server.address, 5);
        let started = Instant::now();
        let mut silent = Client::raw(server.address);
        silent.send_bytes(b"GET / HTTP/1.1\r\n");
        let mut idle = Client::connect(server.address);
        let head = silent.head().expect("an answer");
        assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
        idle.expect_message(PING, b"");
        let took = started.elapsed();
        flood.stop();
        assert!(took < Duration::from_secs(4), "driver {driver:?}: {took:?}");
    });
}

#[test]
fn new_connections_are_accepted_beside_a_flood() {
    alone_for_each_driver(|driver| {
        let server = Served::start(driver, |_| Answering);
        let flood = Flood::start(server.address, 5);
        let started = Instant::now();
        for _ in 0..50 {
            let mut client = Client::connect(server.address);
            client.send_text("new");
            client.expect_message(TEXT, b"new");
        }
        let took = started.elapsed();
        flood.stop();
        assert!(took < FIFTY_MAX, "driver {driver:?}: 50 took {took:?}");
    });
}
