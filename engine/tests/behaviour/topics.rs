//! Topics over real sockets and several shards: every subscriber checks that it gets every message
//! once and in order, whatever the others do.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ringsock::client::block_on;
use ringsock::reports::{Counters, Histogram};
use ringsock::server::Latency;
use ringsock::testing::{MemoryConnection, MemoryServer};
use ringsock::topics::Publish;
use ringsock::{
    Binary, Client as Caller, Conn, Cores, Deflate, Driver, Handler, KIB, Limits, MIB, Message,
    Outgoing, Prepared, Server, Text,
};
use socket2::{Domain, Socket, Type};

use crate::client::{self, Client};
use crate::random::Random;
use crate::served::{Served, for_each_driver};

/// Does with topics what its clients say: `+name` subscribes, `*pattern` to a pattern, `-name`
/// ends it, `>name text` publishes, `<name text` to all others, `!name text` from a task, and
/// `#name count` publishes the numbers to `count` by every means there is on a shard's thread.
struct Switchboard;

impl Handler for Switchboard {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let text = message.as_text().unwrap_or_default().to_owned();
        let (verb, rest) = text.split_at(1);
        let (topic, body) = rest.split_once(' ').unwrap_or((rest, ""));
        let reached = match verb {
            "+" => {
                let subscribed = conn.subscribe(topic);
                conn.send(Text(subscribed.to_string()));
                return;
            }
            "*" => {
                let subscribed = conn.subscribe_matching(topic);
                conn.send(Text(subscribed.map_or_else(|e| e.to_string(), |()| "true".into())));
                return;
            }
            "-" => {
                conn.unsubscribe(topic);
                conn.send(Text("gone"));
                return;
            }
            ">" => conn.publish(topic, Text(body)),
            "<" => {
                let others = Publish { except_sender: true, ..Publish::default() };
                conn.publish_with(topic, Text(body), others)
            }
            "#" => return publish_by_all_means(conn, topic, body.parse().unwrap()),
            _ => {
                let (topic, body) = (topic.to_owned(), body.to_owned());
                ringsock::spawn(async move {
                    ringsock::publish(&topic, Text(body));
                });
                return;
            }
        };
        conn.send(Text(format!("{} {}", reached.queued, reached.dropped)));
    }
}

/// Some of the numbers in this callback, through the connection and past it, and the rest in a
/// task that begins when the callback is over.
fn publish_by_all_means(conn: &mut Conn<'_, ()>, topic: &str, count: usize) {
    let publisher = ringsock::publisher();
    let (now, later) = (0..count / 2, count / 2..count);
    for number in now {
        let text = Text(number.to_string());
        let _ = match number % 3 {
            0 => conn.publish(topic, text),
            1 => ringsock::publish(topic, text),
            _ => publisher.publish(topic, text),
        };
    }
    let topic = topic.to_owned();
    ringsock::spawn(async move {
        for number in later {
            match number % 2 {
                0 => ringsock::publish(&topic, Text(number.to_string())),
                _ => publisher.publish(&topic, Text(number.to_string())),
            };
            if number % 7 == 0 {
                monoio::time::sleep(Duration::from_micros(300)).await;
            }
        }
    });
}

#[test]
fn what_one_thread_publishes_arrives_in_that_order_by_whichever_means() {
    for_each_driver(|driver| {
        let server = start(driver, Limits::default());
        let mut readers: Vec<_> = (0..12).map(|_| subscribed(server.address, "+t")).collect();
        let mut publisher = Client::connect(server.address);
        for _ in 0..10 {
            publisher.send_text("#t 60");
            for reader in &mut readers {
                (0..60).for_each(|number| reader.expect_text(&number.to_string()));
            }
        }
    });
}

fn start(driver: Driver, limits: Limits) -> Served {
    let server = Server::builder().listen("127.0.0.1:0").unwrap().driver(driver);
    let server = server.limits(limits).cores(Cores::All);
    Served::adopt(server.start(|_| Switchboard).unwrap())
}

fn subscribed(address: SocketAddr, what: &str) -> Client {
    let mut client = Client::connect(address);
    client.send_text(what);
    client.expect_text("true");
    client
}

