//! Who a client is when a proxy stands between: told by a PROXY header or by a forwarding header,
//! and believed only from networks that were named.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use ringsock::server::TrustedProxies;
use ringsock::{Driver, Limits, ServerBuilder};

use crate::client::{self, Client, TEXT, upgrade_request};
use crate::recorder::Recorder;
use crate::served::{Served, for_each_driver};

const TEXT_HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n";

/// Version 2: a client of 2001:db8::7, port 51000, and an extra field.
fn binary_header() -> Vec<u8> {
    let address = |last: u8| [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[last]].concat();
    let rest = [address(7), address(1), vec![0xc7, 0x38, 1, 0xbb], vec![5, 0, 1, 9]].concat();
    let length = (rest.len() as u16).to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x21"[..], &length, &rest].concat()
}

fn served(driver: Driver, proxies: TrustedProxies) -> Served {
    let configure = |server: ServerBuilder| server.trusted_proxies(proxies);
    let (factory, _record) = Recorder::new();
    Served::configured(driver, configure, move |_| factory())
}

fn local() -> TrustedProxies {
    TrustedProxies::new(["127.0.0.0/8"]).expect("a network")
}

fn elsewhere() -> TrustedProxies {
    TrustedProxies::new(["10.0.0.0/8", "::1", "unix"]).expect("networks")
}

/// Asks for the client's address as the handler sees it.
fn address_of(client: &mut Client) -> String {
    client.send_text("address");
    String::from_utf8(client.expect_frame().payload).unwrap()
}

#[test]
fn a_proxy_header_tells_the_client_and_only_once() {
    for_each_driver(|driver| {
        let server = served(driver, local().proxy_protocol());
        for (header, expected) in [
            (TEXT_HEADER.to_vec(), "192.0.2.7:51000"),
            (binary_header(), "[2001:db8::7]:51000"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "own"),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "own"),
        ] {
            let mut client = Client::raw(server.address);
            let expected = match expected {
                "own" => client.stream.local_addr().unwrap().to_string(),
                other => other.to_owned(),
            };
            let frame = client::frame(true, TEXT, b"address", 3);
            client.send_bytes(&[&header, upgrade_request("/", "").as_bytes(), &frame].concat());
            let head = client.head().expect("an answer");
            client.check_switched(&head);
            client.expect_text(&expected);
            assert_eq!(address_of(&mut client), expected);
        }
        let mut twice = Client::raw(server.address);
        twice.send_bytes(&[TEXT_HEADER, TEXT_HEADER].concat());
        assert!(twice.head().unwrap().starts_with("HTTP/1.1 400 "));
    });
}

#[test]
fn a_proxy_header_may_come_in_pieces() {
    for_each_driver(|driver| {
        let server = served(driver, local().proxy_protocol());
        for header in [TEXT_HEADER.to_vec(), binary_header()] {
            let all = [&header, upgrade_request("/", "").as_bytes()].concat();
            for cut in (1..header.len() + 30).step_by(7) {
                let mut client = Client::raw(server.address);
                client.send_bytes(&all[..cut]);
                thread::sleep(Duration::from_millis(1));
                client.send_bytes(&all[cut..]);
                let head = client.head().expect("an answer");
                client.check_switched(&head);
                let address: SocketAddr = address_of(&mut client).parse().unwrap();
                assert_eq!(address.port(), 51_000);
            }
        }
    });
}

