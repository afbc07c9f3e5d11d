//! Limits in bytes at their value and one beyond, where only a socket or a queue shows them.

use ringsock::server::TrustedProxies;
use ringsock::testing::MemoryServer;
use ringsock::{KIB, Limits, MIB, ServerBuilder};

use crate::client::{self, BINARY, Client, upgrade_request};
use crate::served::{Echo, Served, for_each_driver};

/// Version 2 of the PROXY header for a client of 192.0.2.7, `bytes` long in all.
fn proxy_header(bytes: usize) -> Vec<u8> {
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0xc7, 0x38, 1, 0xbb];
    let extra_bytes = bytes - 16 - addresses.len() - 3;
    let length = (bytes - 16) as u16;
    let extra = [&[4][..], &(extra_bytes as u16).to_be_bytes(), &vec![0; extra_bytes]].concat();
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11";
    [&start[..], &length.to_be_bytes(), &addresses, &extra].concat()
}

#[test]
fn a_proxy_header_as_long_as_allowed_passes_and_one_byte_more_gets_no_answer() {
    for_each_driver(|driver| {
        let limits = Limits { proxy_header_bytes_max: 300, ..Limits::default() };
        let proxies = TrustedProxies::new(["127.0.0.0/8"]).unwrap().proxy_protocol();
        let configure = |server: ServerBuilder| server.limits(limits).trusted_proxies(proxies);
        let server = Served::configured(driver, configure, |_| Echo);
        for (bytes, passes) in [(300, true), (301, false)] {
            let mut client = Client::raw(server.address);
            client
                .send_bytes(&[&proxy_header(bytes), upgrade_request("/", "").as_bytes()].concat());
            assert_eq!(client.head().is_some(), passes, "{bytes} bytes");
        }
    });
}

/// How often receiving pauses when a peer that reads nothing is owed `bytes` by a server of 1 KiB.
fn pauses(bytes: usize) -> u64 {
    let limits = Limits { receive_pause_bytes: KIB, ..Limits::default() };
    let mut server = MemoryServer::new(limits, Echo).unwrap();
    let peer = server.connect_open();
    server.set_reading(peer, false);
    // The answer's header has four bytes.
    server.receive(peer, &client::frame(true, BINARY, &vec![1; bytes - 4], 5));
    server.counters().receive_pauses_backlog
}

#[test]
fn receiving_pauses_when_as_much_waits_as_the_limit_says_and_not_before() {
    assert_eq!((pauses(KIB - 1), pauses(KIB)), (0, 1));
}

#[test]
fn nine_tenths_of_the_memory_held_leave_room_for_connections_and_more_does_not() {
    let limits = Limits { memory_bytes_max: MIB, ..Limits::default() };
    let nine_tenths = MIB / 100 * 90;
    let mut server = MemoryServer::new(limits, Echo).unwrap();
    let peer = server.connect_open();
    server.set_reading(peer, false);
    let address = "192.0.2.7:5000".parse().unwrap();
    server.receive(peer, &client::frame(true, BINARY, &vec![1; nine_tenths - 5000], 5));
    // What is held is told to the byte, but how much a message makes it more is the queue's affair.
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..200 {
        server.receive(peer, &client::frame(true, BINARY, &[1; 50], 5));
        let other = server.connect_from(address);
        assert_eq!(other.is_some(), server.held_bytes() <= nine_tenths);
        match other {
            Some(other) => {
                server.reset(other);
                taken += 1;
            }
            None => refused += 1,
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} and {refused}");
    assert_eq!((server.counters().refused_memory, server.counters().shed), (refused, 0));
    server.set_reading(peer, true);
    assert!(server.connect_from(address).is_some(), "once it is given back");
}