#[test]
fn a_publish_reaches_subscribers_of_names_and_patterns_on_every_shard() {
    for_each_driver(|driver| {
        let server = start(driver, Limits::default());
        let mut exact: Vec<_> = (0..20).map(|_| subscribed(server.address, "+room/1")).collect();
        let mut any: Vec<_> = (0..20).map(|_| subscribed(server.address, "*room/*")).collect();
        let mut publisher = Client::connect(server.address);
        publisher.send_text(">room/1 hello");
        publisher.expect_text("40 0");
        publisher.send_text("!room/1 from a task");
        for client in exact.iter_mut().chain(&mut any) {
            client.expect_text("hello");
            client.expect_text("from a task");
        }
        publisher.send_text(">room/2 other");
        publisher.expect_text("20 0");
        any.iter_mut().for_each(|client| client.expect_text("other"));
        exact[0].send_text("<room/1 not to me");
        exact[0].expect_text("39 0");
        exact[1].expect_text("not to me");
        exact[0].send_text(">room/1 to all");
        // What is said to oneself first, then what was published.
        exact[0].expect_text("40 0");
        exact[0].expect_text("to all");
        publisher.send_text("*a/**/b");
        publisher.expect_text("** may only be the last level of a pattern");
    });
}

#[test]
fn subscribers_who_leave_are_not_counted_any_more() {
    for_each_driver(|driver| {
        let server = start(driver, Limits::default());
        let clients: Vec<_> = (0..10).map(|_| subscribed(server.address, "+t")).collect();
        let mut publisher = Client::connect(server.address);
        publisher.send_text(">t x");
        publisher.expect_text("10 0");
        drop(clients);
        let gone = || {
            publisher.send_text(">t y");
            publisher.expect_frame().payload == b"0 0"
        };
        crate::process::wait_until(client::PATIENCE, "all have left", gone);
    });
}

/// Publishes what it is told to everybody, in several ways.
struct Gazette {
    prepared: Prepared,
}

impl Handler for Gazette {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.subscribe("news");
        conn.send(Text("welcome"));
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        match message.as_text() {
            Some("always") => _ = conn.publish("news", Text("na na na na na na").compressed()),
            Some("never") => _ = conn.publish("news", Text(LINE.repeat(50)).uncompressed()),
            Some("prepared") => _ = conn.publish("news", &self.prepared),
            Some("to each") => _ = conn.send(&self.prepared),
            _ => _ = conn.publish("news", message),
        }
    }
}

const LINE: &str = "the news is the same as yesterday; ";

#[test]
fn what_is_published_is_compressed_once_for_all_who_agreed_and_everybody_reads_it() {
    for_each_driver(|driver| {
        let server = Server::builder().listen("127.0.0.1:0").unwrap().driver(driver);
        let server = server.deflate("takeover".parse().unwrap()).cores(Cores::List(vec![0]));
        let prepared = Prepared::text(&LINE.repeat(3_000));
        let gazette = move |_| Gazette { prepared: prepared.clone() };
        let server = Served::adopt(server.start(gazette).unwrap());
        let counters = || {
            let reports = server.controller.reports(client::PATIENCE, 0);
            reports[0].as_ref().expect("the shard answers").counters
        };
        block_on(async {
            let mut sockets = Vec::new();
            // Two who agree on the same, one on another window, one who takes over context.
            for deflate in ["no-takeover", "no-takeover", "window=9", "takeover"] {
                let deflate: Deflate = deflate.parse().unwrap();
                let client = Caller::new(format!("ws://{}/", server.address)).deflate(deflate);
                sockets.push(client.connect().await.unwrap());
            }
            sockets.push(Caller::new(format!("ws://{}/", server.address)).connect().await.unwrap());
            for socket in &mut sockets {
                assert_eq!(socket.next().await.unwrap().unwrap().bytes(), b"welcome");
            }
            let long = LINE.repeat(100);
            for (say, come, compressed) in [
                (long.as_str(), long.clone(), 3),
                ("short", "short".to_owned(), 0),
                ("always", "na na na na na na".to_owned(), 3),
                ("never", LINE.repeat(50), 0),
                ("prepared", LINE.repeat(3_000), 3),
            ] {
                let before = counters();
                sockets[3].send(Text(say)).await.unwrap();
                for socket in &mut sockets {
                    let message = socket.next().await.unwrap().unwrap();
                    assert!(message.bytes() == come.as_bytes(), "{driver:?}, {say}");
                }
                let after = counters();
                let counted = after.messages_compressed - before.messages_compressed;
                assert_eq!(counted, compressed, "{say}");
                let from = after.compressed_from_bytes - before.compressed_from_bytes;
                assert_eq!(from, compressed * come.len() as u64, "{say}");
            }
            // To one at a time: those with context takeover compress for themselves.
            for socket in &mut sockets {
                socket.send(Text("to each")).await.unwrap();
                let message = socket.next().await.unwrap().unwrap();
                assert!(message.bytes() == LINE.repeat(3_000).as_bytes());
            }
            let counted = counters();
            assert_eq!(counted.messages_compressed, 9 + 4);
            assert!(counted.compressed_to_bytes < counted.compressed_from_bytes / 20);
        });
    });
}

