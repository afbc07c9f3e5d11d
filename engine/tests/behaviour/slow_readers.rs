//! Peers that read slowly but steadily keep their connections, whatever is being sent to them;
//! those that take nothing lose theirs in time.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ringsock::http::Page;
use ringsock::{Binary, Conn, Handler, Limits, MIB, Message};
use socket2::{Domain, Socket, Type};

use crate::client::{BINARY, CLOSE, Client, PATIENCE};
use crate::process;
use crate::served::{Echo, Served, for_each_driver};

/// More than the buffers of both sockets hold, so that the server waits for the reader.
const LARGE_BYTES: usize = 12 * MIB;
const SHORT: Duration = Duration::from_millis(400);

/// Sends this much for each message.
struct Large;

impl Handler for Large {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        let _queued = conn.send(Binary(vec![7; LARGE_BYTES]));
    }
}

/// Every deadline that could strike a slow reader is far shorter than the reading takes.
fn impatient() -> Limits {
    Limits {
        send_queue_bytes_max: 64 * MIB,
        receive_pause_bytes: 64 * MIB,
        write_stall_timeout: SHORT,
        close_timeout: SHORT,
        linger_timeout: SHORT,
        drain_window: Duration::from_millis(100),
        ..Limits::default()
    }
}

/// Connects with small buffers, so that what is sent waits with the server.
fn connect(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("buffers can be made small");
    socket.connect(&address.into()).expect("the server accepts");
    socket.into()
}

/// Reads until the end or `most` bytes, a little at a time: some five mebibytes a second.
fn read_steadily(stream: &mut TcpStream, most: usize) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while all.len() < most {
        std::thread::sleep(Duration::from_millis(12));
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(bytes) => all.extend_from_slice(&buffer[..bytes]),
        }
    }
    all
}

fn open(address: SocketAddr) -> Client {
    let mut client = Client::over(connect(address));
    client.send_bytes(crate::client::upgrade_request("/", "").as_bytes());
    let head = client.head().expect("an answer to the upgrade");
    client.check_switched(&head);
    client
}

#[test]
fn a_slow_but_steady_reader_gets_a_large_message_whole() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, |server| server.limits(impatient()), |_| Large);
        let mut client = open(server.address);
        client.send_text("all of it");
        let bytes = read_steadily(&mut client.stream, LARGE_BYTES + 10);
        assert_eq!(bytes.len(), LARGE_BYTES + 10, "driver {driver:?}");
        client.send_text("again");
        assert!(!read_steadily(&mut client.stream, 1).is_empty(), "it is still open");
    });
}

#[test]
fn a_reader_that_stands_still_is_dropped_in_time() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, |server| server.limits(impatient()), |_| Large);
        let mut client = open(server.address);
        client.send_text("all of it");
        let mut first = [0; 1000];
        client.stream.read_exact(&mut first).expect("it begins");
        process::wait_until(PATIENCE, "the connection is dropped", || {
            let reports = server.controller.reports(PATIENCE, 0);
            reports.iter().flatten().any(|report| report.counters.timeouts_write == 1)
        });
        let rest = read_steadily(&mut client.stream, usize::MAX);
        assert!(rest.len() < LARGE_BYTES, "the rest was given up");
    });
}

#[test]
fn a_close_frame_reaches_a_slow_but_steady_reader_behind_all_that_was_queued() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, |server| server.limits(impatient()), |_| Large);
        let mut client = open(server.address);
        client.send_text("all of it");
        client.send_close(1000, "");
        let bytes = read_steadily(&mut client.stream, usize::MAX);
        assert_eq!(bytes.len(), LARGE_BYTES + 10 + 4, "driver {driver:?}");
        assert_eq!(bytes[LARGE_BYTES + 10..], [0x80 | CLOSE, 2, 3, 232]);
    });
}

#[test]
fn a_drain_lets_a_slow_but_steady_reader_have_what_was_queued() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, |server| server.limits(impatient()), |_| Large);
        let mut client = open(server.address);
        client.send_text("all of it");
        let mut header = [0; 10];
        client.stream.read_exact(&mut header).expect("it begins");
        assert_eq!(header[0], 0x80 | BINARY);
        server.controller.drain();
        let bytes = read_steadily(&mut client.stream, usize::MAX);
        assert!(bytes.len() > LARGE_BYTES, "driver {driver:?}: {}", bytes.len());
        let [first, _, high, low, ..] = bytes[LARGE_BYTES..] else { panic!("no Close frame") };
        assert_eq!((first, u16::from_be_bytes([high, low])), (0x80 | CLOSE, 1001));
    });
}

#[test]
fn a_drain_does_not_wait_for_ever() {
    for_each_driver(|driver| {
        let limits = Limits {
            drain_timeout: Duration::from_millis(200),
            close_timeout: PATIENCE,
            ..impatient()
        };
        let server = Served::configured(driver, |server| server.limits(limits), |_| Echo);
        let mut client = Client::connect(server.address);
        client.echo("before");
        server.controller.drain();
        // The Close frame is not answered.
        assert_eq!(client.expect_frame().close().0, 1001);
        server.join().expect("it ends all the same");
        client.expect_end();
    });
}

#[test]
fn a_slow_but_steady_reader_gets_a_page_whole() {
    for_each_driver(|driver| {
        let page = || Page::file("large.bin", vec![9; LARGE_BYTES]);
        let configure =
            |server: ringsock::ServerBuilder| server.limits(impatient()).page("/", page());
        let server = Served::configured(driver, configure, |_| Echo);
        let mut client = Client::over(connect(server.address));
        client.send_bytes(b"GET / HTTP/1.1\r\nHost: server.example.com\r\n\r\n");
        let answer = read_steadily(&mut client.stream, usize::MAX);
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        assert_eq!(answer.len() - end - 4, LARGE_BYTES, "driver {driver:?}");
    });
}
