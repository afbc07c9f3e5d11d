//! Several handlers on one server, each at its path and with a state of its own type.

use std::sync::mpsc;

use ringsock::client::{Outbound, OutboundRequest};
use ringsock::connection::ClientHandshake;
use ringsock::http::{Page, Rejection, Request, Status};
use ringsock::policy::{AllowedOrigins, Authentication, ResponseHeaders, Secrets, Subprotocols};
use ringsock::protocol::handshake::{ClientRequest, WebSocketUrl};
use ringsock::{
    CloseInfo, Conn, Cores, Driver, Handler, Message, Server, ServerBuilder, Text, Upgrade,
};

use crate::client::{Client, PATIENCE, upgrade_request};
use crate::served::{Echo, Served, for_each_driver};

/// Its state is a room's name, which it puts before each message.
struct Rooms(mpsc::Sender<String>);

impl Handler for Rooms {
    type State = String;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
        match request.param("room") {
            Some(room) if room != "locked" => Upgrade::accept(room.to_owned()),
            _ => Upgrade::reject(Status::FORBIDDEN, "this room is locked"),
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, String>) {
        let welcome = format!("welcome to {}", conn.state());
        let _queued = conn.send(Text(welcome));
    }

    fn on_message(&mut self, conn: &mut Conn<'_, String>, message: Message<'_>) {
        let line = format!("{}: {}", conn.state(), message.as_text().unwrap_or_default());
        let _queued = conn.send(Text(line));
    }

    fn on_pong(&mut self, conn: &mut Conn<'_, String>, payload: &[u8]) {
        let line = format!("pong {}", payload.len());
        let _queued = conn.send(Text(line));
    }

    fn on_close(&mut self, conn: &mut Conn<'_, String>, _info: CloseInfo<'_>) {
        let _ = self.0.send(conn.state().clone());
    }
}

/// Its state is a number, which counts messages.
struct Counter;

impl Handler for Counter {
    type State = u64;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<u64> {
        let rest = request.param("rest").unwrap_or_default();
        Upgrade::accept(0).header("X-Rest", rest)
    }

    fn on_message(&mut self, conn: &mut Conn<'_, u64>, _message: Message<'_>) {
        *conn.state_mut() += 1;
        let count = conn.state().to_string();
        let _queued = conn.send(Text(count));
    }
}

fn routed(driver: Driver, configure: impl FnOnce(ServerBuilder) -> ServerBuilder) -> Served {
    let server = Server::builder().listen("127.0.0.1:0").expect("a free port");
    let server = configure(server.cores(Cores::List(vec![0])).driver(driver));
    Served::adopt(server.start_routes().expect("the server starts"))
}

fn two_apps(ended: mpsc::Sender<String>) -> impl FnOnce(ServerBuilder) -> ServerBuilder {
    move |server| {
        server
            .route("/chat/{room}", move |_| Rooms(ended.clone()))
            .route("/count", |_| Counter)
            .route("/count/{*rest}", |_| Counter)
            .page("/", Page::text("hello"))
            .page("/count", Page::text("a page and a handler"))
            .health("/healthz")
    }
}

/// The answer's head and body.
fn ask(server: &Served, request: &str) -> (String, String) {
    let mut client = Client::raw(server.address);
    client.send_bytes(request.as_bytes());
    let head = client.head().expect("an answer");
    (head, String::from_utf8(client.rest()).unwrap())
}

#[test]
fn handlers_with_states_of_different_types_stand_side_by_side() {
    for_each_driver(|driver| {
        let (ended, endings) = mpsc::channel();
        let server = routed(driver, two_apps(ended));
        let (mut chat, _) = Client::upgrade(server.address, "/chat/caf%C3%A9+1?x=1", "");
        let (mut count, _) = Client::upgrade(server.address, "/count", "");
        chat.expect_text("welcome to café+1");
        for number in 1..4 {
            chat.send_text("hi");
            chat.expect_text("café+1: hi");
            count.send_text("one more");
            count.expect_text(&number.to_string());
        }
        chat.send_frame(true, crate::client::PONG, b"1234");
        chat.expect_text("pong 4");
        drop(chat);
        assert_eq!(endings.recv_timeout(PATIENCE).unwrap(), "café+1");
        let (_, head) = Client::upgrade(server.address, "/count/a/b%20c", "");
        assert!(head.contains("\r\nX-Rest: a/b c"), "{head}");
    });
}