/// Subscribes to what it is told, and publishes 64 KiB for `>`.
struct Large;

impl Handler for Large {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        match message.as_text().unwrap_or_default().split_at(1) {
            (">", topic) => _ = conn.publish(topic, Binary(vec![7; 64 * KIB])),
            (_, topic) => _ = conn.subscribe(topic),
        }
    }
}

/// Peers that do not read, subscribed to topics by a function of their number.
fn stalled(topic: impl Fn(usize) -> String) -> (MemoryServer<Large>, Vec<MemoryConnection>) {
    let limits = Limits { memory_bytes_max: MIB, ..Limits::default() };
    let mut server = MemoryServer::new(limits, Large).unwrap();
    let peers: Vec<_> = (0..100).map(|_| server.connect_open()).collect();
    for (number, &peer) in peers.iter().enumerate() {
        server.set_reading(peer, false);
        say(&mut server, peer, &format!("+{}", topic(number)));
    }
    (server, peers)
}

fn say(server: &mut MemoryServer<Large>, peer: MemoryConnection, text: &str) {
    server.receive(peer, &client::frame(true, client::TEXT, text.as_bytes(), 7));
    server.advance(Duration::from_millis(1));
}

#[test]
fn what_subscribers_do_not_read_is_within_the_memory_budget_and_counts_once() {
    let (mut server, peers) = stalled(|_| "all".to_owned());
    for _ in 0..8 {
        say(&mut server, peers[0], ">all");
    }
    let held = server.held_bytes();
    assert!((512 * KIB..600 * KIB).contains(&held), "{held} for 100 who share 512 KiB");
    peers.iter().for_each(|&peer| server.set_reading(peer, true));
    server.advance(Duration::from_millis(1));
    assert_eq!((server.held_bytes(), server.connections()), (0, 100));

    let (mut server, peers) = stalled(|number| number.to_string());
    let publisher = server.connect_open();
    for number in 0..peers.len() {
        say(&mut server, publisher, &format!(">{number}"));
        let held = server.held_bytes();
        assert!(held <= MIB + 70 * KIB, "{held} after {number}");
    }
    let counters = server.counters();
    assert!(counters.shed > 0, "who holds most is let go: {counters:?}");
    assert!(server.connections() > 0);
}

/// A client with small windows, so that the server soon cannot send all it has.
fn narrow(address: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 * KIB).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut client = Client::over(socket.into());
    client.send_bytes(client::upgrade_request("/", "").as_bytes());
    let head = client.head().unwrap();
    client.check_switched(&head);
    client.send_text("+t");
    client.expect_text("true");
    client
}

const SUBSCRIBERS: usize = 36;
const DISTURBERS: usize = 4;
const MESSAGES: usize = 3_000;

/// Subscribes, reads a little or nothing, and goes; again and again. Every other time it stays
/// until it has been found to be slow, or all is over. How often it came.
fn disturb(address: SocketAddr, seed: u64, over: &AtomicBool) -> usize {
    let mut random = Random(seed);
    let mut rejoined = 0;
    while !over.load(Ordering::Relaxed) {
        let client = narrow(address);
        client.stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut stream = &client.stream;
        for _ in 0..random.size(&[20]) {
            // Nothing comes when all has been published; it is not the disturber who checks.
            let _ = stream.read(&mut [0; 2_000]);
        }
        if rejoined % 2 == 0 {
            // A Close frame and the end are behind all that waits, so they are not read: sending
            // fails once the server has given up on who reads nothing.
            let ping = client::frame(true, client::PING, b"", 7);
            while !over.load(Ordering::Relaxed) && stream.write_all(&ping).is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
        } else {
            thread::sleep(Duration::from_millis(random.size(&[40]) as u64));
        }
        rejoined += 1;
    }
    rejoined
}

