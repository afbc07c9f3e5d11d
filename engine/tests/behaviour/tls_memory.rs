//! What connections over TLS take of the memory, as the kernel counts it.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use ringsock::{KIB, Limits, MIB};

use crate::certificate::Certificate;
use crate::client::{self, BINARY, TEXT};
use crate::process;
use crate::served::alone_for_each_driver;
use crate::tls::{Secured, counters, start};

const IDLE: usize = 500;
const IDLE_BYTES_MAX: usize = 12 * KIB;

#[test]
fn an_idle_connection_over_tls_takes_at_most_12_kib() {
    alone_for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let server = start(driver, &certificate, |server| server);
        let config = certificate.client_config();
        // What is held of a client is its socket; the memory of its session serves the next one.
        let idle = || -> TcpStream {
            let mut secured = Secured::connect(server.address, &config);
            secured.echo(TEXT, b"once");
            let (_session, socket) = secured.stream.into_parts();
            socket
        };
        let _first: Vec<_> = (0..20).map(|_| idle()).collect();
        let before = process::memory_bytes();
        let _sockets: Vec<_> = (0..IDLE).map(|_| idle()).collect();
        let each = process::memory_bytes().saturating_sub(before) / IDLE;
        eprintln!("{driver:?}: {each} bytes for an idle connection over TLS");
        assert!(each <= IDLE_BYTES_MAX, "{each} bytes each");
    });
}

#[test]
fn peers_over_tls_that_do_not_read_are_held_to_the_memory_budget() {
    alone_for_each_driver(|driver| {
        let certificate = Certificate::issue();
        let limits = Limits {
            message_bytes_max: 8 * MIB,
            send_queue_bytes_max: 16 * MIB,
            memory_bytes_max: 32 * MIB,
            ..Limits::default()
        };
        let server = start(driver, &certificate, |server| server.limits(limits));
        let config = certificate.client_config();
        // All send the same one, and their memory is in this process as well.
        let message = Arc::new(client::frame(true, BINARY, &vec![7; 8 * MIB], 5));
        let greedy: Vec<_> = (0..28).map(|_| Secured::connect(server.address, &config)).collect();
        let before = process::memory_bytes();
        let send = |mut secured: Secured| {
            let message = Arc::clone(&message);
            thread::spawn(move || {
                // Fails when it is let go meanwhile.
                let _ = secured.stream.write_all(&message);
                secured.stream.into_parts().1
            })
        };
        let senders: Vec<_> = greedy.into_iter().map(send).collect();
        let _sockets: Vec<_> = senders.into_iter().map(|it| it.join().unwrap()).collect();
        let counters = counters(&server);
        // The budget, vectors kept for reuse, and what allocators keep of all that.
        let grown = process::memory_bytes().saturating_sub(before) / MIB;
        eprintln!("{driver:?}: {grown} MiB, shed {}", counters.shed);
        assert!(grown < 130, "{grown} MiB for a budget of 32");
        assert!(counters.shed + counters.refused_memory > 0, "{counters:?}");
    });
}
