//! The process runs out of file descriptors while connections arrive: those that are open go on,
//! nothing spins, and accepting resumes by itself.

use std::fs::File;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::client::{Client, upgrade_request};
use crate::process::ProcessorClock;
use crate::served::{Echo, Served, alone_for_each_driver};

/// Connections for which there are descriptors.
const SERVED: usize = 10;
/// Connections for which there are none.
const WAITING: usize = 20;

/// Takes every descriptor the process may have but `spare`.
fn take_descriptors(spare: usize) -> Vec<File> {
    let first = File::open("/dev/null").expect("one descriptor");
    let copies = std::iter::repeat_with(|| first.try_clone()).map_while(Result::ok);
    let mut taken: Vec<File> = copies.collect();
    taken.truncate(taken.len() - spare);
    taken.push(first);
    taken
}

fn connect(socket: Socket, address: SocketAddr) -> Client {
    socket.connect(&address.into()).expect("the kernel accepts on the server's behalf");
    let mut client = Client::over(socket.into());
    client.send_bytes(upgrade_request("/", "").as_bytes());
    client
}

fn expect_switched(client: &mut Client) {
    let head = client.head().expect("an answer to the upgrade");
    client.check_switched(&head);
}

#[test]
fn without_descriptors_the_server_waits_quietly_and_then_goes_on() {
    alone_for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        // The clients' sockets are there already, so only the server misses descriptors.
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let mut sockets: Vec<Socket> =
            std::iter::repeat_with(socket).take(SERVED + WAITING).collect();
        let clock = ProcessorClock::new();
        let taken = take_descriptors(SERVED);
        let waiting = sockets.split_off(SERVED);
        let connect = |socket| connect(socket, server.address);
        let mut served: Vec<Client> = sockets.into_iter().map(connect).collect();
        served.iter_mut().for_each(expect_switched);
        let mut waiting: Vec<Client> = waiting.into_iter().map(connect).collect();
        thread::sleep(Duration::from_millis(150));
        for client in &mut served {
            client.echo("served all the same");
        }
        for client in &waiting {
            client.stream.set_nonblocking(true).unwrap();
            client.stream.peek(&mut [0]).expect_err("there is no descriptor for it");
            client.stream.set_nonblocking(false).unwrap();
        }
        let before = clock.used();
        thread::sleep(Duration::from_secs(1));
        let used = clock.used() - before;
        assert!(used < Duration::from_millis(100), "driver {driver:?}: {used:?} in a second");
        // Each that leaves makes room for one that waits.
        for _ in 0..SERVED {
            let mut leaving = served.remove(0);
            leaving.send_close(1000, "");
            assert_eq!(leaving.expect_frame().close().0, 1000);
            leaving.expect_end();
            let mut next = waiting.remove(0);
            expect_switched(&mut next);
            next.echo("at last");
            served.push(next);
        }
        drop(taken);
        waiting.iter_mut().for_each(expect_switched);
        waiting.iter_mut().for_each(|client| client.echo("all are served"));
    });
}
