//! A drain at full load with the books kept by the clients: whatever the application has
//! acknowledged is with the subscribers and with the backend, in order and once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringsock::topics::{Backend, Publication};
use ringsock::{Conn, Cores, Driver, Handler, Limits, Message, Server, Text};

use crate::client::{CLOSE, Client, PATIENCE, TEXT};
use crate::process;
use crate::served::{Served, for_each_driver};

const PUBLISHERS: usize = 3;
const SUBSCRIBERS: usize = 12;
/// Messages of a publisher that are not acknowledged yet.
const WINDOW: usize = 32;
/// What each publisher has acknowledged before the drain begins.
const BEFORE: usize = 200;
const ROUNDS: usize = 4;

/// Subscribes whoever asks, publishes everything else, and then acknowledges it.
struct Bank;

impl Handler for Bank {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let text = message.as_text().unwrap_or_default().to_owned();
        if text == "subscribe" {
            assert!(conn.subscribe("ledger"));
        } else {
            conn.publish("ledger", Text(text.clone()));
        }
        let _queued = conn.send(Text(text));
    }
}

/// Keeps what it is handed.
#[derive(Clone, Default)]
struct Archive(Arc<Mutex<Vec<String>>>);

impl Backend for Archive {
    fn publish(&self, publication: &Publication<'_>) {
        let text = String::from_utf8(publication.payload.to_vec()).expect("a text");
        self.0.lock().unwrap().push(text);
    }
}

fn start(driver: Driver, archive: Archive) -> Served {
    let limits = Limits { drain_window: Duration::from_millis(300), ..Limits::default() };
    let server = Server::builder().listen("127.0.0.1:0").expect("a free port").limits(limits);
    let server = server.cores(Cores::List(vec![0, 0])).driver(driver);
    let server = server.backend(move |_publisher| Arc::new(archive) as Arc<dyn Backend>);
    Served::adopt(server.start(|_| Bank).expect("it starts"))
}

/// Reads texts until the Close frame, which must be a farewell, and answers that.
fn read_all(mut client: Client, mut each: impl FnMut(String, &mut Client)) {
    loop {
        let frame = client.expect_frame();
        if frame.opcode == CLOSE {
            assert_eq!(frame.close().0, 1001);
            client.send_close(1001, "");
            return client.expect_end();
        }
        assert_eq!(frame.opcode, TEXT);
        each(String::from_utf8(frame.payload).expect("a text"), &mut client);
    }
}

/// Publishes for as long as it may; how many were acknowledged.
fn publish(mut client: Client, publisher: usize, acknowledged: &AtomicUsize) -> usize {
    for number in 1..=WINDOW {
        client.send_text(&format!("{publisher} {number}"));
    }
    let mut count = 0;
    read_all(client, |text, client| {
        count += 1;
        assert_eq!(text, format!("{publisher} {count}"), "acknowledged in order and once");
        acknowledged.store(count, Ordering::SeqCst);
        client.send_text(&format!("{publisher} {}", count + WINDOW));
    });
    count
}

fn subscribe(address: std::net::SocketAddr) -> JoinHandle<Vec<String>> {
    let mut client = Client::connect(address);
    client.echo("subscribe");
    thread::spawn(move || {
        let mut book = Vec::new();
        read_all(client, |text, _| book.push(text));
        book
    })
}

/// How many of each publisher's messages a book has: all from the first on, in order and once.
fn check(book: &[String]) -> [usize; PUBLISHERS] {
    let mut counts = [0; PUBLISHERS];
    for line in book {
        let (publisher, number) = line.split_once(' ').expect("two numbers");
        let count = &mut counts[publisher.parse::<usize>().expect("a publisher")];
        *count += 1;
        assert_eq!(number, count.to_string(), "publisher {publisher}: a gap or a repetition");
    }
    counts
}

#[test]
fn what_was_acknowledged_before_a_drain_is_with_every_subscriber_and_all_else_archived() {
    for_each_driver(|driver| {
        for _ in 0..ROUNDS {
            let archive = Archive::default();
            let server = start(driver, archive.clone());
            let address = server.address;
            let subscribers: Vec<_> = (0..SUBSCRIBERS).map(|_| subscribe(address)).collect();
            let counts: Arc<[AtomicUsize; PUBLISHERS]> = Arc::default();
            let publishers = (0..PUBLISHERS).map(|publisher| {
                let (client, counts) = (Client::connect(address), Arc::clone(&counts));
                thread::spawn(move || publish(client, publisher, &counts[publisher]))
            });
            let publishers: Vec<_> = publishers.collect();
            process::wait_until(PATIENCE, "all publishers are at work", || {
                counts.iter().all(|count| count.load(Ordering::SeqCst) >= BEFORE)
            });
            let before: Vec<usize> =
                counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
            server.controller.drain();
            server.join().expect("the drain ends well");
            let archived = check(&archive.0.lock().unwrap());
            for (publisher, thread) in publishers.into_iter().enumerate() {
                let acknowledged = thread.join().expect("a publisher");
                assert!(acknowledged >= before[publisher]);
                assert!(archived[publisher] >= acknowledged, "{archived:?}");
            }
            for subscriber in subscribers {
                let received = check(&subscriber.join().expect("a subscriber"));
                let missing = received.iter().zip(&before).find(|(own, needed)| own < needed);
                assert!(missing.is_none(), "{received:?} of {before:?} that were acknowledged");
            }
        }
    });
}
