//! Servers for the tests, in this process: one whose behaviour is chosen by the path, made with the
//! engine, and one that computes no handshake and parses no frame.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use ringsock::http::Request;
use ringsock::protocol::handshake::Status;
use ringsock::{
    Binary, CloseCode, Conn, Cores, Deflate, Driver, Handler, Limits, Message, Running,
    SendOutcome, Server, ServerBuilder, Text, Tls, Upgrade,
};

/// What a connection does, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    /// `/`: sends everything back; so does `/members` to those whom it lets in, and `/v2-for-some`,
    /// which chooses the subprotocol `v2` on all connections but each third.
    Echo,
    /// `/corrupt`: changes a byte of the tenth message.
    Corrupt,
    /// `/swallow`: keeps the tenth message.
    Swallow,
    /// `/leave`: closes after the tenth message.
    Leave,
    /// `/greet`: sends a message that nobody asked for, then echoes.
    Greet,
    /// `/fanout`: sends everything to everybody.
    Fanout,
    /// `/fanout-twice`: the same, and the tenth message twice.
    FanoutTwice,
    /// `/getCaseCount`, `/runCase`, `/updateReports`: a fuzzing server with three cases.
    CaseCount,
    Case,
    Report,
}

/// The handler; it keeps how many messages each connection has sent.
#[derive(Default)]
struct Subject {
    /// Connections on which there was a subprotocol to be chosen.
    chosen: u32,
}

impl Handler for Subject {
    type State = (Behaviour, u32);

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Self::State> {
        let behaviour = match request.path() {
            "/" => Behaviour::Echo,
            "/corrupt" => Behaviour::Corrupt,
            "/swallow" => Behaviour::Swallow,
            "/leave" => Behaviour::Leave,
            "/greet" => Behaviour::Greet,
            "/fanout" => Behaviour::Fanout,
            "/fanout-twice" => Behaviour::FanoutTwice,
            "/members" if is_member(request) => {
                return Upgrade::accept((Behaviour::Echo, 0)).subprotocol("v2");
            }
            "/v2-for-some" => {
                self.chosen += 1;
                let upgrade = Upgrade::accept((Behaviour::Echo, 0));
                return if self.chosen.is_multiple_of(3) {
                    upgrade
                } else {
                    upgrade.subprotocol("v2")
                };
            }
            "/getCaseCount" => Behaviour::CaseCount,
            "/runCase" => Behaviour::Case,
            "/updateReports" => Behaviour::Report,
            _ => return Upgrade::reject(Status::FORBIDDEN, "not here"),
        };
        Upgrade::accept((behaviour, 0))
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Self::State>) {
        match conn.state().0 {
            Behaviour::Fanout | Behaviour::FanoutTwice => assert!(conn.subscribe("all")),
            Behaviour::Greet | Behaviour::Case => queue(conn, "hello"),
            Behaviour::CaseCount => {
                queue(conn, "3");
                conn.close(CloseCode::NORMAL, "");
            }
            Behaviour::Report => conn.close(CloseCode::NORMAL, ""),
            _ => {}
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Self::State>, mut message: Message<'_>) {
        let state = conn.state_mut();
        state.1 += 1;
        let (behaviour, tenth) = (state.0, state.1 == 10);
        match behaviour {
            Behaviour::Case => {
                assert_eq!(message.as_text(), Some("hello"));
                return conn.close(CloseCode::NORMAL, "");
            }
            Behaviour::Fanout | Behaviour::FanoutTwice => {
                if behaviour == Behaviour::FanoutTwice && tenth {
                    conn.publish("all", Binary(message.bytes().to_vec()));
                }
                conn.publish("all", message);
                return;
            }
            Behaviour::Swallow if tenth => return,
            Behaviour::Leave if tenth => return conn.close(CloseCode::GOING_AWAY, "enough"),
            Behaviour::Corrupt if tenth => message.payload()[0] ^= 1,
            _ => {}
        }
        let _ = conn.send(message);
    }
}

/// Who offers the subprotocol `v2`, comes from `http://here` and has one of two tokens.
fn is_member(request: &Request<'_>) -> bool {
    let has_token =
        ["Bearer one", "Bearer two"].map(Some).contains(&request.header("authorization"));
    let offers = request.subprotocols().any(|name| name == "v2");
    has_token && offers && request.origin() == Some("http://here")
}

fn queue(conn: &mut Conn<'_, (Behaviour, u32)>, text: &str) {
    assert_eq!(conn.send(Text(text)), SendOutcome::Queued);
}

/// A running server; it is ended when this is dropped.
pub(crate) struct TestServer {
    running: Option<Running>,
    scheme: &'static str,
}

impl TestServer {
    /// Starts it on a free port, with one shard: topics do not leave a shard.
    pub(crate) fn start(driver: Driver) -> Self {
        Self::start_built(Server::builder(), driver)
    }

    /// Starts one that accepts permessage-deflate, with context takeover where that is asked for.
    pub(crate) fn start_compressing(driver: Driver) -> Self {
        let takeover: Deflate = "takeover".parse().unwrap();
        Self::start_built(Server::builder().deflate(takeover), driver)
    }

    /// Starts one that lets so many connections in.
    pub(crate) fn start_limited(driver: Driver, connections_max: usize) -> Self {
        let limits = Limits { connections_max, ..Limits::default() };
        Self::start_built(Server::builder().limits(limits), driver)
    }

    /// Starts one that speaks TLS.
    pub(crate) fn start_secure(driver: Driver, tls: Tls) -> Self {
        let mut server = Self::start_built(Server::builder().tls(tls), driver);
        server.scheme = "wss";
        server
    }

    fn start_built(builder: ServerBuilder, driver: Driver) -> Self {
        let running = builder
            .cores(Cores::List(vec![first_core()]))
            .driver(driver)
            .listen("127.0.0.1:0")
            .and_then(|server| server.start(|_shard| Subject::default()))
            .unwrap();
        Self { running: Some(running), scheme: "ws" }
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        let running = self.running.as_ref().unwrap();
        format!("{}://{}{path}", self.scheme, running.addresses()[0])
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let running = self.running.take().unwrap();
        running.controller().stop();
        running.join().unwrap();
    }
}

fn first_core() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    list.trim().split([',', '-']).next().unwrap().parse().unwrap()
}

/// Starts a server for one connection whose answer to the handshake is valid for no key but one,
/// and which answers each masked frame with a payload of 20 bytes by one of zeros.
pub(crate) fn start_canned() -> SocketAddr {
    const HANDSHAKE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        socket.write_all(HANDSHAKE).unwrap();
        let mut request = [0; 26];
        let mut response = [0; 22];
        response[..2].copy_from_slice(&[0x82, 20]);
        // The Close frame at the end is shorter, so the read ends with the connection.
        while socket.read_exact(&mut request).is_ok() {
            if socket.write_all(&response).is_err() {
                break;
            }
        }
    });
    address
}
