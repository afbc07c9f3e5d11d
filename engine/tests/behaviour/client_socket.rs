//! Connections that a task opens itself, against servers of this engine, servers that misbehave,
//! and through a proxy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringsock::client::{ClientError, ClientSocket, block_on};
use ringsock::connection::ClosedBy;
use ringsock::http::{Request, Status};
use ringsock::protocol::handshake::accept_value;
use ringsock::{
    Binary, Client, CloseCode, Conn, Driver, Handler, Limits, MIB, Message, Text, Upgrade,
};

use crate::client::PATIENCE;
use crate::random::Random;
use crate::served::{Echo, Served, among_others, for_each_driver};

fn large_limits() -> Limits {
    Limits { message_bytes_max: 32 * MIB, send_queue_bytes_max: 64 * MIB, ..Limits::default() }
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}/")
}

async fn received(socket: &mut ClientSocket) -> Option<Vec<u8>> {
    let message = socket.next().await.expect("the connection holds");
    message.map(|message| message.bytes().to_vec())
}

#[test]
fn messages_of_every_size_come_back_to_a_task() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, |server| server.limits(large_limits()), |_| Echo);
        let address = server.address;
        block_on(async move {
            let client = Client::new(url(address)).limits(large_limits());
            let mut socket = client.connect().await.unwrap();
            let mut random = Random(1);
            for size in [0, 1, 125, 126, 65_535, 65_536, MIB, 20 * MIB] {
                let payload = random.bytes(size);
                socket.send(Binary(&payload)).await.unwrap();
                assert_eq!(received(&mut socket).await.as_ref(), Some(&payload), "{size} bytes");
            }
            socket.send(Text("é")).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap().as_text(), Some("é"));
            socket.close(CloseCode::NORMAL, "done").await;
            let closed = socket.closed().unwrap();
            assert_eq!((closed.code, closed.by), (CloseCode::NORMAL, ClosedBy::Local));
            assert!(socket.next().await.unwrap().is_none());
            let error = socket.send(Text("late")).await.unwrap_err();
            assert!(matches!(error, ClientError::Closing { .. }), "{error}");
        });
        server.stop();
    });
}

/// Far more than the kernel holds is sent before anything is read: neither side may wait for the
/// other for ever.
#[test]
fn a_task_that_sends_much_before_it_reads_is_not_locked_up() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        let address = server.address;
        block_on(async move {
            let limits = Limits { receive_pause_bytes: 32 * MIB, ..large_limits() };
            let mut socket = Client::new(url(address)).limits(limits).connect().await.unwrap();
            let payload = Random(2).bytes(64 * 1024);
            let messages = 400;
            for _ in 0..messages {
                socket.send(Binary(&payload)).await.unwrap();
            }
            for _ in 0..messages {
                assert_eq!(received(&mut socket).await.as_ref(), Some(&payload));
            }
        });
        server.stop();
    });
}

/// Accepts with what the request asks for, and sends one message.
struct Polite;

impl Handler for Polite {
    type State = ();

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        match request.header("authorization") {
            Some("Bearer 123") => Upgrade::accept(()).subprotocol("feed.v2"),
            _ => Upgrade::reject(Status::UNAUTHORIZED, "a token is needed"),
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.send(Text("welcome"));
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        conn.close(CloseCode(4001), "that was all");
    }
}

#[test]
fn headers_and_subprotocols_are_asked_for_and_the_end_is_told() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Polite);
        let address = server.address;
        block_on(async move {
            let client = Client::new(url(address)).subprotocol("feed.v3").subprotocol("feed.v2");
            let error = client.clone().connect().await.unwrap_err().to_string();
            assert!(error.contains("401") && error.contains(&address.to_string()), "{error}");
            let client = client.header("Authorization", "Bearer 123");
            let mut socket = client.connect().await.unwrap();
            assert_eq!(socket.subprotocol(), Some("feed.v2"));
            assert_eq!(received(&mut socket).await.unwrap(), b"welcome");
            socket.ping(b"still there?").await.unwrap();
            socket.send(Text("bye")).await.unwrap();
            assert_eq!(received(&mut socket).await, None);
            let closed = socket.closed().unwrap();
            assert_eq!((closed.code, closed.by), (CloseCode(4001), ClosedBy::Peer));
            assert_eq!(closed.reason, "that was all");
        });
        server.stop();
    });
}