#[test]
fn other_paths_and_methods_are_refused_clearly() {
    for_each_driver(|driver| {
        let server = routed(driver, two_apps(mpsc::channel().0));
        let plain = |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        for (request, status, text) in [
            (plain("GET /"), "200 ", "hello"),
            (plain("GET /count"), "200 ", "a page and a handler"),
            (plain("GET /healthz"), "200 ", "ok\n"),
            (plain("GET /chat/a"), "426 ", "Upgrade: websocket"),
            (plain("GET /chat"), "404 ", "nothing is served at this path"),
            (plain("GET /chat/"), "404 ", "nothing is served at this path"),
            (plain("GET /chat/a/b"), "404 ", "nothing is served at this path"),
            (plain("POST /chat/a"), "405 ", "use GET"),
            (plain("DELETE /count"), "405 ", "use GET"),
            (plain("BREW /count"), "501 ", "use GET"),
            (upgrade_request("/", ""), "404 ", "a page and no WebSocket"),
            (upgrade_request("/nowhere", ""), "404 ", "nothing is served at this path"),
            (upgrade_request("/chat/locked", ""), "403 ", "this room is locked"),
            (upgrade_request("/ch%61t/locked", ""), "403 ", "this room is locked"),
            (upgrade_request("/chat/a%2Fb", ""), "400 ", "an escaped slash"),
        ] {
            let (head, body) = ask(&server, &request);
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {head}");
            assert!(body.contains(text), "{request}: {body}");
            let allow = head.contains("\r\nAllow: GET");
            assert_eq!(allow, status == "405 ", "{request}: {head}");
        }
    });
}

#[test]
fn a_handler_without_a_route_takes_the_paths_that_are_left() {
    for_each_driver(|driver| {
        let configure = |server: ServerBuilder| server.route("/count", |_| Counter);
        let server = Served::configured(driver, configure, |_| Echo);
        Client::upgrade(server.address, "/anything/else", "").0.echo("echo");
        let (mut count, _) = Client::upgrade(server.address, "/count", "");
        count.send_text("one");
        count.expect_text("1");
    });
}

#[test]
fn a_policy_is_asked_at_its_paths_and_health_is_beyond_all() {
    for_each_driver(|driver| {
        let server = routed(driver, |server| {
            let refuse =
                |_: &Request<'_>| Err(Rejection::new(Status::UNAUTHORIZED, "members only"));
            two_apps(mpsc::channel().0)(server).policy_at("/chat/{*rest}", refuse).policy(
                |request: &Request<'_>| match request.query("drunk") {
                    Some(_) => Err(Rejection::new(Status::FORBIDDEN, "go home")),
                    None => Ok(()),
                },
            )
        });
        for (request, status) in [
            (upgrade_request("/chat/a", ""), "401 "),
            (upgrade_request("/count", ""), "101 "),
            (upgrade_request("/count?drunk", ""), "403 "),
            ("GET /?drunk HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "403 "),
            ("GET /healthz?drunk HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "200 "),
        ] {
            let mut client = Client::raw(server.address);
            client.send_bytes(request.as_bytes());
            let head = client.head().expect("an answer");
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {head}");
        }
    });
}

/// A server whose handlers, one of them without a route, may be had by nobody in places.
fn guarded(driver: Driver) -> Served {
    let refuse = |_: &Request<'_>| Err(Rejection::new(Status::UNAUTHORIZED, "members only"));
    let by_hand = |request: &Request<'_>| match request.path().starts_with("/hand/") {
        true => Err(Rejection::new(Status::FORBIDDEN, "nobody")),
        false => Ok(()),
    };
    let configure = |server: ServerBuilder| {
        server
            .route("/chat/{room}", |_| Rooms(mpsc::channel().0))
            .route("/files/{*rest}", |_| Counter)
            .policy_at("/chat/secret", refuse)
            .policy_at("/chat/höhle", refuse)
            .policy_at("/chat/a@b", refuse)
            .policy_at("/files/private/{*rest}", refuse)
            .policy_at("/admin", refuse)
            .policy(by_hand)
            .page("/grüße", Page::text("hello"))
    };
    Served::configured(driver, configure, |_| Echo)
}

#[test]
fn policies_routes_and_handlers_see_one_and_the_same_path() {
    for_each_driver(|driver| {
        let server = guarded(driver);
        for (target, status) in [
            ("/chat/open", "101 "),
            ("/chat/%6fpen", "101 "),
            ("/chat/secret", "401 "),
            ("/chat/secret?x=1", "401 "),
            ("http://server.example.com/chat/secret", "401 "),
            ("/chat/%73ecret", "401 "),
            ("/chat/%73%65%63%72%65%74", "401 "),
            ("/chat/secret/", "401 "),
            ("/ch%61t/secret", "401 "),
            ("/chat/h%C3%B6hle", "401 "),
            ("/chat/h%c3%b6hle", "401 "),
            ("/chat/a@b", "401 "),
            ("/chat/a%40b", "401 "),
            ("/chat/a%2540b", "101 "),
            ("/chat/%2e%2e/chat/secret", "400 "),
            ("/chat//secret", "400 "),
            ("//chat/secret", "400 "),
            ("/chat%2fsecret", "400 "),
            ("/chat/%ff", "400 "),
            ("/files/a", "101 "),
            ("/files/private", "401 "),
            ("/files/private/", "401 "),
            ("/files/private/a", "401 "),
            ("/files/p%72ivate/a", "401 "),
            ("/files/private%2Fa", "400 "),
            ("/files/private%5Ca", "400 "),
            ("/files//private/a", "400 "),
            ("/files/./private/a", "400 "),
            ("/admin", "401 "),
            ("/admin/", "401 "),
            ("/%61dmin/", "401 "),
            ("/admins", "101 "),
            ("/hand/a", "403 "),
            ("/h%61nd/a", "403 "),
            ("/hand%2fa", "400 "),
        ] {
            let mut client = Client::raw(server.address);
            client.send_bytes(upgrade_request(target, "").as_bytes());
            let head = client.head().expect("an answer");
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {head}");
        }
        let (head, body) = ask(&server, "GET /gr%C3%BC%C3%9Fe HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 ") && body == "hello", "{head} {body}");
    });
}