/// What each of two publishers sends, each in its own order.
fn line(publisher: usize, number: usize) -> String {
    format!("{publisher} {number:06} {}", "x".repeat(150))
}

#[test]
fn every_reader_sees_every_number_once_and_in_order_while_others_stall_and_rejoin() {
    for_each_driver(|driver| {
        let limits = Limits { send_queue_bytes_max: 64 * KIB, ..Limits::default() };
        let latency = Latency { tcp_notsent_lowat_bytes: 16 * 1024, ..Latency::default() };
        let server = Server::builder().listen("127.0.0.1:0").unwrap().driver(driver);
        let server = server.limits(limits).latency(latency).cores(Cores::All);
        let server = Served::adopt(server.start(|_| Switchboard).unwrap());
        let address = server.address;
        let readers: Vec<_> = (0..SUBSCRIBERS).map(|_| subscribed(address, "+t")).collect();
        let over = Arc::new(AtomicBool::new(false));
        let disturbers: Vec<_> = (0..DISTURBERS as u64)
            .map(|seed| {
                let over = Arc::clone(&over);
                thread::spawn(move || disturb(address, seed + 1, &over))
            })
            .collect();
        // Publishers stay a window ahead of the slowest reader, as the sockets of readers on a
        // busy machine are bounded, too.
        let read: Arc<Vec<AtomicUsize>> =
            Arc::new((0..SUBSCRIBERS).map(|_| AtomicUsize::new(0)).collect());
        let threads: Vec<_> = readers
            .into_iter()
            .enumerate()
            .map(|(place, reader)| {
                let read = Arc::clone(&read);
                thread::spawn(move || check_all(reader, &read[place]))
            })
            .collect();
        let from_thread = server.controller.publisher().clone();
        let progress = Arc::clone(&read);
        let other = thread::spawn(move || {
            for number in 0..MESSAGES {
                wait_for_readers(&progress, number);
                from_thread.publish("t", Text(line(1, number)));
            }
        });
        let mut publisher = Client::connect(address);
        for number in 0..MESSAGES {
            wait_for_readers(&read, number);
            publisher.send_text(&format!(">t {}", line(0, number)));
        }
        other.join().unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        let rejoined: Vec<usize> =
            disturbers.into_iter().map(|disturber| disturber.join().unwrap()).collect();
        assert!(rejoined.iter().all(|&times| times > 0), "{rejoined:?}");
        let reports = server.controller.reports(client::PATIENCE, 0);
        let mut all = (Counters::default(), Histogram::default());
        for report in reports.into_iter().flatten() {
            all.0.add(&report.counters);
            all.1.add(&report.deliveries);
        }
        let (counters, deliveries) = all;
        assert!(counters.slow_consumers > 0, "nobody was slow: {counters:?}");
        let read = (SUBSCRIBERS * 2 * MESSAGES) as u64;
        assert!(deliveries.total() >= read, "{} of {read} were queued", deliveries.total());
        // Those that were in the way of who was let go are counted, too.
        assert!(counters.published_closing > 0, "{counters:?}");
        assert_eq!((counters.published_refused, counters.published_dropped), (0, 0));
    });
}

fn wait_for_readers(read: &[AtomicUsize], number: usize) {
    while read.iter().any(|read| read.load(Ordering::Relaxed) + 150 < number) {
        thread::sleep(Duration::from_millis(1));
    }
}

fn check_all(mut reader: Client, read: &AtomicUsize) {
    let mut next = [0, 0];
    while next != [MESSAGES, MESSAGES] {
        let text = String::from_utf8(reader.expect_frame().payload).unwrap();
        let publisher = usize::from(text.starts_with('1'));
        assert_eq!(text, line(publisher, next[publisher]));
        next[publisher] += 1;
        read.store(next[0].min(next[1]), Ordering::Relaxed);
    }
}
