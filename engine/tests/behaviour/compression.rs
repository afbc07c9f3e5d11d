//! Compression between our own client and server: every agreement, contexts within their budget,
//! the choice for one message. Bytes on the wire are the table's business.

use std::time::Duration;

use ringsock::client::{ClientSocket, block_on};
use ringsock::reports::Counters;
use ringsock::{
    Binary, Client, CloseCode, Conn, Deflate, Handler, Limits, MIB, Message, Outgoing, Text,
};

use crate::random::Random;
use crate::served::{Echo, Served, for_each_driver};

/// Words that repeat, noise, long runs, by turns.
fn payload(random: &mut Random, size: usize) -> Vec<u8> {
    let mut bytes = match random.below(3) {
        0 => return random.bytes(size),
        1 => vec![0; size],
        _ => b"{\"price\":104,\"active\":true},".repeat(size / 20 + 1),
    };
    bytes.truncate(size);
    for _ in 0..size / 100 {
        let place = random.below(size as u64) as usize;
        bytes[place] = random.below(256) as u8;
    }
    bytes
}

async fn received(socket: &mut ClientSocket) -> Vec<u8> {
    let message = socket.next().await.expect("the connection holds");
    message.expect("a message").bytes().to_vec()
}

fn counters(server: &Served) -> Counters {
    let reports = server.controller.reports(Duration::from_secs(5), 0);
    reports.into_iter().next().flatten().expect("the shard answers").counters
}

async fn connected(server: &Served, deflate: Deflate) -> ClientSocket {
    let client = Client::new(format!("ws://{}/", server.address)).deflate(deflate);
    client.connect().await.expect("the server answers")
}

fn check_every_agreement(tiny_buffers: bool, sizes: &'static [usize]) {
    let settings =
        ["no-takeover", "takeover", "takeover,window=8", "window=9", "takeover,window=12"];
    let read = |text: &str| Deflate { threshold_bytes: 0, ..text.parse().unwrap() };
    for (number, ours) in settings.into_iter().enumerate() {
        let server = move |server: ringsock::ServerBuilder| {
            let server = server.deflate(read(ours));
            if tiny_buffers { server.tiny_buffers() } else { server }
        };
        for driver in crate::served::drivers() {
            let server = Served::configured(driver, server, |_| Echo);
            block_on(async {
                for theirs in settings {
                    let mut socket = connected(&server, read(theirs)).await;
                    let agreed = socket.compression().expect("an agreement");
                    let takeover = |text: &str| text.starts_with("takeover");
                    assert_eq!(agreed.send_takeover, takeover(ours) && takeover(theirs));
                    assert_eq!(agreed.receive_takeover, takeover(ours) && takeover(theirs));
                    let mut random = Random(number as u64 + 1);
                    for &size in sizes {
                        let payload = payload(&mut random, size);
                        socket.send(Binary(&payload)).await.unwrap();
                        let came = received(&mut socket).await;
                        assert!(came == payload, "{driver:?}, {ours}, {theirs}, {size} bytes");
                    }
                    socket.close(CloseCode::NORMAL, "").await;
                }
            });
            assert!(counters(&server).messages_compressed > 10);
            assert_eq!(counters(&server).opened_compressed, settings.len() as u64);
            server.stop();
        }
    }
}

#[test]
fn messages_come_back_whatever_was_agreed_on() {
    let sizes = &[0, 1, 50, 50, 3000, 3000, 3000, 70_000, 100, 100, 400_000, 20, 3000];
    check_every_agreement(false, sizes);
}

#[test]
fn compressed_messages_pass_through_tiny_buffers() {
    check_every_agreement(true, &[0, 1, 255, 256, 257, 5000, 5000, 30_000, 50]);
}

/// Says what was agreed on.
struct Agreement;

impl Handler for Agreement {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, _message: Message<'_>) {
        let takeover = conn.compression().is_some_and(|agreed| agreed.send_takeover);
        conn.send(Text(if takeover { "takeover" } else { "none" }));
    }
}