/// Opens a connection to another server for each of its own, as a bridge does.
struct Relay(SocketAddr);

impl Handler for Relay {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let (address, peer) = (self.0, conn.peer());
        let text = message.as_text().expect("a text").to_owned();
        ringsock::spawn(async move {
            let mut socket = Client::new(url(address)).connect().await.expect("the other server");
            socket.send(Text(text)).await.expect("it takes a message");
            let answer = received(&mut socket).await.expect("an answer");
            let _ = peer.send(Binary(answer));
        });
    }
}

#[test]
fn a_task_of_a_shard_talks_to_another_server_while_its_shard_serves() {
    for_each_driver(|driver| {
        let inner = Served::start(driver, |_| Echo);
        let address = inner.address;
        let outer = Served::start(driver, move |_| Relay(address));
        let front = outer.address;
        block_on(async move {
            let mut socket = Client::new(url(front)).connect().await.unwrap();
            for text in ["one", "two", "three"] {
                socket.send(Text(text)).await.unwrap();
                assert_eq!(received(&mut socket).await.unwrap(), text.as_bytes());
            }
        });
        outer.stop();
        inner.stop();
    });
}

/// A listener whose one connection is handled by `serve`.
fn listener(serve: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, thread::spawn(move || serve(listener.accept().unwrap().0)))
}

