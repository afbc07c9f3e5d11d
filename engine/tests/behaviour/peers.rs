//! Handles that outlive the callback: from tasks, from other threads, after the connection.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ringsock::sending::PeerError;
use ringsock::topics::{Publish, Subscribe};
use ringsock::{
    CloseCode, CloseInfo, Conn, Cores, Driver, Handler, KIB, Limits, Message, Peer, RemotePeer,
    Server, Text,
};

use crate::client::{Client, PATIENCE, PING, PONG, TEXT};
use crate::process;
use crate::served::{Served, for_each_driver};

/// Hands out handles, and answers from tasks.
struct Desk {
    remotes: Sender<RemotePeer>,
    outcomes: Sender<Result<(), PeerError>>,
    left: Vec<Peer>,
}

/// A server with a desk on each shard, and what the desks hand out.
fn start(
    driver: Driver,
    limits: Limits,
) -> (Served, Receiver<RemotePeer>, Receiver<Result<(), PeerError>>) {
    let (remotes, handles) = mpsc::channel();
    let (outcomes, results) = mpsc::channel();
    let factory =
        move |_| Desk { remotes: remotes.clone(), outcomes: outcomes.clone(), left: Vec::new() };
    let configure = |server: ringsock::ServerBuilder| server.limits(limits);
    (Served::configured(driver, configure, factory), handles, results)
}

impl Desk {
    fn answer_later(&self, peer: Peer, wait: Duration, text: String) {
        let outcomes = self.outcomes.clone();
        ringsock::spawn(async move {
            monoio::time::sleep(wait).await;
            let _ = outcomes.send(peer.send(Text(text)));
        });
    }
}

impl Handler for Desk {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        let _ = self.remotes.send(conn.peer().remote());
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let text = message.as_text().unwrap_or_default().to_owned();
        let peer = conn.peer();
        match text.split_once(' ') {
            Some(("later", millis)) => {
                let wait = Duration::from_millis(millis.parse().expect("a number"));
                self.answer_later(peer, wait, text.clone());
            }
            Some(("block", millis)) => {
                thread::sleep(Duration::from_millis(millis.parse().expect("a number")));
                let _queued = conn.send(Text("unblocked"));
            }
            Some(("burst", count)) => {
                let count: usize = count.parse().expect("a number");
                let text = "x".repeat(8 * KIB);
                let sent = (0..count).filter(|_| peer.send(Text(&text)).is_ok()).count();
                let _queued = conn.send(Text(format!("{sent} of {count}")));
            }
            Some(("subscribe", topic)) => {
                let subscribed = conn.subscribe(topic);
                let _queued = conn.send(Text(subscribed.to_string()));
            }
            Some(("unsubscribe", topic)) => {
                conn.unsubscribe(topic);
                let _queued = conn.send(Text("gone"));
            }
            Some(("join", topic)) => {
                let topic = topic.to_owned();
                ringsock::spawn(async move {
                    // A database was asked whether it may.
                    monoio::time::sleep(Duration::from_millis(1)).await;
                    let _ = peer.subscribe(&topic);
                    let _ = peer.subscribe_matching_with(
                        &format!("{topic}/*"),
                        Subscribe { filter: 0b10, ..Subscribe::default() },
                    );
                    let _ = peer.send(Text("joined"));
                });
            }
            Some(("topics", topic)) => {
                let (mut topics, patterns) = (conn.topics(), conn.patterns());
                topics.sort();
                let is_one = conn.is_subscribed(topic);
                let any = format!("{topic}/*");
                let (matching, count) =
                    (conn.is_subscribed_matching(&any), conn.subscribers(topic));
                let all = format!("{topics:?} {patterns:?} {is_one} {matching} {count}");
                let _queued = conn.send(Text(all));
            }
            Some(("close", reason)) => {
                let reason = reason.to_owned();
                ringsock::spawn(async move {
                    let _ = peer.ping(b"last call");
                    let _ = peer.close(CloseCode(4000), &reason);
                });
            }
            Some(("stale", answer)) => {
                let gone =
                    self.left.iter().filter(|left| left.send(Text(answer)) == Err(PeerError::Gone));
                let dead = self.left.iter().filter(|left| !left.is_alive());
                let counts = format!("{} {}", gone.count(), dead.count());
                let _queued = conn.send(Text(counts));
            }
            _ => {
                // From within the callback, to oneself: in the same turn, behind what is queued.
                let _ = peer.send(Text("second"));
                let _queued = conn.send(Text("first"));
            }
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_, ()>, _info: CloseInfo<'_>) {
        self.left.push(conn.peer());
    }
}