/// Says who its client is.
struct WhoAmI;

impl Handler for WhoAmI {
    type State = String;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
        let identity = request.identity().unwrap_or("nobody").to_owned();
        match request.query("later") {
            Some(_) => Upgrade::later(async move { Upgrade::accept(identity) }),
            None => Upgrade::accept(identity),
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, String>) {
        let identity = conn.state().clone();
        let _queued = conn.send(Text(identity));
    }

    fn on_message(&mut self, _conn: &mut Conn<'_, String>, _message: Message<'_>) {}
}

#[test]
fn what_policies_find_out_reaches_the_handler_and_the_answer() {
    for_each_driver(|driver| {
        let server = routed(driver, |server| {
            let secrets = Secrets::new([("ada", "s3cret")]);
            server
                .policy(ResponseHeaders::new([("X-Frame-Options", "DENY")]).unwrap())
                .policy(Subprotocols::new(["me.v2", "me.v1"]).unwrap())
                .policy(AllowedOrigins::new(["https://example.org"]).unwrap())
                .policy_at("/me", Authentication::new(secrets).bearer().query("token"))
                .route("/me", |_| WhoAmI)
                .route("/open", |_| WhoAmI)
        });
        let offer = "Sec-WebSocket-Protocol: me.v1, me.v2\r\n";
        for (target, identity) in
            [("/me?token=s3cret", "ada"), ("/me?token=s3cret&later", "ada"), ("/open", "nobody")]
        {
            let (mut client, head) = Client::upgrade(server.address, target, offer);
            client.expect_text(identity);
            assert!(head.contains("\r\nSec-WebSocket-Protocol: me.v2"), "{head}");
            assert!(head.contains("\r\nX-Frame-Options: DENY"), "{head}");
        }
        for (target, headers, status) in [
            ("/me", "", "401 "),
            ("/me", "Origin: https://evil.net\r\n", "403 "),
            ("/open", "Origin: null\r\n", "403 "),
            ("/nowhere", "", "404 "),
        ] {
            let mut client = Client::raw(server.address);
            client.send_bytes(upgrade_request(target, headers).as_bytes());
            let head = client.head().expect("an answer");
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {head}");
            assert!(head.contains("\r\nX-Frame-Options: DENY"), "{head}");
        }
    });
}

/// Opens a connection to another server for each of its own, and passes on what that one says.
struct Relay(std::net::SocketAddr);

enum Leg {
    Client,
    Server(ringsock::Peer),
}

impl Handler for Relay {
    type State = Leg;

    fn on_upgrade(&mut self, _request: &Request<'_>) -> Upgrade<Leg> {
        Upgrade::accept(Leg::Client)
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Leg>, message: Message<'_>) {
        match conn.state() {
            Leg::Client => {
                let url = WebSocketUrl::parse("ws://server.example.com/").expect("a good URL");
                let request = ClientRequest::new(&url).expect("random numbers");
                let handshake = ClientHandshake::new(request).expect("a good request");
                let request = OutboundRequest { address: self.0, source: None, handshake };
                let peer = conn.peer();
                conn.outbound().connect(request, Leg::Server(peer));
            }
            Leg::Server(peer) => {
                let _ = peer.send(message);
            }
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Leg>) {
        if let Leg::Server(_) = conn.state() {
            let _queued = conn.send(Text("from the relay"));
        }
    }

    fn on_connect_failed(&mut self, _outbound: &mut Outbound<Leg>, state: Leg, _reason: &str) {
        if let Leg::Server(peer) = state {
            let _ = peer.send(Text("unreachable"));
        }
    }
}

#[test]
fn a_routed_handler_opens_connections_of_its_own() {
    for_each_driver(|driver| {
        let echo = Served::start(driver, |_| Echo);
        let address = echo.address;
        let server = routed(driver, |server| {
            server.route("/count", |_| Counter).route("/relay", move |_| Relay(address))
        });
        let (mut client, _) = Client::upgrade(server.address, "/relay", "");
        client.send_text("go");
        client.expect_text("from the relay");
        echo.stop();
        client.send_text("go");
        client.expect_text("unreachable");
    });
}
