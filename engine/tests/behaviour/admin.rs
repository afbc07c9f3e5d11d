//! The admin address: what it tells, to whom, and that it bothers nobody.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use ringsock::{Conn, Cores, Driver, Handler, Message, Server, ServerBuilder};

use crate::client::Client;
use crate::process;
use crate::served::{Echo, Served, alone_for_each_driver, among_others, for_each_driver};

/// Sends a head and returns the status and body of the answer.
fn ask(address: SocketAddr, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the admin address accepts");
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and the end");
    let status = answer[9..12].parse().expect("a status");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let length = format!("Content-Length: {}", body.len());
    assert!(head.contains(&length) || body.is_empty(), "{answer}");
    (status, body.to_owned())
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}"))
}

fn with_admin(server: ServerBuilder) -> ServerBuilder {
    server.admin("127.0.0.1:0").expect("a free port")
}

#[test]
fn it_tells_health_metrics_and_connections() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, with_admin, |_| Echo);
        let admin = server.admin_address();
        let mut client = Client::connect(server.address);
        client.echo("counted");
        assert_eq!(get(admin, "/healthz"), (200, "ok\n".to_owned()));
        assert_eq!(get(admin, "/readyz"), (200, "ok\n".to_owned()));
        let (status, metrics) = get(admin, "/metrics");
        assert_eq!(status, 200);
        let name = if driver == Driver::Ring { "ring" } else { "epoll" };
        for line in [
            "ringsock_messages_received_total{shard=\"0\"} 1",
            "ringsock_connections{shard=\"0\"} 1",
            &format!("ringsock_driver_info{{driver=\"{name}\"}} 1"),
        ] {
            assert!(metrics.lines().any(|own| own == line), "{line} in {metrics}");
        }
        let (status, list) = get(admin, "/debug/connections");
        let own = client.stream.local_addr().unwrap();
        assert_eq!(status, 200);
        assert!(list.contains(&format!("\"address\":\"{own}\",\"phase\":\"open\"")), "{list}");
        let (_, none) = get(admin, "/debug/connections?limit=0");
        assert!(none.contains("\"total\":1") && !none.contains("\"slot\""), "{none}");
        assert_eq!(get(admin, "/debug/connections?limit=many").0, 400);
        assert_eq!(get(admin, "/nothing").0, 404);
        assert_eq!(ask(admin, "POST /metrics HTTP/1.1\r\nHost: 127.0.0.1").0, 400);
        assert_eq!(ask(admin, "HEAD /healthz HTTP/1.1"), (200, String::new()));
        assert_eq!(ask(admin, "nonsense").0, 400);
        client.echo("not disturbed");
    });
}

#[test]
fn a_draining_server_is_not_ready_but_healthy() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, with_admin, |_| Echo);
        let admin = server.admin_address();
        let mut client = Client::connect(server.address);
        client.echo("before");
        server.controller.drain();
        assert_eq!(get(admin, "/readyz"), (503, "draining\n".to_owned()));
        assert_eq!(get(admin, "/healthz"), (200, "draining\n".to_owned()));
        assert!(get(admin, "/metrics").1.contains("\nringsock_draining 1\n"));
        client.expect_closed_with(1001);
        server.join().unwrap();
        assert!(TcpStream::connect(admin).is_err(), "its port is free again");
    });
}

/// Keeps its shard from turning.
struct Stuck;

impl Handler for Stuck {
    type State = ();

    fn on_message(&mut self, _: &mut Conn<'_, ()>, _: Message<'_>) {
        thread::sleep(Duration::from_millis(1_500));
    }
}

#[test]
fn a_shard_that_hangs_is_unhealthy() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, with_admin, |_| Stuck);
        let admin = server.admin_address();
        Client::connect(server.address).send_text("hang");
        thread::sleep(Duration::from_millis(50));
        let (status, line) = get(admin, "/healthz");
        assert_eq!(status, 503);
        assert!(line.contains("shard 0"), "{line}");
        assert_eq!(get(admin, "/healthz").0, 200, "it turns again");
    });
}

#[test]
fn a_token_is_asked_for_and_a_foreign_name_refused() {
    for_each_driver(|driver| {
        let configure = |server| with_admin(server).admin_token("secret");
        let server = Served::configured(driver, configure, |_| Echo);
        let admin = server.admin_address();
        for path in ["/metrics", "/debug/connections"] {
            assert_eq!(get(admin, path).0, 403);
            let head = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer secret");
            assert_eq!(ask(admin, &head).0, 200);
        }
        assert_eq!(get(admin, "/healthz").0, 200, "a load balancer has no token");
        let open = Served::configured(driver, with_admin, |_| Echo);
        let head = "GET /metrics HTTP/1.1\r\nHost: evil.example";
        assert_eq!(ask(open.admin_address(), head).0, 403);
    });
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let _shared = among_others();
    let start = |token: Option<&str>| {
        let server = Server::builder().cores(Cores::List(vec![0])).driver(Driver::Epoll);
        let server = server.admin("0.0.0.0:0").unwrap();
        match token {
            Some(token) => server.admin_token(token).start(|_| Echo),
            None => server.start(|_| Echo),
        }
    };
    let error = start(None).unwrap_err().to_string();
    assert!(error.contains("0.0.0.0:") && error.contains("token"), "{error}");
    let server = Served::adopt_any(start(Some("t")).unwrap());
    let admin = SocketAddr::from(([127, 0, 0, 1], server.admin_address().port()));
    let asks_for = |token: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nAuthorization: Bearer {token}");
        ask(admin, &head).0 == 200
    };
    assert!(asks_for("t") && !asks_for("other"));
    server.controller.set_admin_token(Some("other".to_owned())).unwrap();
    assert!(asks_for("other") && !asks_for("t"));
    let error = server.controller.set_admin_token(None).unwrap_err().to_string();
    assert!(error.contains("token"), "{error}");
    assert!(asks_for("other"), "nothing has changed");
    server.stop();
}

#[test]
fn slow_and_silent_askers_hold_up_nobody_and_end() {
    alone_for_each_driver(|driver| {
        let server = Served::configured(driver, with_admin, |_| Echo);
        let admin = server.admin_address();
        let silent: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(admin).unwrap()).collect();
        assert_eq!(get(admin, "/healthz").0, 200);
        drop(silent);
        server.stop();
        assert_eq!(process::shard_threads(), 0);
    });
}