#[test]
fn a_task_answers_later() {
    for_each_driver(|driver| {
        let (server, _, outcomes) = start(driver, Limits::default());
        let mut client = Client::connect(server.address);
        for text in ["later 0", "later 1", "later 30"] {
            client.send_text(text);
            client.expect_text(text);
            assert_eq!(outcomes.recv_timeout(PATIENCE), Ok(Ok(())));
        }
        // Timers end in the order of their times.
        client.send_text("later 150");
        client.send_text("later 40");
        client.expect_text("later 40");
        client.expect_text("later 150");
    });
}

#[test]
fn a_handle_used_within_a_callback_sends_in_the_same_turn() {
    for_each_driver(|driver| {
        let (server, ..) = start(driver, Limits::default());
        let mut client = Client::connect(server.address);
        let started = Instant::now();
        for _ in 0..100 {
            client.send_text("both");
            client.expect_text("first");
            client.expect_text("second");
        }
        // If it waited for the next tick of 50 ms, this would take five seconds.
        assert!(started.elapsed() < Duration::from_secs(3), "driver {driver:?}");
    });
}

#[test]
fn a_task_that_outlives_its_connection_is_told_so() {
    for_each_driver(|driver| {
        let (server, _, outcomes) = start(driver, Limits::default());
        let mut client = Client::connect(server.address);
        client.send_text("later 100");
        client.send_close(1000, "");
        assert_eq!(client.expect_frame().close().0, 1000);
        client.expect_end();
        // Whoever got its place must not get its answer.
        let mut next = Client::connect(server.address);
        assert_eq!(outcomes.recv_timeout(PATIENCE), Ok(Err(PeerError::Gone)));
        next.send_text("both");
        next.expect_text("first");
    });
}

#[test]
fn a_task_pings_and_closes() {
    for_each_driver(|driver| {
        let (server, ..) = start(driver, Limits::default());
        let mut client = Client::connect(server.address);
        client.send_text("close thank you");
        client.expect_message(PING, b"last call");
        assert_eq!(client.expect_closed_with(4000), "thank you");
    });
}

#[test]
fn handles_of_earlier_connections_never_reach_later_ones() {
    for_each_driver(|driver| {
        let (server, ..) = start(driver, Limits::default());
        for _ in 0..100 {
            let mut client = Client::connect(server.address);
            client.send_text("both");
            client.expect_text("first");
            client.reset();
        }
        let mut client = Client::connect(server.address);
        process::wait_until(PATIENCE, "all hundred have ended", || {
            client.send_text("stale not for you");
            let frame = client.expect_frame();
            frame.payload == b"100 100"
        });
        client.send_text("both");
        client.expect_text("first");
        client.expect_text("second");
    });
}

