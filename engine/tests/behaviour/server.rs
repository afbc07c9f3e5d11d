//! Messages of all sizes, in order and whole; connections that do not mix; shards that share a port.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use ringsock::{Conn, Cores, Driver, Handler, KIB, Limits, MIB, Message, Server, Text};
use socket2::{Domain, Socket, Type};

use crate::client::{self, BINARY, CONTINUATION, Client, TEXT};
use crate::process;
use crate::random::{Random, text_of};
use crate::recorder::Recorder;
use crate::served::{Echo, Served, alone_for_each_driver, for_each_driver};

/// Around every change of a frame header's form, and of how the engine receives.
const SIZES: [usize; 16] = [
    0,
    1,
    124,
    125,
    126,
    127,
    4_095,
    16_384,
    65_534,
    65_535,
    65_536,
    65_537,
    70_000,
    MIB - 1,
    MIB,
    5 * MIB,
];

fn large_limits() -> Limits {
    Limits {
        message_bytes_max: 8 * MIB,
        send_queue_bytes_max: 16 * MIB,
        receive_pause_bytes: 8 * MIB,
        ..Limits::default()
    }
}

/// Sends a message in `pieces` frames of about the same size.
fn send_in_pieces(client: &mut Client, opcode: u8, payload: &[u8], pieces: usize) {
    let piece_bytes = payload.len().div_ceil(pieces).max(1);
    let mut rest = payload;
    for number in 0..pieces {
        let (piece, more) = rest.split_at(piece_bytes.min(rest.len()));
        let opcode = if number == 0 { opcode } else { CONTINUATION };
        client.send_frame(number + 1 == pieces, opcode, piece);
        rest = more;
    }
}

#[test]
fn messages_of_every_size_come_back_whole() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, |server| server.limits(large_limits()), |_| Echo);
        let mut client = Client::connect(server.address);
        let mut random = Random(1);
        for size in SIZES {
            let (text, bytes) = (text_of(size), random.bytes(size));
            client.send_text(&text);
            client.expect_text(&text);
            client.send_binary(&bytes);
            client.expect_message(BINARY, &bytes);
        }
    });
}

#[test]
fn fragmented_messages_come_back_whole() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, |server| server.limits(large_limits()), |_| Echo);
        let mut client = Client::connect(server.address);
        let mut random = Random(2);
        for size in SIZES {
            for pieces in [2, 3, 100] {
                let text = text_of(size);
                send_in_pieces(&mut client, TEXT, text.as_bytes(), pieces);
                client.expect_text(&text);
            }
            let bytes = random.bytes(size);
            send_in_pieces(&mut client, BINARY, &bytes, 7);
            client.expect_message(BINARY, &bytes);
        }
    });
}

#[test]
fn many_sizes_in_one_stream_keep_their_order() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, |server| server.limits(large_limits()), |_| Echo);
        let mut reader = Client::connect(server.address);
        let mut writer = reader.sender();
        let sizes: Vec<usize> = {
            let mut random = Random(3);
            (0..400).map(|_| random.size(&[100, 100, 1_000, 20_000, 200_000])).collect()
        };
        let to_send = sizes.clone();
        let thread = thread::spawn(move || {
            for (number, size) in to_send.into_iter().enumerate() {
                writer.send_binary(&Random(number as u64).bytes(size));
            }
        });
        for (number, size) in sizes.into_iter().enumerate() {
            reader.expect_message(BINARY, &Random(number as u64).bytes(size));
        }
        thread.join().unwrap();
    });
}

#[test]
fn ten_thousand_pipelined_messages_reach_a_slow_reader_in_order() {
    for_each_driver(|driver| {
        let limits = Limits {
            receive_pause_bytes: 16 * KIB,
            send_queue_bytes_max: MIB,
            ..Limits::default()
        };
        let server = Served::configured(driver, |server| server.limits(limits), |_| Echo);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // Small windows, so that the server cannot send all at once.
        socket.set_recv_buffer_size(4 * KIB).unwrap();
        socket.connect(&server.address.into()).unwrap();
        let mut reader = Client::over(socket.into());
        reader.send_bytes(client::upgrade_request("/", "").as_bytes());
        let head = reader.head().unwrap();
        reader.check_switched(&head);
        let mut writer = reader.sender();
        let thread = thread::spawn(move || {
            let mut burst = Vec::new();
            for number in 0..10_000u32 {
                let text = text_of(40 + number as usize % 200) + &number.to_string();
                burst.extend(client::frame(true, TEXT, text.as_bytes(), number));
                if burst.len() > 60_000 {
                    writer.send_bytes(&burst);
                    burst.clear();
                }
            }
            writer.send_bytes(&burst);
        });
        for number in 0..10_000u32 {
            if number % 1_000 == 0 {
                thread::sleep(Duration::from_millis(30));
            }
            reader.expect_text(&(text_of(40 + number as usize % 200) + &number.to_string()));
        }
        thread.join().unwrap();
    });
}

