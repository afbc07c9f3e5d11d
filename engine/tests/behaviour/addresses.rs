//! How many connections a client's address may have and how fast it may make them, at the limit and
//! one beyond: in memory, through proxies that vouch for clients, and straight from an address of
//! this machine that is not its loopback.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use ringsock::reports::Counters;
use ringsock::server::TrustedProxies;
use ringsock::testing::MemoryServer;
use ringsock::{Cores, Driver, Limits, Server, ServerBuilder};

use crate::client::{Client, PATIENCE, upgrade_request};
use crate::process;
use crate::served::{Echo, Served, among_others, for_each_driver};

fn address(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().expect("an address"), 4_711)
}

fn few() -> Limits {
    Limits { connections_per_address_max: 3, ..Limits::default() }
}

#[test]
fn an_address_has_as_many_connections_as_allowed_and_one_more_is_refused() {
    let _shared = among_others();
    let mut server = MemoryServer::new(few(), Echo).unwrap();
    let mut connect = |text: &str| server.connect_from(address(text));
    let mut peers: Vec<_> = (0..3).map(|_| connect("192.0.2.7").expect("room")).collect();
    assert!(connect("192.0.2.7").is_none());
    assert!(connect("::ffff:192.0.2.7").is_none(), "the same address in other words");
    assert!(connect("192.0.2.8").is_some());
    assert!(connect("2001:db8::1").is_some());
    assert!(connect("2001:db8::2").is_some());
    assert!(connect("2001:db8::ffff:1").is_some());
    assert!(connect("2001:db8::4").is_none(), "a customer has all of these 64 bits");
    assert!(connect("2001:db8:0:1::1").is_some());
    for _ in 0..10 {
        assert!(connect("127.0.0.1").is_some() && connect("::1").is_some(), "loopback");
    }
    server.reset(peers.pop().expect("one of three"));
    assert!(server.connect_from(address("192.0.2.7")).is_some());
    assert!(server.connect_from(address("192.0.2.7")).is_none());
    let counters = server.counters();
    assert_eq!((counters.refused_address_connections, counters.refused_address_rate), (4, 0));
}

#[test]
fn an_address_connects_as_fast_as_allowed_and_once_more_is_refused() {
    let _shared = among_others();
    let limits = Limits { accepts_per_address_per_second: 5, ..Limits::default() };
    let mut server = MemoryServer::new(limits, Echo).unwrap();
    for _ in 0..3 {
        for _ in 0..5 {
            let peer = server.connect_from(address("192.0.2.7")).expect("within the rate");
            server.reset(peer);
        }
        assert!(server.connect_from(address("192.0.2.7")).is_none());
        assert!(server.connect_from(address("192.0.2.8")).is_some());
        server.advance(Duration::from_secs(1));
    }
    let counters = server.counters();
    assert_eq!((counters.refused_address_connections, counters.refused_address_rate), (0, 3));
}

#[test]
fn a_shard_accepts_as_fast_as_allowed_and_once_more_is_refused() {
    let _shared = among_others();
    let limits = Limits { accepts_per_second: 5, ..Limits::default() };
    let mut server = MemoryServer::new(limits, Echo).unwrap();
    for _ in 0..3 {
        for _ in 0..5 {
            assert!(server.connect_from(address("127.0.0.1")).is_some(), "loopback included");
        }
        assert!(server.connect_from(address("127.0.0.1")).is_none());
        server.advance(Duration::from_millis(200));
        assert!(server.connect_from(address("192.0.2.7")).is_some());
        assert!(server.connect_from(address("192.0.2.7")).is_none());
        server.advance(Duration::from_secs(1));
    }
    assert_eq!(server.counters().refused_accept_rate, 6);
}

fn counters(server: &Served) -> Counters {
    let mut sum = Counters::default();
    for report in server.controller.reports(PATIENCE, 0) {
        sum.add(&report.expect("the shard answers").counters);
    }
    sum
}

fn behind(driver: Driver, limits: Limits, proxies: TrustedProxies) -> Served {
    let configure = |server: ServerBuilder| server.limits(limits).trusted_proxies(proxies);
    Served::configured(driver, configure, |_| Echo)
}

fn local() -> TrustedProxies {
    TrustedProxies::new(["127.0.0.0/8", "10.0.0.0/8"]).expect("networks")
}