#[test]
fn ten_threads_send_through_one_handle_in_their_own_order() {
    for_each_driver(|driver| {
        let (server, remotes, _) = start(driver, Limits::default());
        let mut client = Client::connect(server.address);
        let remote = remotes.recv_timeout(PATIENCE).unwrap();
        let threads: Vec<_> = (0..10)
            .map(|thread| {
                let remote = remote.clone();
                thread::spawn(move || {
                    for number in 0..1_000 {
                        let text = format!("{thread} {number}");
                        // The limit of what may wait for a peer that does not keep up is not what
                        // is tested here, and neither is the mailbox's.
                        while remote.send(Text(&text)) == Err(PeerError::Full) {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut next = [0; 10];
        for _ in 0..10_000 {
            let frame = client.expect_frame();
            assert_eq!(frame.opcode, TEXT, "{frame:?}");
            let text = String::from_utf8(frame.payload).unwrap();
            let (thread, number) = text.split_once(' ').unwrap();
            let expected = &mut next[thread.parse::<usize>().unwrap()];
            assert_eq!(number.parse::<usize>().unwrap(), *expected, "thread {thread}");
            *expected += 1;
        }
        assert_eq!(next, [1_000; 10]);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_remote_handle_pings_closes_and_then_does_nothing() {
    for_each_driver(|driver| {
        let (server, remotes, _) = start(driver, Limits::default());
        let mut client = Client::connect(server.address);
        let remote = remotes.recv_timeout(PATIENCE).unwrap();
        remote.ping(b"hello").unwrap();
        client.expect_message(PING, b"hello");
        client.send_frame(true, PONG, b"hello");
        remote.close(CloseCode::NORMAL, "bye").unwrap();
        assert_eq!(client.expect_closed_with(1000), "bye");
        let mut next = Client::connect(server.address);
        // It cannot know, so it is taken and dropped.
        assert_eq!(remote.send(Text("for nobody")), Ok(()));
        next.send_text("both");
        next.expect_text("first");
        server.stop();
        assert_eq!(remote.send(Text("too late")), Err(PeerError::Gone));
    });
}

#[test]
fn a_full_mailbox_says_so_and_works_again_later() {
    for_each_driver(|driver| {
        let limits = Limits { mailbox_commands_max: 8, ..Limits::default() };
        let (server, remotes, _) = start(driver, limits);
        let mut client = Client::connect(server.address);
        let remote = remotes.recv_timeout(PATIENCE).unwrap();
        client.send_text("block 400");
        process::wait_until(Duration::from_secs(5), "the mailbox is full", || {
            remote.send(Text("x")) == Err(PeerError::Full)
        });
        assert_eq!(remote.ping(b""), Err(PeerError::Full));
        let mut frame = client.expect_frame();
        while frame.payload != b"unblocked" {
            assert_eq!(frame.payload, b"x");
            frame = client.expect_frame();
        }
        for _ in 0..8 {
            client.expect_text("x");
        }
        remote.send(Text("and on")).unwrap();
        client.expect_text("and on");
    });
}

#[test]
fn what_waits_for_a_shard_is_bounded_in_bytes_from_threads_and_from_its_own_tasks() {
    for_each_driver(|driver| {
        let limits = Limits { mailbox_bytes_max: 64 * KIB, ..Limits::default() };
        let (server, remotes, _) = start(driver, limits);
        let mut client = Client::connect(server.address);
        let remote = remotes.recv_timeout(PATIENCE).unwrap();
        client.send_text("block 400");
        let text = "x".repeat(8 * KIB);
        let mut taken = 0;
        process::wait_until(Duration::from_secs(5), "the mailbox is full", || {
            let outcome = remote.send(Text(&text));
            taken += usize::from(outcome.is_ok());
            outcome == Err(PeerError::Full)
        });
        // Those from before the shard was blocked, and then as many as may wait.
        let mut frame = client.expect_frame();
        let mut before = 0;
        while frame.payload != b"unblocked" {
            before += 1;
            frame = client.expect_frame();
        }
        assert_eq!(taken - before, 8);
        (0..8).for_each(|_| client.expect_text(&text));
        // A task that does not let the shard turn.
        client.send_text("burst 100");
        client.expect_text("8 of 100");
        (0..8).for_each(|_| client.expect_text(&text));
        client.send_text("both");
        client.expect_text("first");
    });
}

#[test]
fn tasks_and_threads_subscribe_a_connection_and_it_can_be_asked_what_it_is_subscribed_to() {
    for_each_driver(|driver| {
        let (server, remotes, _) = start(driver, Limits::default());
        let publisher = server.controller.publisher();
        let mut client = Client::connect(server.address);
        let remote = remotes.recv_timeout(PATIENCE).unwrap();
        client.send_text("join room");
        client.expect_text("joined");
        client.send_text("topics room");
        client.expect_text("[\"room\"] [\"room/*\"] true true 1");
        for (topic, tags, reached) in
            [("room", u64::MAX, 1), ("room/1", 0b10, 1), ("room/1", 0b01, 1), ("hall", 1, 0)]
        {
            let how = Publish { tags, ..Publish::default() };
            assert_eq!(publisher.subscribers(topic), reached);
            assert_eq!(publisher.publish_with(topic, Text(tags.to_string()), how).queued, reached);
        }
        client.expect_text(&u64::MAX.to_string());
        client.expect_text("2");
        remote.subscribe("hall").unwrap();
        remote.unsubscribe("room").unwrap();
        remote.unsubscribe_matching("room/*").unwrap();
        process::wait_until(PATIENCE, "the thread's wish is done", || {
            publisher.subscribers("hall") == 1 && publisher.subscribers("room") == 0
        });
        client.send_text("topics room");
        client.expect_text("[\"hall\"] [] false false 0");
        assert_eq!(publisher.publish("hall", Text("there")).queued, 1);
        client.expect_text("there");
    });
}

#[test]
fn whoever_comes_after_a_connection_is_not_subscribed_in_its_place() {
    for_each_driver(|driver| {
        let (server, remotes, _) = start(driver, Limits::default());
        let publisher = server.controller.publisher();
        for _ in 0..20 {
            let mut client = Client::connect(server.address);
            let remote = remotes.recv_timeout(PATIENCE).unwrap();
            client.send_text("join room");
            client.reset();
            let mut next = Client::connect(server.address);
            let other = remotes.recv_timeout(PATIENCE).unwrap();
            remote.subscribe("room").unwrap();
            remote.subscribe_matching_with("room", Subscribe::default()).unwrap();
            other.send(Text("behind it in the mailbox")).unwrap();
            next.expect_text("behind it in the mailbox");
            next.send_text("topics room");
            let told = String::from_utf8(next.expect_frame().payload).unwrap();
            assert!(told.starts_with("[] [] false false"), "{told}");
        }
        process::wait_until(PATIENCE, "all have left", || publisher.subscribers("room") == 0);
        // Nor is one that is closing.
        let mut client = Client::connect(server.address);
        let remote = remotes.recv_timeout(PATIENCE).unwrap();
        remote.close(CloseCode::NORMAL, "bye").unwrap();
        remote.subscribe("room").unwrap();
        assert_eq!(client.expect_closed_with(1000), "bye");
        assert_eq!(publisher.subscribers("room"), 0);
    });
}

#[test]
fn a_thread_publishes_to_every_shard() {
    for_each_driver(|driver| {
        let (remotes, _handles) = mpsc::channel();
        let (outcomes, _results) = mpsc::channel();
        let server = Server::builder().listen("127.0.0.1:0").unwrap().driver(driver);
        let server = server.cores(Cores::All).start(move |_| Desk {
            remotes: remotes.clone(),
            outcomes: outcomes.clone(),
            left: Vec::new(),
        });
        let server = Served::adopt(server.unwrap());
        let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(server.address)).collect();
        for client in &mut clients {
            client.send_text("subscribe news");
            client.expect_text("true");
        }
        let publisher = server.controller.publisher();
        for number in 0..50 {
            let reached = publisher.publish("news", Text(format!("number {number}")));
            assert_eq!((reached.queued, reached.dropped), (40, 0));
            assert_eq!(publisher.publish("sport", Text("nobody listens")).queued, 0);
        }
        for client in &mut clients {
            for number in 0..50 {
                client.expect_text(&format!("number {number}"));
            }
        }
        clients[0].send_text("unsubscribe news");
        clients[0].expect_text("gone");
        assert_eq!(publisher.publish("news", Text("last")).queued, 39);
        clients[1].expect_text("last");
        clients[0].send_text("both");
        clients[0].expect_text("first");
    });
}

#[test]
fn subscriptions_have_their_limits() {
    for_each_driver(|driver| {
        let limits = Limits { subscriptions_max: 2, topic_bytes_max: 10, ..Limits::default() };
        let (server, ..) = start(driver, limits);
        let mut client = Client::connect(server.address);
        let asked =
            [("a234567890", "true"), ("a2345678901", "false"), ("b", "true"), ("c", "false")];
        for (topic, answer) in asked {
            client.send_text(&format!("subscribe {topic}"));
            client.expect_text(answer);
        }
    });
}