#[test]
fn frames_that_arrive_with_the_request_are_answered() {
    for_each_driver(|driver| {
        let server = Served::start(driver, |_| Echo);
        let mut client = Client::raw(server.address);
        let mut bytes = client::upgrade_request("/", "").into_bytes();
        bytes.extend(client::frame(true, TEXT, b"first", 9));
        bytes.extend(client::frame(true, BINARY, &[0; 70_000], 10));
        client.send_bytes(&bytes);
        let head = client.head().unwrap();
        client.check_switched(&head);
        client.expect_text("first");
        client.expect_message(BINARY, &[0; 70_000]);
    });
}

#[test]
fn each_connection_has_its_own_state() {
    for_each_driver(|driver| {
        let (factory, _record) = Recorder::new();
        let server = Served::start(driver, move |_| factory());
        let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(server.address)).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            for _ in 0..number {
                client.echo("hello");
            }
        }
        for (number, client) in clients.iter_mut().enumerate() {
            client.send_text("count");
            client.expect_text(&(number + 1).to_string());
        }
    });
}

#[test]
fn the_address_of_the_peer_is_told() {
    for_each_driver(|driver| {
        let (factory, _record) = Recorder::new();
        let server = Served::start(driver, move |_| factory());
        let mut client = Client::connect(server.address);
        let own = client.stream.local_addr().unwrap();
        client.send_text("address");
        client.expect_text(&own.to_string());
    });
}

/// Says which shard it is.
struct Where(usize);

impl Handler for Where {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        let _queued = conn.send(Text(self.0.to_string()));
    }
}

#[test]
fn connections_are_spread_over_all_shards() {
    for_each_driver(|driver| {
        let server = Server::builder().listen("127.0.0.1:0").unwrap().driver(driver);
        let server = server.cores(Cores::All).start(|info| {
            assert!(info.shard < info.shards);
            Where(info.shard)
        });
        let server = Served::adopt(server.unwrap());
        let shards = thread::available_parallelism().unwrap().get();
        let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(server.address)).collect();
        let mut found = BTreeSet::new();
        for client in &mut clients {
            client.send_text("where");
            let frame = client.expect_frame();
            found.insert(String::from_utf8(frame.payload).unwrap());
        }
        // The kernel picks by a hash of the addresses: with 200 connections each shard gets some.
        assert_eq!(found.len(), shards, "driver {driver:?}: {found:?}");
    });
}

#[test]
fn a_server_listens_on_every_address_it_was_given() {
    for_each_driver(|driver| {
        let server = Server::builder().listen("127.0.0.1:0").unwrap();
        let server = server.listen("127.0.0.2:0").unwrap();
        let server = server.cores(Cores::List(vec![0])).driver(driver).start(|_| Echo).unwrap();
        let addresses = server.addresses().to_vec();
        assert_eq!(addresses.len(), 2);
        assert_eq!(addresses[1].ip().to_string(), "127.0.0.2");
        let _server = Served::adopt(server);
        for address in addresses {
            Client::connect(address).echo("here");
        }
    });
}

#[test]
fn the_driver_asked_for_is_the_one_that_runs() {
    for_each_driver(|driver| {
        let server = Server::builder().listen("127.0.0.1:0").unwrap().driver(driver);
        let running = server.cores(Cores::List(vec![0])).start(|_| Echo).unwrap();
        let wanted = match driver {
            Driver::Epoll => "epoll",
            Driver::Ring | Driver::Auto => "ring",
        };
        assert_eq!(running.driver().to_string(), wanted);
        Served::adopt(running).stop();
    });
}

#[test]
fn each_shard_is_tied_to_its_core() {
    alone_for_each_driver(|driver| {
        for cores in [Cores::List(vec![0]), Cores::All] {
            let configure = |server: ringsock::ServerBuilder| server.cores(cores);
            let server = Served::configured(driver, configure, |_| Echo);
            Client::connect(server.address).echo("served");
            let tied = process::shard_cores();
            let available = thread::available_parallelism().expect("cores").get();
            assert!(tied.len() == 1 || tied.len() == available, "{tied:?}");
            let single = |core: &String| core.parse::<usize>().is_ok();
            assert!(tied.iter().all(single), "{tied:?}");
            assert!(tied.windows(2).all(|pair| pair[0] != pair[1]), "{tied:?}");
        }
    });
}