/// Connects as a client for which a proxy speaks with a PROXY header.
fn proxied(server: &Served, client: &str) -> Option<Client> {
    let mut connection = Client::raw(server.address);
    let header = format!("PROXY TCP4 {client} 198.51.100.1 51000 443\r\n");
    connection.send_bytes(&[header.as_bytes(), upgrade_request("/", "").as_bytes()].concat());
    let head = connection.head()?;
    connection.check_switched(&head);
    Some(connection)
}

#[test]
fn the_client_that_a_proxy_header_names_is_counted_and_not_the_proxy() {
    for_each_driver(|driver| {
        let server = behind(driver, few(), local().proxy_protocol());
        let mut first: Vec<Client> =
            (0..3).map(|_| proxied(&server, "192.0.2.7").expect("room")).collect();
        assert!(proxied(&server, "192.0.2.7").is_none());
        let others: Vec<Client> =
            (0..3).map(|_| proxied(&server, "192.0.2.8").expect("room")).collect();
        // A proxy that a proxy speaks for is none either.
        let chained: Vec<Client> =
            (0..5).map(|_| proxied(&server, "10.0.0.1").expect("room")).collect();
        assert_eq!(counters(&server).refused_address_connections, 1);
        drop(first.pop());
        process::wait_until(PATIENCE, "an end makes room", || {
            proxied(&server, "192.0.2.7").map(|client| first.push(client)).is_some()
        });
        first.iter_mut().for_each(|client| client.echo("not disturbed"));
        drop((others, chained));
    });
}

#[test]
fn the_client_that_a_forwarding_header_names_is_answered_429() {
    for_each_driver(|driver| {
        let server = behind(driver, few(), local().x_forwarded_for());
        let from = |client: &str| {
            let mut connection = Client::raw(server.address);
            let header = format!("X-Forwarded-For: {client}\r\n");
            connection.send_bytes(upgrade_request("/", &header).as_bytes());
            let head = connection.head().expect("an answer");
            (connection, head)
        };
        let within: Vec<_> = (0..3).map(|_| from("192.0.2.7, 10.0.0.1")).collect();
        assert!(within.iter().all(|(_, head)| head.starts_with("HTTP/1.1 101 ")));
        let (mut beyond, head) = from("192.0.2.7");
        assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{head}");
        assert!(head.contains("\r\nRetry-After: 1"), "{head}");
        assert!(String::from_utf8(beyond.rest()).unwrap().contains("too many connections"));
        assert!(from("192.0.2.8").1.starts_with("HTTP/1.1 101 "));
        assert_eq!(counters(&server).refused_address_connections, 1);
    });
}

#[test]
fn a_proxied_client_connects_as_fast_as_allowed_and_once_more_is_refused() {
    for_each_driver(|driver| {
        let limits = Limits { accepts_per_address_per_second: 4, ..Limits::default() };
        let server = behind(driver, limits, local().proxy_protocol());
        // One second may pass between two of these on a slow machine, but not between all.
        let admitted = (0..40).filter(|_| proxied(&server, "192.0.2.7").is_some()).count();
        assert!((4..20).contains(&admitted), "{admitted}");
        assert_eq!(counters(&server).refused_address_rate, 40 - admitted as u64);
        assert!(proxied(&server, "192.0.2.8").is_some());
    });
}

/// An address of this machine by which others would reach it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: it only chooses the address to send from.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && TcpListener::bind((address, 0)).is_ok()).then_some(address)
}

#[test]
fn connections_of_an_address_are_counted_over_all_shards_and_loopback_is_not() {
    for_each_driver(|driver| {
        let Some(own) = own_address() else {
            eprintln!("not tested: this machine has no address but its loopback");
            return;
        };
        let server = Server::builder().cores(Cores::List(vec![0, 0])).driver(driver);
        let server = server.limits(few()).listen("0.0.0.0:0").expect("a free port");
        let server = Served::adopt(server.start(|_| Echo).expect("it starts"));
        let address = |ip: IpAddr| SocketAddr::new(ip, server.address.port());
        let mut served: Vec<Client> = (0..3).map(|_| Client::connect(address(own))).collect();
        for _ in 0..4 {
            assert_eq!(Client::raw(address(own)).rest(), b"", "closed at once");
        }
        let local = IpAddr::from([127, 0, 0, 1]);
        let locals: Vec<Client> = (0..8).map(|_| Client::connect(address(local))).collect();
        served.iter_mut().for_each(|client| client.echo("not disturbed"));
        assert_eq!(counters(&server).refused_address_connections, 4);
        drop(locals);
    });
}