/// Reads a request head.
fn read_head(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the rest of the head");
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads an upgrade request and accepts it.
fn accept_upgrade(stream: &mut TcpStream) {
    let head = read_head(stream);
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = String::from_utf8(accept_value(key.as_bytes()).to_vec()).unwrap();
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
}

#[test]
fn a_connection_that_breaks_is_told_from_one_that_ends() {
    let _shared = among_others();
    for (bytes, code) in [(&b""[..], 1006), (b"\x83\x00", 1002), (b"\x81\x01\xff", 1007)] {
        let (address, server) = listener(move |mut stream| {
            accept_upgrade(&mut stream);
            stream.write_all(b"\x81\x02hi").unwrap();
            stream.write_all(bytes).unwrap();
        });
        block_on(async move {
            let mut socket = Client::new(url(address)).connect().await.unwrap();
            assert_eq!(received(&mut socket).await.unwrap(), b"hi");
            let error = socket.next().await.unwrap_err();
            let told = matches!(&error, ClientError::Lost { code: told, .. } if told.0 == code);
            assert!(told, "{code}: {error}");
        });
        server.join().unwrap();
    }
}

#[test]
fn each_step_that_fails_says_which_against_whom_and_why() {
    let _shared = among_others();
    let closed_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (silent, server) = listener(|mut stream| {
        read_head(&mut stream);
        // Until the client gives up.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    });
    let short = Limits { handshake_timeout: Duration::from_millis(200), ..Limits::default() };
    let begun = Instant::now();
    let cases = [
        (Client::new("http://h"), "neither ws nor wss".to_owned()),
        (Client::new("ws://127.0.0.1:1/").header("A\r\nB", "c"), "header".to_owned()),
        (Client::new("ws://127.0.0.1:1/").proxy("socks://h"), "expected http://".to_owned()),
        (Client::new(url(closed_port)), format!("cannot connect to {closed_port}")),
        (Client::new("ws://no-such-name.invalid/"), "\"no-such-name.invalid\"".to_owned()),
        (Client::new(url(silent)).limits(short), "within 200ms".to_owned()),
    ];
    block_on(async {
        for (client, words) in cases {
            let error = client.connect().await.unwrap_err().to_string();
            assert!(error.contains(&words), "{words:?} is not in {error:?}");
        }
    });
    assert!(begun.elapsed() < PATIENCE);
    server.join().unwrap();
}

#[test]
fn no_error_tells_the_secrets_of_an_address() {
    let _shared = among_others();
    let (silent, server) = listener(|mut stream| {
        read_head(&mut stream);
        let _ = stream.read(&mut [0]);
    });
    let (refusing, other) = listener(|mut stream| {
        let head = read_head(&mut stream);
        assert!(head.starts_with("GET /feed?token=s3cret HTTP/1.1\r\n"), "{head}");
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n").unwrap();
    });
    let short = Limits { handshake_timeout: Duration::from_millis(200), ..Limits::default() };
    let asked = |address: SocketAddr| Client::new(format!("ws://{address}/feed?token=s3cret"));
    assert!(!format!("{:?}", asked(silent).header("Cookie", "s3cret")).contains("s3cret"));
    block_on(async {
        for client in [
            asked(silent).limits(short),
            asked(refusing),
            Client::new("ws://user:s3cret@127.0.0.1/"),
            Client::new("ws://127.0.0.1:x/?token=s3cret"),
        ] {
            let error = client.connect().await.unwrap_err();
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(!text.contains("s3cret") && text.contains("127.0.0.1"), "{text}");
            }
        }
    });
    server.join().unwrap();
    other.join().unwrap();
}

/// A proxy for one connection that answers `answer`, and tells the head it was asked with.
fn proxy(answer: &'static [u8]) -> (SocketAddr, mpsc::Receiver<String>, JoinHandle<()>) {
    let (told, heads) = mpsc::channel();
    let (address, thread) = listener(move |mut stream| {
        let head = read_head(&mut stream);
        let target = head.split(' ').nth(1).expect("a target").to_owned();
        told.send(head).unwrap();
        // In two pieces, so that the end of the head arrives alone.
        let (first, second) = answer.split_at(answer.len() - 1);
        stream.write_all(first).unwrap();
        thread::sleep(Duration::from_millis(20));
        stream.write_all(second).unwrap();
        if !answer.starts_with(b"HTTP/1.1 200") {
            return;
        }
        let mut server = TcpStream::connect(target).expect("the server behind");
        let (mut from_client, mut to_server) =
            (stream.try_clone().unwrap(), server.try_clone().unwrap());
        let upwards = thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut server, &mut stream);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        upwards.join().unwrap();
    });
    (address, heads, thread)
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_and_gone_through() {
    let _shared = among_others();
    let driver = Driver::Auto;
    let server = Served::start(driver, |_| Echo);
    let address = server.address;
    let (proxied, heads, thread) = proxy(b"HTTP/1.1 200 OK\r\nVia: test\r\n\r\n");
    block_on(async move {
        let client = Client::new(url(address)).proxy(format!("http://me:secret@{proxied}"));
        let mut socket = client.connect().await.unwrap();
        socket.send(Text("through")).await.unwrap();
        assert_eq!(received(&mut socket).await.unwrap(), b"through");
        socket.close(CloseCode::NORMAL, "").await;
    });
    let head = heads.recv().unwrap();
    assert!(head.starts_with(&format!("CONNECT {address} HTTP/1.1\r\n")), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{head}");
    thread.join().unwrap();
    server.stop();
    let (proxied, _heads, thread) = proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    let error = block_on(async move {
        Client::new("ws://127.0.0.1:9/").proxy(format!("http://{proxied}")).connect().await
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains(&proxied.to_string()) && error.contains("407"), "{error}");
    thread.join().unwrap();
}

/// A message that is waited for with a timeout must not be lost when the timeout comes first.
#[test]
fn waiting_for_a_message_may_be_given_up_and_begun_again() {
    let _shared = among_others();
    let (go, wait) = mpsc::channel::<()>();
    let (address, server) = listener(move |mut stream| {
        accept_upgrade(&mut stream);
        stream.write_all(b"\x81\x05he").unwrap();
        wait.recv().unwrap();
        stream.write_all(b"llo").unwrap();
        let _ = stream.read(&mut [0; 64]);
    });
    block_on(async move {
        let mut socket = Client::new(url(address)).connect().await.unwrap();
        let waited = monoio::time::timeout(Duration::from_millis(50), socket.next()).await;
        assert!(waited.is_err());
        go.send(()).unwrap();
        assert_eq!(received(&mut socket).await.unwrap(), b"hello");
    });
    server.join().unwrap();
}