#[test]
fn a_proxy_that_does_not_say_whom_it_speaks_for_gets_no_answer() {
    for_each_driver(|driver| {
        let server = served(driver, local().proxy_protocol());
        for bytes in [
            upgrade_request("/", "").into_bytes(),
            b"PROXY TCP4 here there 1 2\r\n".to_vec(),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(),
            [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
        ] {
            let mut client = Client::raw(server.address);
            client.send_bytes(&bytes);
            assert_eq!(client.rest(), b"", "{:?}", String::from_utf8_lossy(&bytes));
        }
    });
}

#[test]
fn a_proxy_header_of_a_stranger_is_no_request() {
    for_each_driver(|driver| {
        for proxies in [elsewhere().proxy_protocol(), local().x_forwarded_for()] {
            let server = served(driver, proxies);
            for header in [TEXT_HEADER.to_vec(), binary_header()] {
                let mut client = Client::raw(server.address);
                client.send_bytes(&[&header, upgrade_request("/", "").as_bytes()].concat());
                let head = client.head().expect("an answer");
                assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
            }
            let mut direct = Client::connect(server.address);
            let own = direct.stream.local_addr().unwrap().to_string();
            assert_eq!(address_of(&mut direct), own);
        }
    });
}

#[test]
fn a_proxy_header_that_never_ends_runs_into_the_handshake_deadline() {
    for_each_driver(|driver| {
        let limits = Limits { handshake_timeout: Duration::from_millis(200), ..Limits::default() };
        let (factory, _record) = Recorder::new();
        let configure =
            |server: ServerBuilder| server.trusted_proxies(local().proxy_protocol()).limits(limits);
        let server = Served::configured(driver, configure, move |_| factory());
        let mut client = Client::raw(server.address);
        client.send_bytes(b"PROXY TCP4 192.0.2.7");
        assert_eq!(client.rest(), b"");
    });
}

#[test]
fn forwarding_headers_are_believed_from_proxies_alone() {
    for_each_driver(|driver| {
        let list = "X-Forwarded-For: 6.6.6.6, 192.0.2.7, 127.0.0.9\r\n";
        let pairs = "Forwarded: for=6.6.6.6, for=\"[2001:db8::7]:80\";proto=https\r\n";
        for (proxies, headers, expected) in [
            (local().x_forwarded_for(), list, Some("192.0.2.7:0")),
            (local().forwarded(), pairs, Some("[2001:db8::7]:80")),
            (local().forwarded(), list, None),
            (local().x_forwarded_for(), "X-Forwarded-For: nonsense\r\n", None),
            (local().x_forwarded_for(), "X-Forwarded-For:\r\n", None),
            (local(), list, None),
            (elsewhere().x_forwarded_for(), list, None),
            (TrustedProxies::default().x_forwarded_for(), list, None),
        ] {
            let server = served(driver, proxies.clone());
            let (mut client, _) = Client::upgrade(server.address, "/", headers);
            let own = client.stream.local_addr().unwrap().to_string();
            assert_eq!(address_of(&mut client), expected.unwrap_or(&own), "{proxies:?} {headers}");
        }
    });
}

#[test]
fn a_policy_and_a_later_decision_know_the_client_too() {
    for_each_driver(|driver| {
        let configure = |server: ServerBuilder| {
            let proxies = local().proxy_protocol().x_forwarded_for();
            server.trusted_proxies(proxies).policy(|request: &ringsock::http::Request<'_>| {
                let address = request.peer_address().map(|address| address.ip().to_string());
                match address.as_deref() {
                    Some("192.0.2.7") => Ok(()),
                    other => Err(ringsock::http::Rejection::new(
                        ringsock::http::Status::FORBIDDEN,
                        format!("{other:?} may not come in"),
                    )),
                }
            })
        };
        let (factory, _record) = Recorder::new();
        let server = Served::configured(driver, configure, move |_| factory());
        for (header, forwarded, status) in [
            (TEXT_HEADER, "", "101"),
            (&b"PROXY UNKNOWN\r\n"[..], "", "403"),
            // The PROXY header names a stranger, who may write what it likes.
            (&b"PROXY TCP4 192.0.2.8 1.1.1.1 1 2\r\n"[..], "X-Forwarded-For: 192.0.2.7\r\n", "403"),
            (&b"PROXY TCP4 127.0.0.3 1.1.1.1 1 2\r\n"[..], "X-Forwarded-For: 192.0.2.7\r\n", "101"),
        ] {
            let mut client = Client::raw(server.address);
            client.send_bytes(&[header, upgrade_request("/", forwarded).as_bytes()].concat());
            let head = client.head().expect("an answer");
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        }
    });
}
