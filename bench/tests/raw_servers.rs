//! The raw servers do what the measurements assume: they answer a handshake, then so many bytes
//! for so many, to one or to all, and they end a connection when asked to.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringsock_bench::canned::{CLOSE, HANDSHAKE, responses};
use ringsock_bench::frame_sizes::frame_bytes;

const EPOLL: &str = env!("CARGO_BIN_EXE_raw-epoll");
const RING: &str = env!("CARGO_BIN_EXE_raw-ring");

/// A server that ends with the test.
struct Server {
    child: Child,
    address: SocketAddr,
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Server {
    /// Starts a server for payloads of one size. `None` if it could not start, which only the
    /// one that needs io_uring is allowed: not every kernel offers what it asks for.
    fn start(program: &str, payload_bytes: usize, flags: &[&str]) -> Option<Self> {
        let mut request = vec![0; frame_bytes(payload_bytes, true)];
        request[0] = 0x82;
        let response_bytes = frame_bytes(payload_bytes, false);
        let mut child = Command::new(program)
            .args(["--listen", "127.0.0.1:0", "--core", "0"])
            .args(["--request-bytes", &request.len().to_string()])
            .args(["--response-bytes", &response_bytes.to_string()])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            assert_eq!(program, RING, "{program} did not start");
            child.wait().unwrap();
            return None;
        };
        let address = address.parse().unwrap();
        let response = responses(response_bytes).unwrap()[..response_bytes].to_vec();
        Some(Self { child, address, request, response })
    }

    /// Connects and is upgraded.
    fn connect(&self) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").unwrap();
        socket.write_all(b"Upgrade: websocket\r\n\r\n").unwrap();
        assert_eq!(receive(&mut socket, HANDSHAKE.len()), HANDSHAKE);
        socket
    }

    /// Sends `count` requests at once and expects as many responses.
    fn exchange(&self, socket: &mut TcpStream, count: usize) {
        let mut writer = socket.try_clone().unwrap();
        let requests = self.request.repeat(count);
        let sender = std::thread::spawn(move || writer.write_all(&requests).unwrap());
        assert!(receive(socket, self.response.len() * count) == self.response.repeat(count));
        sender.join().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn receive(socket: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    socket.read_exact(&mut bytes).unwrap();
    bytes
}

/// Everything a server is asked to do in measurements.
fn check(program: &str, flags: &[&str]) {
    for payload_bytes in [20, 16_384, 1 << 20] {
        let Some(server) = Server::start(program, payload_bytes, flags) else { return };
        let mut sockets: Vec<TcpStream> = (0..5).map(|_| server.connect()).collect();
        for socket in &mut sockets {
            server.exchange(socket, 1);
        }
        for socket in &mut sockets {
            server.exchange(socket, 16);
        }
        for mut socket in sockets {
            socket.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]).unwrap();
            assert_eq!(receive(&mut socket, CLOSE.len()), CLOSE);
            assert_eq!(socket.read(&mut [0]).unwrap(), 0, "the server ends the connection");
        }
        // Places of ended connections are used again, and so are sockets that just went away.
        for _ in 0..20 {
            drop(server.connect());
            server.exchange(&mut server.connect(), 1);
        }
    }
}

#[test]
fn raw_epoll_exchanges_and_closes() {
    check(EPOLL, &[]);
}

#[test]
fn raw_ring_exchanges_and_closes() {
    check(RING, &[]);
}

#[test]
fn raw_ring_with_plain_descriptors_exchanges_and_closes() {
    check(RING, &["--descriptors", "plain"]);
}

#[test]
fn raw_ring_with_few_small_buffers_exchanges_and_closes() {
    check(RING, &["--buffer-bytes", "4096", "--buffers", "2"]);
}

#[test]
fn raw_ring_with_deferred_accept_exchanges_and_closes() {
    check(RING, &["--defer-accept"]);
}

/// What one client sends is received by all, and by clients that come later no more.
fn check_fan_out(program: &str, flags: &[&str]) {
    let flags = [&["--fan-out"], flags].concat();
    let Some(server) = Server::start(program, 100, &flags) else { return };
    let mut sockets: Vec<TcpStream> = (0..7).map(|_| server.connect()).collect();
    for publisher in 0..sockets.len() {
        sockets[publisher].write_all(&server.request.repeat(3)).unwrap();
        for socket in &mut sockets {
            assert!(receive(socket, server.response.len() * 3) == server.response.repeat(3));
        }
    }
    drop(sockets.pop());
    let mut late = server.connect();
    sockets[0].write_all(&server.request).unwrap();
    for socket in sockets.iter_mut().chain([&mut late]) {
        assert_eq!(receive(socket, server.response.len()), server.response);
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(socket.read(&mut [0]).is_err(), "each is owed one response, not more");
    }
}

#[test]
fn raw_epoll_answers_everybody() {
    check_fan_out(EPOLL, &[]);
}

#[test]
fn raw_ring_answers_everybody() {
    check_fan_out(RING, &[]);
    check_fan_out(RING, &["--descriptors", "plain"]);
}

#[test]
fn raw_ring_answers_everybody_across_threads() {
    check_fan_out(RING, &["--further-cores", "1"]);
}

/// A subscriber that reads nothing while the others are served gets everything once it does.
fn check_slow_subscriber(program: &str) {
    let Some(server) = Server::start(program, 16_384, &["--fan-out"]) else { return };
    let (mut publisher, mut slow) = (server.connect(), server.connect());
    // More than the kernel keeps for a connection that nobody reads.
    for _ in 0..1024 {
        server.exchange(&mut publisher, 1);
    }
    for _ in 0..1024 {
        assert!(receive(&mut slow, server.response.len()) == server.response);
    }
}

#[test]
fn raw_epoll_waits_for_a_slow_subscriber_alone() {
    check_slow_subscriber(EPOLL);
}

#[test]
fn raw_ring_waits_for_a_slow_subscriber_alone() {
    check_slow_subscriber(RING);
}

#[test]
fn raw_ring_exchanges_and_closes_on_two_threads() {
    check(RING, &["--further-cores", "1"]);
}

#[test]
fn a_silent_client_is_not_answered() {
    let server = Server::start(EPOLL, 20, &[]).unwrap();
    let mut socket = server.connect();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket.write_all(&server.request[..25]).unwrap();
    let error = socket.read(&mut [0]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
}
