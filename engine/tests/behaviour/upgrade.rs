//! What a handler can answer to an upgrade, and pages for everything else.

use ringsock::http::{Page, Request, Status};
use ringsock::{Conn, Handler, Message, Text, Upgrade};

use crate::client::{Client, upgrade_request};
use crate::served::{Echo, Served, for_each_driver};

/// Decides by what the request says, and greets.
struct Doorkeeper;

impl Handler for Doorkeeper {
    type State = String;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
        let Some(name) = request.query("name") else {
            return Upgrade::reject(Status::UNAUTHORIZED, "a name is needed");
        };
        let upgrade = Upgrade::accept(name.into_owned()).header("X-Room", "lobby");
        let upgrade = upgrade.header("X-Broken", "a\r\nSet-Cookie: stolen");
        upgrade.subprotocol("chat.v2")
    }

    fn on_open(&mut self, conn: &mut Conn<'_, String>) {
        let greeting = format!("hello {}", conn.state());
        let _queued = conn.send(Text(greeting));
        let _queued = conn.send(Text("speak"));
    }

    fn on_message(&mut self, conn: &mut Conn<'_, String>, message: Message<'_>) {
        let _queued = conn.send(message);
    }
}

#[test]
fn what_on_open_sends_arrives_before_any_message() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Doorkeeper);
        let (mut client, _) = Client::upgrade(server.address, "/?name=J%C3%BCrgen+B.", "");
        client.expect_text("hello Jürgen B.");
        client.expect_text("speak");
        client.echo("here I am");
    });
}

#[test]
fn a_rejected_upgrade_gets_its_status_and_nothing_more() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Doorkeeper);
        let mut client = Client::raw(server.address);
        let request = upgrade_request("/", "");
        // What is pipelined behind a refused upgrade must not be answered.
        client.send_bytes(format!("{request}{request}").as_bytes());
        let head = client.head().unwrap();
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        assert!(head.contains("\r\nConnection: close"), "{head}");
        let body = String::from_utf8(client.rest()).unwrap();
        assert!(body.contains("a name is needed"), "{body}");
        assert!(!body.contains("HTTP/1.1"), "{body}");
    });
}

#[test]
fn subprotocol_and_headers_are_answered() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Doorkeeper);
        let offer = "Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n";
        let (_, head) = Client::upgrade(server.address, "/?name=a", offer);
        assert!(head.contains("\r\nSec-WebSocket-Protocol: chat.v2"), "{head}");
        assert!(head.contains("\r\nX-Room: lobby"), "{head}");
        assert!(!head.contains("Set-Cookie"), "{head}");
        // One that was not offered must not be answered, whatever the handler says.
        for offer in ["", "Sec-WebSocket-Protocol: chat.v1\r\n"] {
            let (_, head) = Client::upgrade(server.address, "/?name=a", offer);
            assert!(!head.contains("Sec-WebSocket-Protocol"), "{head}");
        }
    });
}

fn get(server: &Served, request: &str) -> (String, Vec<u8>) {
    let mut client = Client::raw(server.address);
    client.send_bytes(request.as_bytes());
    let head = client.head().expect("an answer");
    (head, client.rest())
}

#[test]
fn pages_are_served_to_browsers() {
    for_each_driver(|driver| {
        let configure = |server: ringsock::ServerBuilder| {
            server.page("/", Page::html("<h1>hello</h1>")).page("/t", Page::text("later wins"))
        };
        let server = Served::configured(driver, configure, |_| Echo);
        let (head, body) = get(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("\r\nContent-Length: 14"), "{head}");
        assert!(head.contains("\r\nContent-Type: text/html"), "{head}");
        assert_eq!(body, b"<h1>hello</h1>");
        let (head, body) = get(&server, "HEAD /t?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("\r\nContent-Length: 10"), "{head}");
        assert_eq!(body, b"");
    });
}

#[test]
fn a_page_the_browser_has_already_is_not_sent_again() {
    for_each_driver(|driver| {
        let page = Page::file("app.js", "let x = 1").header("Cache-Control", "no-cache");
        let server = Served::configured(driver, |server| server.page("/app.js", page), |_| Echo);
        let (head, body) = get(&server, "GET /app.js HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(head.contains("\r\nContent-Type: text/javascript; charset=utf-8"), "{head}");
        assert!(head.contains("\r\nCache-Control: no-cache"), "{head}");
        assert_eq!(body, b"let x = 1");
        let (_, tag) = head.split_once("\r\nETag: ").expect("a tag");
        let tag = tag.lines().next().unwrap();
        let request =
            format!("GET /app.js HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"old\", {tag}\r\n\r\n");
        let (head, body) = get(&server, &request);
        assert!(head.starts_with("HTTP/1.1 304 "), "{head}");
        assert!(head.contains(tag), "{head}");
        assert_eq!(body, b"");
        let request = "GET /app.js HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"old\"\r\n\r\n";
        assert!(get(&server, request).0.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn whatever_is_pipelined_behind_an_answer_is_dropped() {
    for_each_driver(|driver| {
        let configure = |server: ringsock::ServerBuilder| server.page("/", Page::text("once"));
        let server = Served::configured(driver, configure, |_| Echo);
        for (first, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 "),
            ("GET /none HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 426 "),
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 405 "),
            ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
        ] {
            let (head, body) = get(&server, &format!("{first}{}", upgrade_request("/", "")));
            assert!(head.starts_with(expected), "{first}: {head}");
            assert!(head.contains("\r\nConnection: close"), "{head}");
            assert!(head.contains("\r\nServer: ringsock"), "{head}");
            let body = String::from_utf8(body).unwrap();
            assert!(!body.contains("HTTP/1.1 "), "{body}");
        }
    });
}

#[test]
fn a_path_without_a_page_asks_for_an_upgrade() {
    for_each_driver(|driver| {
        let server =
            Served::configured(driver, |server| server.page("/", Page::text("x")), |_| Echo);
        let (head, _) = get(&server, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
        assert!(head.contains("\r\nUpgrade: websocket"), "{head}");
        // The same path is served to whoever asks for an upgrade.
        Client::upgrade(server.address, "/nowhere", "").0.echo("found");
    });
}

#[test]
fn a_page_as_large_as_a_socket_buffer_arrives_whole() {
    for_each_driver(|driver| {
        let body: String = "0123456789".repeat(500_000);
        let expected = body.len();
        let page = Page::text(body);
        let server = Served::configured(driver, |server| server.page("/", page), |_| Echo);
        let (_, body) = get(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(body.len(), expected);
    });
}

#[test]
fn the_server_header_can_be_chosen_or_left_out() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        let (_, head) = Client::upgrade(server.address, "/", "");
        assert!(head.contains("\r\nServer: ringsock"), "{head}");
        let server = Served::configured(driver, |server| server.server_name(None), |_| Echo);
        let (_, head) = Client::upgrade(server.address, "/", "");
        assert!(!head.contains("\r\nServer:"), "{head}");
    });
}