#[test]
fn contexts_beyond_their_budget_are_not_promised() {
    for_each_driver(|driver| {
        let deflate: Deflate = "takeover,window=10".parse().unwrap();
        let each = {
            use ringsock::protocol::deflate::{CompressionContext, History};
            CompressionContext::memory_bytes(10) + History::memory_bytes(10)
        };
        let configure = |server: ringsock::ServerBuilder| {
            let limits = Limits { deflate_contexts_bytes_max: 2 * each, ..Limits::default() };
            server.deflate(deflate).limits(limits)
        };
        let server = Served::configured(driver, configure, |_| Agreement);
        block_on(async {
            let mut sockets = Vec::new();
            for expected in ["takeover", "takeover", "none"] {
                let mut socket = connected(&server, deflate).await;
                socket.send(Text("what?")).await.unwrap();
                assert_eq!(received(&mut socket).await, expected.as_bytes());
                sockets.push(socket);
            }
            sockets[0].close(CloseCode::NORMAL, "").await;
            let mut socket = connected(&server, deflate).await;
            socket.send(Text("what?")).await.unwrap();
            assert_eq!(
                received(&mut socket).await,
                b"takeover",
                "what was given back is free again"
            );
        });
        server.stop();
    });
}

/// Answers with a text of its own choice, from a callback and from a task.
struct Choice;

impl Handler for Choice {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let long = "again and again ".repeat(30);
        let peer = conn.peer();
        let _queued = match message.as_text() {
            Some("auto long") => conn.send(Text(long)),
            Some("auto short") => conn.send(Text("na na na na na na")),
            Some("never") => conn.send(Text(long).uncompressed()),
            Some("always") => conn.send(Text("na na na na na na").compressed()),
            Some("peer never") => return peer.send(Text(long).uncompressed()).unwrap(),
            Some("peer long") => return peer.send(Text(long)).unwrap(),
            _ => conn.send(message.uncompressed()),
        };
    }
}

#[test]
fn one_message_may_be_compressed_or_not() {
    for_each_driver(|driver| {
        let server = Served::configured(driver, |it| it.deflate(Deflate::default()), |_| Choice);
        block_on(async {
            let mut socket = connected(&server, Deflate::default()).await;
            let echoed = "as it came ".repeat(1000);
            for (word, compressed) in [
                ("auto long", true),
                ("auto short", false),
                ("never", false),
                ("always", true),
                ("peer never", false),
                ("peer long", true),
                (&echoed, false),
            ] {
                let before = counters(&server);
                socket.send(Text(word)).await.unwrap();
                let came = received(&mut socket).await.len() as u64;
                let after = counters(&server);
                let counted = after.messages_compressed - before.messages_compressed;
                assert_eq!(counted, u64::from(compressed), "{word}");
                let from = after.compressed_from_bytes - before.compressed_from_bytes;
                assert_eq!(from, if compressed { came } else { 0 }, "{word}");
            }
            let counted = counters(&server);
            assert!(counted.compressed_to_bytes < counted.compressed_from_bytes / 2);
        });
        server.stop();
    });
}

#[test]
fn bombs_are_held_to_the_limit_each_by_itself() {
    for_each_driver(|driver| {
        let deflate: Deflate = "takeover".parse().unwrap();
        let server = Served::configured(driver, |server| server.deflate(deflate), |_| Echo);
        block_on(async {
            let mut socket = connected(&server, deflate).await;
            let mut bomb = vec![b'0'; MIB];
            for _ in 0..20 {
                socket.send(Binary(&bomb)).await.unwrap();
                assert!(received(&mut socket).await == bomb);
            }
            bomb.push(b'0');
            socket.send(Binary(&bomb)).await.unwrap();
            assert!(socket.next().await.unwrap().is_none());
            assert_eq!(socket.closed().unwrap().code, CloseCode::MESSAGE_TOO_BIG);
        });
        assert_eq!(counters(&server).violations_message_size, 1);
        server.stop();
    });
}
